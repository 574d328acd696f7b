"""`accounting report`: what was spent, in sums."""

from typing import Annotated

import typer

from accounting import periods
from accounting.cli.books import AsJson, books, err, now, out, put_json, roll_up
from accounting.cli.forms import AsCsv, AsExcel, Form, form, put_csv
from accounting.cli.spans import Month, Since, Until, Zone, books_zone, span
from accounting.spend import BY, Report, spend
from accounting.spend_rows import Scope
from accounting.spend_sheet import Span, report_csv, report_json, say_total, show_report
from accounting.store import reading

By = Annotated[str, typer.Option("--by", "-b", metavar="WHAT", help=f"{', '.join(BY[:-1])} or {BY[-1]}.")]
Projects = Annotated[
    list[str] | None, typer.Option("--project", "-p", metavar="NAME", help="Of this one alone; may be given again.")
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", "-k", metavar="KEY", help="Its name, last four or fingerprint's first; may be given again."),
]


def report(
    by: By = "project",
    since: Since = None,
    until: Until = None,
    month: Month = None,
    tz: Zone = None,
    project: Projects = None,
    key: Keys = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Spend by project, key, model and so on (--by); of this month, if no days are chosen.

    A call without the tag, or the user, is in a line of its own, so every grouping has the same total. By anomaly a
    call is in the line of each of its own, and the total is of all calls.
    """
    wanted = form(as_json, as_csv, as_excel)
    asked = periods.zone(tz) if tz else None
    scope = Scope(tuple(project or ()), tuple(key or ()))
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago is on the report too
        with reading(engine) as conn:
            where = asked or books_zone(conn)
            days = span(since, until, month, where.key, periods.billed_on(now(), where))
            found = spend(conn, by, days.first, days.end, asked, scope, now=now())
    _put(found, days, wanted)


def _put(found: Report, days: Span, wanted: Form) -> None:
    if wanted.is_csv:
        put_csv(wanted, *report_csv(found))
        say_total(err(), found)  # beside the rows, which are to be added up
    elif wanted is Form.JSON:
        put_json(report_json(found, days))
    else:
        show_report(out(), found, days)
