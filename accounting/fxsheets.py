"""Exchange rates in files.

CSV with a line for each rate, in columns of any order:

    date,base,quote,rate,source
    2026-11-20,USD,CNY,7.1032,PBC central parity

CSV as the European Central Bank publishes it, a line for each day, all of it for one euro:

    Date,USD,JPY,CNY
    2026-11-20,1.1541,178.31,8.2011

TOML:

    source = "our treasury"        # of all that name none

    [[fx]]
    date = 2026-11-20
    base = "USD"
    quote = "CNY"
    rate = 7.1032

A rate is taken as it is spelt and never goes through a binary fraction.
"""

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from accounting.currencies import CODES
from accounting.errors import ConfigurationError, FxRateError
from accounting.fx import FxRate, fx_rate

ECB = "ECB euro foreign exchange reference rates"

_REQUIRED = ("date", "base", "quote", "rate")
_KNOWN = {*_REQUIRED, "source"}
_UNSTATED = {"", "N/A"}
"""What the ECB writes for a currency that it had no rate for on a day."""


@dataclass(frozen=True, slots=True)
class FxSheet:
    """The rates of a file; `left_out` are codes of its columns that are no currency today, as the ECB's of long ago."""

    rates: tuple[FxRate, ...]
    left_out: tuple[str, ...] = ()


def read(text: str, name: str, source: str = "") -> FxSheet:
    """The rates of a file of that name: TOML where it ends so, else CSV in either form, as its headings tell.

    Rates that name no source have the file's, then the one given, then the file's name. Raises `FxRateError`.
    """
    sheet = _toml(text, name, source) if name.lower().endswith(".toml") else _csv(text, name, source)
    if not sheet.rates:
        raise FxRateError(f"{name} holds no rate.")
    return sheet


def _toml(text: str, name: str, source: str) -> FxSheet:
    try:
        sheet = tomllib.loads(text, parse_float=str)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise FxRateError(f"{name} is no TOML: {error}") from error
    _refuse_unknown(sheet, {"source", "fx"}, name)
    lines = sheet.get("fx")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
        raise FxRateError(f"{name}: expected at least one [[fx]], found {lines or 'none'}.")
    common = sheet.get("source") or source or name
    return FxSheet(tuple(_line(line, f"{name}, fx {number}", common) for number, line in enumerate(lines, 1)))


def _csv(text: str, name: str, source: str) -> FxSheet:
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    headings = [heading.strip() for heading in next(rows, [])]
    while headings and not headings[-1]:  # the ECB ends its lines with a comma
        headings.pop()
    lines = _numbered(rows, headings, name)
    if headings[1:] and headings[0].lower() == "date" and all(map(_is_code, headings[1:])):
        return _wide(lines, headings[1:], name, source or ECB)
    named = [heading.lower() for heading in headings]
    if missing := [what for what in _REQUIRED if what not in named]:
        raise FxRateError(
            f"{name}: no column {', '.join(missing)} among {', '.join(headings) or 'none'}. "
            f"Expected {','.join(_REQUIRED)},source, or the ECB's Date,USD,JPY,… with what one euro is."
        )
    _refuse_unknown(dict.fromkeys(named), _KNOWN, name)
    long = (_line(dict(zip(named, cells, strict=True)), where, source or name) for where, cells in lines)
    return FxSheet(tuple(long))


def _numbered(rows: Any, headings: Sequence[str], name: str) -> Iterator[tuple[str, list[str]]]:
    """Where each row is, for messages, and its cells, as many as there are headings; without those that are empty."""
    for cells in rows:
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        where = f"{name}, line {rows.line_num}"
        if any(stripped[len(headings) :]) or len(stripped) < len(headings):
            raise FxRateError(f"{where}: expected {len(headings)} cells, found {len(stripped)}. Is a cell quoted?")
        yield where, stripped[: len(headings)]


def _wide(lines: Iterator[tuple[str, list[str]]], codes: Sequence[str], name: str, source: str) -> FxSheet:
    current = [code in CODES for code in codes]
    if not any(current):
        raise FxRateError(f"{name}: none of {', '.join(codes)} is a currency; expected codes of ISO 4217 like USD.")
    rates = [
        _checked("EUR", code, _day(day, where), cell, source, where)
        for where, (day, *cells) in lines
        for code, known, cell in zip(codes, current, cells, strict=True)
        if known and cell not in _UNSTATED
    ]
    return FxSheet(tuple(rates), tuple(code for code, known in zip(codes, current, strict=True) if not known))


def _line(line: Mapping[str, Any], where: str, source: str) -> FxRate:
    _refuse_unknown(line, _KNOWN, where)
    if missing := [what for what in _REQUIRED if line.get(what) in (None, "")]:
        raise FxRateError(f"{where}: {', '.join(missing)} is missing.")
    own = line.get("source") or source
    if not isinstance(own, str):
        raise FxRateError(f'{where}: expected source = "…", found {own!r}.')
    return _checked(line["base"], line["quote"], _day(line["date"], where), line["rate"], own, where)


def _checked(base: object, quote: object, day: date, rate: Any, source: str, where: str) -> FxRate:
    try:
        return fx_rate(base, quote, day, rate, source)
    except ConfigurationError as error:
        raise FxRateError(f"{where}: {error}") from error


def _day(found: object, where: str) -> date:
    """A date, or the text of one: the ECB's daily file says `20 November 2026`."""
    if isinstance(found, date) and not isinstance(found, datetime):
        return found
    text = str(found)
    try:
        return date.fromisoformat(text) if text[:1].isdigit() and "-" in text else _spelt_out(text)
    except ValueError as error:
        raise FxRateError(f"{where}: expected a date like 2026-11-20, found {text!r}.") from error


def _spelt_out(text: str) -> date:
    return datetime.strptime(text, "%d %B %Y").date()  # noqa: DTZ007 - a day has no zone


def _is_code(text: str) -> bool:
    return len(text) == len("EUR") and text.isascii() and text.isalpha() and text.isupper()


def _refuse_unknown(found: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(found) - known):
        raise FxRateError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}.")
