"""A sheet of figures: a table on a terminal, aligned text in a pipe, and JSON or CSV for programs.

Nothing is cut. Where a terminal is too narrow whole columns are left out, and those that held something are
named; where even the rest doesn't fit, each row becomes a block of lines.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from accounting.money import plain

Cell = str | int | Decimal | None
"""Text, a count, an exact amount, or nothing known."""

_GAP = "  "

_FORMULA = tuple("=+-@＝＋－＠\t\r\n\0")
"""A spreadsheet takes a cell that begins so for a formula, or looks behind it for one."""

_TO_COPY = ("accounting ", "export ", "    ")
"""What lines begin with that are there to be copied: one that was wrapped would be two commands."""

_WIDE_TEXT = 24
_NARROW_TEXT = 10
"""To these widths a long name is folded before a column of figures leaves, and before the table gives up."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells stand; of the columns with `spare` above 0 the highest leaves first.

    In a pipe a heading of ours is one word; `named_by_others` keeps one as it is, as with "_" it may be another name.
    """

    title: str
    figure: bool = True
    spare: int = 0
    named_by_others: bool = False

    @property
    def word(self) -> str:
        return self.title if self.named_by_others else self.title.replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows under headings; `total` has a cell for each column too, or there is none."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] | None = None

    @property
    def lines(self) -> tuple[tuple[Cell, ...], ...]:
        return self.rows if self.total is None else (*self.rows, self.total)

    def without(self, index: int) -> "Sheet":
        def rest(cells: tuple[Any, ...]) -> tuple[Any, ...]:
            return cells[:index] + cells[index + 1 :]

        total = None if self.total is None else rest(self.total)
        return replace(self, columns=rest(self.columns), rows=tuple(map(rest, self.rows)), total=total)


class Running:
    """Rows that come a few at a time, without an end: cells are padded to the widest so far and never cut."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [0] * len(columns)
        self._titles: list[list[str]] = [[column.word for column in columns]]

    def lines(self, rows: Sequence[Sequence[Cell]]) -> list[str]:
        """The rows as aligned text; the first ones with the headings above them."""
        texts = self._titles + [[_text(cell, _decimals(cell), grouped=False) for cell in row] for row in rows]
        self._titles = []
        self._widths = [
            max([width, *map(cell_len, column)]) for width, *column in zip(self._widths, *texts, strict=True)
        ]
        return [self._line(row) for row in texts]

    def _line(self, texts: Sequence[str]) -> str:
        cells = zip(texts, self._columns, self._widths, strict=True)
        return _GAP.join(_filled(text, width, column.figure) for text, column, width in cells).rstrip()


def show(console: Console, sheet: Sheet) -> None:
    """Print the sheet in the manner of the console: for people on a terminal, plain elsewhere."""
    if not console.is_terminal:
        say(console, *plain_lines(sheet))
        return
    fitted, left_out = fitting(sheet, console)
    if _width(fitted, console, _NARROW_TEXT) > console.width:
        say(console, *blocks(sheet))
        return
    console.print(_table(fitted))
    if left_out:
        say(console, f"Too narrow for {', '.join(left_out)}: widen the terminal, or use --json.", style="dim")


def say(console: Console, *lines: str, style: str = "") -> None:
    """Print lines as they are: no markup, and outside a terminal no wrapping; a command is in one piece anywhere."""
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=not console.is_terminal or line.startswith(_TO_COPY))


def fitting(sheet: Sheet, console: Console) -> tuple[Sheet, list[str]]:
    """The sheet with as many columns as the console is wide, and the headings left out that held something.

    Columns without a figure go first: they hide nothing.
    """
    left_out: list[str] = []
    while _width(sheet, console, _WIDE_TEXT) > console.width and (index := _most_spare(sheet)) is not None:
        if not _blank(sheet, index):
            left_out.append(sheet.columns[index].title)
        sheet = sheet.without(index)
    return sheet, left_out[::-1]


def plain_lines(sheet: Sheet) -> Iterator[str]:
    """The sheet as aligned text of full width, figures without separators, headings in one word each."""
    columns = [
        _padded([column.word, *_texts(sheet, index, grouped=False)], column.figure)
        for index, column in enumerate(sheet.columns)
    ]
    return (_GAP.join(line).rstrip() for line in zip(*columns, strict=True))


def blocks(sheet: Sheet) -> Iterator[str]:
    """The sheet with a line for each figure, a block for each row."""
    texts = zip(*(_texts(sheet, index, grouped=True) for index in range(len(sheet.columns))), strict=True)
    titles = _padded([column.title for column in sheet.columns[1:]], right=False)
    for first, *rest in texts:
        yield first
        figures = _padded(rest, right=True)
        yield from (f"{_GAP}{title}{_GAP}{figure}" for title, figure in zip(titles, figures, strict=True))


