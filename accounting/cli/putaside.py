"""`accounting rejected` and `accounting conflicts`: delivered calls that are in no total, and settling them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from accounting import putaside
from accounting.cli.books import AsJson, Why, books, err, now, out, put_json
from accounting.errors import ConfigurationError
from accounting.putaside import Conflict, PutAside, Rejected, Retried, Said
from accounting.settings import whoami
from accounting.sheets import Cell, Column, Sheet, counted, instant, json_line, printable, say, show
from accounting.store import reading, tables

rejected_app = typer.Typer(help="Delivered calls that could not be taken.", no_args_is_help=True)
conflicts_app = typer.Typer(help="Calls that came again with other contents.", no_args_is_help=True)

_COLUMNS = (
    Column("id"),
    Column("received UTC", figure=False),
    Column("journal", figure=False, spare=3),
    Column("host", figure=False, spare=2),
    Column("number", spare=4),
)
_SETTLED = Column("settled", figure=False, spare=1)

Id = Annotated[int, typer.Argument(metavar="ID", help="As in the list.")]
All = Annotated[bool, typer.Option("--all", "-a", help="Settled ones, too.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")]


@rejected_app.command("list")
def list_rejected(all_: All = False, limit: Limit = 50, as_json: AsJson = False) -> None:
    """What was put aside, and why; the newest first."""
    with books() as engine, reading(engine) as conn:
        found = putaside.rejected(conn, limit + 1, settled=all_)
    page = found[:limit]
    if as_json:
        put_json({"rejected": [_fields(one) for one in page], "more": len(found) > limit})
    elif not page:
        say(out(), "Nothing was rejected." if all_ else "No rejected call waits to be settled.")
    else:
        columns = (*_COLUMNS, Column("reason", figure=False), _SETTLED)
        _show(Sheet(columns, tuple((*_cells(one), one.reason, one.settled_how) for one in page)), len(found) > limit)


@rejected_app.command("show")
def show_rejected(id_: Id, as_json: AsJson = False) -> None:
    """One of them with its bytes, as delivered."""
    with books() as engine, reading(engine) as conn:
        one = putaside.find_rejected(conn, id_)
    if as_json:
        put_json({**_fields(one), "payload": _text(one)})
        return
    _say_facts(one)
    say(out(), f"reason    {printable(one.reason)}", "", printable(_text(one)))


@rejected_app.command()
def retry(
    id_: Annotated[int | None, typer.Argument(metavar="ID", help="As in the list.")] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Each that is not settled.")] = False,
) -> None:
    """Take a rejected call once more, as after an upgrade of this program. Exit code 2: some stay rejected."""
    if (id_ is None) != all_:
        raise ConfigurationError("Expected the id of a rejected call, or --all for each that is not settled.")
    with books() as engine:
        wanted = _waiting(engine) if id_ is None else [id_]
        tried = [_told(putaside.retry(engine, one, now())) for one in wanted]
    if not tried:
        say(out(), "No rejected call waits to be settled.")
    if stay := sum(one.verdict is None for one in tried):
        say(err(), f"{counted(stay, 'call')} of {len(tried):,} {'stays' if stay == 1 else 'stay'} rejected.")
        raise typer.Exit(2)


def _waiting(engine: Engine) -> list[int]:
    with reading(engine) as conn:
        return putaside.waiting(conn)


def _told(one: Retried) -> Retried:
    said = f"taken: {one.verdict}" if one.verdict else f"stays: {one.reason}"
    say(out(), f"{one.id} {printable(said)}")
    return one


@rejected_app.command("dismiss")
def dismiss_rejected(id_: Id, why: Why) -> None:
    """Settle one that is no call, or will never be one. Its bytes stay in the books."""
    with books() as engine:
        putaside.dismiss(engine, tables.rejected, id_, why, whoami(), now())
    say(out(), f"Dismissed rejected call {id_}; it stays in the books, and is counted no more.")


@conflicts_app.command("list")
def list_conflicts(all_: All = False, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Calls that came again with other contents; the newest first."""
    with books() as engine, reading(engine) as conn:
        found = putaside.conflicts(conn, limit + 1, settled=all_)
        page = list(zip(found[:limit], putaside.compared(conn, found[:limit]), strict=True))
    if as_json:
        rows = [{**_fields(one), "differs": _differing(said)} for one, said in page]
        put_json({"conflicts": rows, "more": len(found) > limit})
    elif not page:
        say(out(), "There was no conflict." if all_ else "No conflict waits to be settled.")
    else:
        columns = (*_COLUMNS, Column("differs", figure=False), _SETTLED, Column("call", figure=False, spare=5))
        rows_ = tuple(
            (*_cells(one), ", ".join(_differing(said)), one.settled_how, str(one.call_id)) for one, said in page
        )
        _show(Sheet(columns, rows_), len(found) > limit)


@conflicts_app.command("show")
def show_conflict(id_: Id, as_json: AsJson = False) -> None:
    """Both versions of a call side by side, what differs first."""
    with books() as engine, reading(engine) as conn:
        one = putaside.find_conflict(conn, id_)
        (said,) = putaside.compared(conn, [one])
    if as_json:
        versions = {side: {each.field: getattr(each, side) for each in said} for side in ("books", "delivered")}
        put_json({**_fields(one), "differs": _differing(said), **versions})
        return
    _say_facts(one)
    columns = (Column("field", figure=False), Column("differs", figure=False), *map(_side, ("books", "delivered")))
    rows = ((each.field, "yes" if each.differs else None, _cell(each.books), _cell(each.delivered)) for each in said)
    say(out(), "")
    show(out(), Sheet(columns, tuple(rows)))


@conflicts_app.command()
def accept(id_: Id, why: Why) -> None:
    """Let the books say what was delivered second; what they said before is kept."""
    with books() as engine:
        one = putaside.accept(engine, id_, why, whoami(), now())
    say(out(), f"Call {one.call_id} says what was delivered second now; what it said before is kept (restated_calls).")


@conflicts_app.command("dismiss")
def dismiss_conflict(id_: Id, why: Why) -> None:
    """Settle a conflict, and leave the books as they are."""
    with books() as engine:
        putaside.dismiss(engine, tables.conflicts, id_, why, whoami(), now())
    say(out(), f"Dismissed conflict {id_}; the books stay as they are.")


def _show(sheet: Sheet, more: bool) -> None:
    show(out(), sheet)
    if more:
        say(out(), "", "There are more: --limit for a longer page.")


def _cells(one: PutAside) -> tuple[Cell, ...]:
    return (one.id, f"{one.received_at:%Y-%m-%d %H:%M}", str(one.journal), one.host, one.number)


def _fields(one: PutAside) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "payload"}


def _say_facts(one: Rejected | Conflict) -> None:
    said = (
        f"settled   {instant(one.settled_at)}: {printable(one.settled_how or '')}" if one.settled_at else "settled   no"
    )
    call = [f"call      {one.call_id}"] if isinstance(one, Conflict) else []
    journal = f"journal   {one.journal} on {printable(one.host)}, number {one.number}"
    say(out(), f"id        {one.id}", *call, f"received  {instant(one.received_at)}", journal, said)


def _text(one: PutAside) -> str:
    return one.payload.decode("utf-8", "backslashreplace")


def _differing(said: Sequence[Said]) -> list[str]:
    return [each.field for each in said if each.differs]


def _side(title: str) -> Column:
    return Column(title, figure=False)


def _cell(value: Any) -> Cell:
    """The value in letters: these stand in a column of all kinds."""
    if value is None or isinstance(value, str):
        return value
    return json_line(value).strip('"')
