"""`accounting calls show`: one call, by which rate it is priced, and by which it was before."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from accounting import booked, restatements
from accounting.cli.books import AsJson, books, out, put_json
from accounting.cli.calls import app, call_fields
from accounting.errors import ConfigurationError
from accounting.rates import UNPRICED, Rate
from accounting.restatements import Change
from accounting.sheets import Column, Sheet, instant, json_line, printable, say, show
from accounting.store import ratelines, reading

__all__ = ["app"]

_DIGITS = re.compile("[0-9a-f]{1,32}")
"""Of a call's id, or of its beginning."""

_TOLD = 3
"""So many calls are named where more than one could be meant."""

_COLUMNS = (
    Column("restatement"),
    Column("began", figure=False),
    Column("kind", figure=False),
    Column("who", figure=False, spare=1),
    Column("why", figure=False, spare=2),
    Column("said before", figure=False),
)


@app.command("show")
def show_(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As accounting calls lists it, or how it alone begins.")],
    as_json: AsJson = False,
) -> None:
    """One call: all that is known of it, the rate that it is priced by, and each rate that it was priced by before."""
    beginning = _beginning(id_)
    with books() as engine, reading(engine) as conn:
        wanted = _the_one(conn, beginning, id_)
        found = booked.of(conn, [wanted])
        rate, changes = booked.rate_of(conn, wanted), restatements.of_call(conn, wanted)
        former = _rates(conn, changes)
    if as_json:
        put_json({**call_fields(found[0]), "rate": rate and _rate(rate), "changes": [_json(one) for one in changes]})
        return
    _say(call_fields(found[0]), _named(rate))
    if changes:
        say(out(), "", "What was changed in it since it came into the books:")
        show(out(), Sheet(_COLUMNS, tuple(_cells(one, former) for one in changes)))


def _beginning(text: str) -> str:
    """Its digits. Raises `ConfigurationError` where no id begins so."""
    digits = text.replace("-", "").lower()
    if not _DIGITS.fullmatch(digits):
        raise ConfigurationError(f"{text!r} is no id of a call, and none begins so; expected one like those listed.")
    return digits


def _the_one(conn: Connection, beginning: str, text: str) -> UUID:
    found = booked.ids_from(conn, beginning, _TOLD + 1)
    if not found:
        raise ConfigurationError(
            f"There is no call {printable(text)} in the books, and none whose id begins so. See which there are: "
            "accounting calls"
        )
    if len(found) > 1:
        told = ", ".join(map(str, found[:_TOLD])) + (" and others" if len(found) > _TOLD else "")
        raise ConfigurationError(f"More than one call's id begins with {printable(text)}: {told}. Give more of it.")
    return found[0]


def _rates(conn: Connection, changes: Sequence[Change]) -> dict[int, Rate]:
    named = {one.before["rate_id"] for one in changes if "rate_id" in one.before}
    return {rate.id: rate for rate in ratelines.read(conn, withdrawn=True, ids=named)}


def _rate(rate: Rate) -> dict[str, Any]:
    return {"id": rate.id, "rate": f"{rate}", "source": rate.source}


def _json(one: Change) -> dict[str, Any]:
    said = asdict(one.by)
    return {name: said[name] for name in ("id", "kind", "who", "why", "began_at")} | {"before": one.before}


def _say(fields: Mapping[str, Any], rate: str) -> None:
    known = {name: value for name, value in fields.items() if value not in (None, "", (), {})} | {"rate": rate}
    width = max(map(len, known))
    say(out(), *(f"{name:{width}}  {printable(_spelt(value))}" for name, value in known.items()))


def _spelt(value: object) -> str:
    """As JSON has it, without quotes around a text."""
    return value if isinstance(value, str) else json_line(value).strip('"')


def _named(rate: Rate | None) -> str:
    return "none: unpriced" if rate is None else f"{rate.id}: {rate}"


def _cells(one: Change, rates: Mapping[int, Rate]) -> tuple[str | int, ...]:
    by = one.by
    before = ", ".join(_words(one.before, rates))
    return by.id, instant(by.began_at), by.kind, printable(by.who), printable(by.why), printable(before)


def _words(before: Mapping[str, Any], rates: Mapping[int, Rate]) -> Iterable[str]:
    for name, value in before.items():
        if name == "rate_id":
            yield f"rate {_named(rates.get(value))}" if value in rates or value == UNPRICED else f"rate {value}"
        else:
            yield f"{name} {value if isinstance(value, str) and value else json_line(value)}"