def json_text(value: object) -> str:
    """JSON with amounts, prices, times and ids as text."""
    return json.dumps(value, indent=2, default=_spelt)


def json_line(value: object) -> str:
    """The same in one line."""
    return json.dumps(value, default=_spelt)


def csv_line(cells: Sequence[object], on_terminal: bool = False) -> str:
    """One line of CSV (RFC 4180), its end included: what JSON would hold, nothing known as an empty cell.

    A text that a spreadsheet would run as a formula begins with an apostrophe; a number stays one, whatever its sign.
    On a terminal nothing in a text can steer it.
    """
    texts = [_csv_text(cell) for cell in cells]
    line = io.StringIO()
    csv.writer(line).writerow(map(printable, texts) if on_terminal else texts)
    return line.getvalue()


def printable(text: str) -> str:
    """The text with whatever could steer a terminal spelt out; names come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def instant(at: datetime | None, zone: ZoneInfo | None = None) -> str:
    """The time to the second with its offset, or `never`; `UTC` is plain, but CST is any of three zones."""
    if at is None:
        return "never"
    there = at.astimezone(zone or UTC)
    if there.tzname() == "UTC":
        return f"{there:%Y-%m-%d %H:%M:%S} UTC"
    return there.isoformat(" ", "seconds")


def amount(value: Decimal, decimals: int = 0, grouped: bool = True) -> str:
    """The exact amount, with zeros added up to so many decimals."""
    whole, _, fraction = plain(value).partition(".")
    text = f"{Decimal(whole):,f}" if grouped else whole
    fraction = fraction.ljust(decimals, "0")
    return f"{text}.{fraction}" if fraction else text


def counted(number: int, one: str, many: str = "") -> str:
    """`1 call`, `1,204 calls`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _table(sheet: Sheet, text_width: int | None = None) -> Table:
    table = Table(
        box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, show_footer=sheet.total is not None
    )
    texts = [_texts(sheet, index, grouped=True) for index in range(len(sheet.columns))]
    for column, heading, cells in zip(sheet.columns, _headings(sheet), texts, strict=True):
        table.add_column(
            heading,
            Text(cells[-1], style="bold") if sheet.total is not None else "",
            justify="right" if column.figure else "left",
            no_wrap=column.figure,
            overflow="fold",
            max_width=None if column.figure else text_width,
        )
    for row in list(zip(*texts, strict=True))[: len(sheet.rows)]:
        table.add_row(*map(Text, row))
    return table


def _headings(sheet: Sheet) -> list[Text]:
    """A line for each word over figures, so that a heading is seldom wider than they are; all end level."""
    headings = [column.title.replace(" ", "\n") if column.figure else column.title for column in sheet.columns]
    tallest = max(heading.count("\n") for heading in headings)
    return [Text("\n" * (tallest - heading.count("\n")) + heading) for heading in headings]


def _width(sheet: Sheet, console: Console, text_width: int) -> int:
    """How wide the sheet is with its texts folded to the width."""
    table = _table(sheet, text_width)
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _most_spare(sheet: Sheet) -> int | None:
    spare = [index for index, column in enumerate(sheet.columns) if column.spare]
    if not spare:
        return None
    return max(spare, key=lambda index: (_blank(sheet, index), sheet.columns[index].spare))


def _blank(sheet: Sheet, index: int) -> bool:
    return not any(line[index] for line in sheet.lines)


def _texts(sheet: Sheet, index: int, grouped: bool) -> list[str]:
    cells = [line[index] for line in sheet.lines]
    decimals = max((_decimals(cell) for cell in cells), default=0)
    return [_text(cell, decimals, grouped) for cell in cells]


def _text(cell: Cell, decimals: int, grouped: bool) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return printable(cell)
    if isinstance(cell, int):
        return f"{cell:,}" if grouped else str(cell)
    return amount(cell, decimals, grouped)


def _decimals(cell: Cell) -> int:
    return len(plain(cell).partition(".")[2]) if isinstance(cell, Decimal) else 0


def _padded(cells: Sequence[str], right: bool) -> list[str]:
    width = max(map(cell_len, cells))
    return [_filled(cell, width, right) for cell in cells]


def _filled(cell: str, width: int, right: bool) -> str:
    # Cell widths, not lengths: a Chinese character is two columns wide.
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if right else cell + blanks


def _csv_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    if isinstance(cell, int | list | tuple | dict):
        return json.dumps(cell, default=_spelt, ensure_ascii=False)
    return _spelt(cell)


def _spelt(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
