"""Rates as CSV: a line a rate, for spreadsheets.

Its columns are those of `COLUMNS`, in any order: `REQUIRED` ones are there and filled in, others may be left out or
empty. Prices are per 1000, as on a card. As in a spreadsheet, an apostrophe before a text says that it is just that: a
text, and no formula.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from accounting import cards, rates
from accounting.cards import HEADING, date_or_time, line_of
from accounting.errors import RateCardError
from accounting.rates import CLASSES, Rate
from accounting.sheets import csv_line

CONDITIONS = ("service_tier", "context_above", "hours")
COLUMNS = (
    *("provider", "model", "currency", "valid_from", "valid_until"),
    *CONDITIONS,
    *(each.name for each in CLASSES),
    "source",
)
REQUIRED = ("provider", "model", "currency", "valid_from", *rates.REQUIRED)


def write_csv(lines: Iterable[Rate]) -> str:
    """The rates as `read_csv` reads them back, without their ids; in their order."""
    return csv_line(COLUMNS) + "".join(csv_line(_cells(rate)) for rate in lines)


def _cells(rate: Rate) -> list[object]:
    return [
        *(_escaped(text) for text in (rate.provider, rate.model, rate.currency)),
        *(date_or_time(at) if at else None for at in (rate.valid_from, rate.period.end)),
        *(rate.service_tier, rate.context_above or None, str(rate.hours or "")),
        *(getattr(rate, each.column) for each in CLASSES),
        _escaped(rate.source),
    ]


def _escaped(text: str) -> str:
    """Formulas are `csv_line`'s to escape."""
    return f"'{text}" if text.startswith("'") or text != text.strip() else text


def read_csv(text: str, name: str, currency: str = "") -> list[Rate]:
    """The rates of a sheet; `name` is the file's, and the source of lines that name none. Raises `RateCardError`.

    `currency` is that of lines that name none; without, all do.
    """
    rows = _rows(text, name)
    _, columns = next(rows, (1, []))
    columns = [column.strip() for column in columns]
    usual = {"currency": currency} if currency else {}
    _check_columns([*columns, *(usual.keys() - {*columns})], name)
    return [
        _rate(usual | _named(columns, cells, f"{name}, line {line}"), f"{name}, line {line}", name)
        for line, cells in rows
    ]


def _rows(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each with the number of the line that it begins on; empty ones, which spreadsheets leave behind, left out."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise RateCardError(f"{name}, line {line}: this is no CSV: {error}.") from error


def _check_columns(columns: Sequence[str], name: str) -> None:
    if unknown := [column for column in columns if column not in COLUMNS]:
        raise RateCardError(
            f"{name}, line 1: unknown column {', '.join(map(repr, unknown))}; known are {', '.join(COLUMNS)}. Columns "
            "stand between commas, and prices are per 1000 tokens, searches and so on: those per million / 1000."
        )
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise RateCardError(f"{name}, line 1: column {', '.join(twice)} is there twice; keep one.")
    if missing := [column for column in REQUIRED if column not in columns]:
        raise RateCardError(f"{name}, line 1: column {', '.join(missing)} is missing.")


def _named(columns: Sequence[str], cells: Sequence[str], where: str) -> dict[str, str]:
    """What is filled in, by column."""
    if len(cells) != len(columns):
        raise RateCardError(f"{where}: expected {len(columns)} cells, as there are columns, found {len(cells)}.")
    texts = (cell[1:] if cell.startswith("'") else cell.strip() for cell in cells)
    return {column: text for column, text in zip(columns, texts, strict=True) if text}


def _rate(cells: Mapping[str, str], where: str, name: str) -> Rate:
    if missing := [column for column in REQUIRED if column not in cells]:
        raise RateCardError(f"{where}: {', '.join(missing)} is empty. Write 0 for a price where it costs nothing.")
    cards.check_currency(cells["currency"], f"{where}: currency")
    heading = {"source": name, **{what: cells[what] for what in HEADING if what in cells}}
    line: dict[str, Any] = {what: said for what, said in cells.items() if what not in HEADING}
    if "context_above" in line:
        line["context_above"] = _tokens(line["context_above"])
    for what in ("valid_from", "valid_until"):
        if what in line:
            line[what] = cards.instant(line[what], f"{where} ({line['model']}): {what}")
    return line_of(heading, line, where)


def _tokens(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
