"""`accounting restatements`: what was changed in calls that were in the books already."""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

import typer

from accounting import restatements
from accounting.cli.books import AsJson, books, err, out, put_json
from accounting.restate import done_so_far
from accounting.restated import Restated
from accounting.restatements import RestatedCall, Restatement
from accounting.sheets import Column, Sheet, amount, counted, instant, json_line, printable, say, show
from accounting.store import reading

app = typer.Typer(help="Changes to calls that were in the books already.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")]

_COLUMNS = (
    Column("id"),
    Column("began", figure=False),
    Column("kind", figure=False),
    Column("changed"),
    Column("seen", spare=4),
    Column("state", figure=False, spare=2),
    Column("who", figure=False, spare=1),
    Column("why", figure=False, spare=3),
)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Only these, like key-moved.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What was changed, by whom and why; the newest first."""
    with books() as engine, reading(engine) as conn:
        found = restatements.restatements(conn, limit + 1, kind)
    page = found[:limit]
    if as_json:
        put_json({"restatements": [asdict(one) for one in page], "more": len(found) > limit})
    elif not page:
        say(out(), "No call in the books was changed." if kind is None else f"No change of kind {printable(kind)}.")
    else:
        show(out(), Sheet(_COLUMNS, tuple(_cells(one) for one in page)))
        if len(found) > limit:
            say(err(), f"The newest {limit:,}; for more: --limit")


@app.command("show")
def show_(
    id_: Annotated[int, typer.Argument(metavar="ID", help="As in the list.")],
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """One of them: what it was about, what that did to the cost, and what each call said before."""
    with books() as engine, reading(engine) as conn:
        one, done = restatements.find(conn, id_), done_so_far(conn, id_)
        found = restatements.restated(conn, id_, limit + 1)
    page, more = found[:limit], len(found) > limit
    if as_json:
        costs = {"cost_before": done.before, "cost_after": done.after}
        put_json({**asdict(one), **costs, "calls": [asdict(call) for call in page], "more": more})
        return
    _say_facts(one, done)
    if page:
        columns = (Column("call", figure=False), Column("said before", figure=False))
        show(out(), Sheet(columns, tuple((str(call.call_id), _before(call)) for call in page)))
    if more:
        say(err(), f"The first {limit:,} of {counted(one.changed, 'call')}; for more: --limit")


def _cells(one: Restatement) -> tuple[str | int, ...]:
    return one.id, instant(one.began_at), one.kind, one.changed, one.seen, _state(one), one.who, one.why


def _state(one: Restatement) -> str:
    return "done" if one.ended_at else "not finished"


def _say_facts(one: Restatement, done: Restated) -> None:
    about = ", ".join(f"{name} {value}" for name, value in one.what.items() if value)
    facts = {
        "kind": one.kind,
        "about": about,
        "who": one.who,
        "why": one.why,
        "began": instant(one.began_at),
        "ended": instant(one.ended_at) if one.ended_at else "not finished; the same command goes on where it stopped",
        "changed": f"{one.changed:,} of {counted(one.seen, 'call')}",
        "cost": f"{_money(done.before)} before, {_money(done.after)} after",
    }
    say(out(), *(f"{name:9} {printable(text)}" for name, text in facts.items() if text), "")


def _money(sums: Mapping[str, Decimal]) -> str:
    return " + ".join(f"{amount(value)} {code}" for code, value in sums.items()) or "nothing"


def _before(call: RestatedCall) -> str:
    return ", ".join(f"{name} {_spelt(value)}" for name, value in call.before.items())


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) and value else json_line(value)
