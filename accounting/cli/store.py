"""`accounting store`: make, upgrade and look at a store."""

from datetime import datetime
from typing import Any

import typer
from sqlalchemy import Connection, func, select

from accounting import aliasbook, aliases, backfill, stamps
from accounting.cli.books import AsJson, books, now, out, put_json, sum_anew
from accounting.scheduler import Run, last_runs
from accounting.settings import Settings
from accounting.sheets import Column, Sheet, counted, instant, say, show
from accounting.store import named, open_engine, reading, schema, tables

app = typer.Typer(help="Make, upgrade and look at the store.", no_args_is_help=True)


@app.command()
def create() -> None:
    """Make an empty store at ACCOUNTING_STORE_URL, with the days of ACCOUNTING_ZONE and the shipped rates."""
    settings = Settings()
    engine = open_engine(settings.store_url)
    try:
        made = schema.create(engine, settings.zone, now())
    finally:
        engine.dispose()
    what = f"Made an empty store, days in {settings.zone}" if made else "There is a store already, left as it is"
    say(out(), f"{what}: {named(engine)}")


@app.command()
def upgrade() -> None:
    """Bring the store to this program's schema: make a backup and stop other programs first.

    Nothing is half done if it fails. A backup: accounting store backup FILE, or for PostgreSQL pg_dump. Aliases that
    are new in this version come in, too. A schema with new sums has them all made anew, from the calls: the rollup that
    does it comes last, and can be given again.
    """
    engine = open_engine(Settings().store_url)
    try:
        before = schema.upgrade(engine)
        renewed = stamps.decide(engine, _renew)
        if before == schema.HEAD:
            todo = "aliases renewed" if renewed.any else "nothing to do"
            say(out(), f"The store has schema {before}, the newest; {todo}: {named(engine)}", *_renewed(renewed))
            return
        say(out(), f"The store had schema {before} and has {schema.HEAD}: {named(engine)}", *_renewed(renewed))
        sum_anew(engine)
    finally:
        engine.dispose()


def _renew(conn: Connection) -> aliasbook.Renewed:
    renewed = aliasbook.renew(conn, aliases.shipped(), now())
    if renewed.any:
        backfill.fill_by_model(conn)
    return renewed


def _renewed(renewed: aliasbook.Renewed) -> list[str]:
    if not renewed.any:
        return []
    what = f"{counted(renewed.added, 'alias', 'aliases')} added, {renewed.withdrawn:,} withdrawn"
    return [f"{what}, as this version ships them. What you added or withdrew stays: accounting rates aliases list"]


@app.command("show")
def show_(as_json: AsJson = False) -> None:
    """Where the store is, its schema and zone, what waits or was put aside, and the last run of each job."""
    with books() as engine, reading(engine) as conn:
        facts = {"url": named(engine), **_facts(conn)}
        runs = last_runs(conn)
    if as_json:
        put_json({**facts, "runs": [_fields(run) for run in runs]})
        return
    for name, value in facts.items():
        say(out(), f"{name.replace('_', ' '):20}{_text(value)}")
    say(out(), "")
    if runs:
        show(out(), _sheet(runs))
    else:
        say(out(), "No job has run yet; reports roll up by themselves, accounting work does it on a schedule.")


def _facts(conn: Connection) -> dict[str, Any]:
    row = conn.execute(select(tables.store)).one()
    waiting = select(func.count(), func.coalesce(func.sum(tables.batches.c.inserted), 0))
    batches, calls = conn.execute(waiting.where(tables.batches.c.rolled_at.is_(None))).one()
    rolled = tables.spend_days.c.calls + tables.spend_days.c.sub_calls
    return {
        "schema": schema.revision(conn),
        "zone": row.zone,
        "created_at": row.created_at,
        "calls_rolled_up": int(conn.scalars(select(func.coalesce(func.sum(rolled), 0))).one()),
        "calls_not_rolled_up": int(calls),
        "batches_waiting": batches,
        "rejected": conn.scalar(select(func.count()).select_from(tables.rejected)),
        "conflicts": conn.scalar(select(func.count()).select_from(tables.conflicts)),
    }


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sheet(runs: list[Run]) -> Sheet:
    columns = ("last run of", "state", "started", "ended", "what")
    rows = (
        (run.job, run.state, instant(run.started_at), instant(run.ended_at), run.detail or "nothing to do")
        for run in runs
    )
    return Sheet(tuple(Column(title, figure=False) for title in columns), tuple(rows))


def _fields(run: Run) -> dict[str, Any]:
    names = ("job", "state", "started_at", "ended_at", "detail")
    return {name: getattr(run, name) for name in names}
