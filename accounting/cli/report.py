"""`accounting report`: what was spent, in sums."""

from typing import Annotated

import typer

from accounting import periods
from accounting.cli.books import AsJson, books, counting, now, out, put_json
from accounting.cli.spans import Month, Since, Until, Zone, books_zone, span
from accounting.rollup import roll_all
from accounting.spend import BY, spend
from accounting.spend_sheet import report_json, show_report
from accounting.store import reading

By = Annotated[str, typer.Option("--by", "-b", metavar="WHAT", help=f"{', '.join(BY[:-1])} or {BY[-1]}.")]


def report(
    by: By = "project",
    since: Since = None,
    until: Until = None,
    month: Month = None,
    tz: Zone = None,
    as_json: AsJson = False,
) -> None:
    """Spend by key, project, model, provider, day, month or effort; of the current month, if no days are chosen."""
    asked = periods.zone(tz) if tz else None
    with books() as engine:
        with counting("Rolling up") as told:  # what was delivered a moment ago is on the report too
            roll_all(engine, now, lambda so_far: told(so_far.calls))
        with reading(engine) as conn:
            where = asked or books_zone(conn)
            days = span(since, until, month, where.key, periods.billed_on(now(), where))
            found = spend(conn, by, days.first, days.end, asked, now=now())
    if as_json:
        put_json(report_json(found, days))
    else:
        show_report(out(), found, days)
