"""`accounting report`: what was spent, in sums."""

from datetime import date
from typing import Annotated

import typer

from accounting import fxbook, money, periods
from accounting.cli.books import AsJson, books, err, now, out, put_json, roll_up
from accounting.cli.forms import AsCsv, AsExcel, Form, form, put_csv
from accounting.cli.spans import Month, Since, Until, Zone, books_zone, span
from accounting.cli.spans import day as a_day
from accounting.comparison import Comparison, compare
from accounting.comparison_sheet import comparison_csv, comparison_json, say_totals, show_comparison
from accounting.errors import ConfigurationError
from accounting.spend import BY, Report, in_one, spend
from accounting.spend_rows import Scope
from accounting.spend_sheet import Span, report_csv, report_json, say_total, show_report
from accounting.store import reading

By = Annotated[
    str | None,
    typer.Option("--by", "-b", metavar="WHAT", help=f"{', '.join(BY[:-1])} or {BY[-1]}; else by project."),
]
Projects = Annotated[
    list[str] | None, typer.Option("--project", "-p", metavar="NAME", help="Of this one alone; may be given again.")
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", "-k", metavar="KEY", help="Its name, last four or fingerprint's first; may be given again."),
]

Currency = Annotated[
    str | None,
    typer.Option(
        metavar="CODE", help="Also in this one, like CNY, by the exchange rates in the books (accounting fx)."
    ),
]
FxDate = Annotated[
    str | None,
    typer.Option(
        metavar="DAY", help="The latest exchange rates until that day; else until the last reported one, or today."
    ),
]
CompareProvider = Annotated[
    bool,
    typer.Option(
        "--compare-provider", help="By model: what providers stated that calls cost, beside ours, and why they differ."
    ),
]


def report(
    by: By = None,
    since: Since = None,
    until: Until = None,
    month: Month = None,
    tz: Zone = None,
    project: Projects = None,
    key: Keys = None,
    currency: Currency = None,
    fx_date: FxDate = None,
    compare_provider: CompareProvider = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Spend by project, key, model and so on (--by); of this month, if no days are chosen.

    A call without the tag, or the user, is in a line of its own, so every grouping has the same total. By anomaly a
    call is in the line of each of its own, by refusal in that of the budget that refused it, and the total is of all.

    Money is shown in the currency of its rates. With --currency it is also summed in one, unrounded, at one rate for
    each other currency: the latest until the last reported day, until today where that is to come, or until --fx-date.
    Rate, day, age and source are shown. What has no rate stays as it is and is named beside.

    Some providers state what a call cost. --compare-provider holds that against our price, each currency by itself:
    how much of the difference is explained, by a key that the caller brought, tools or rounding, and how much is not.
    """
    wanted = form(as_json, as_csv, as_excel)
    into = _wanted(currency, fx_date)
    asked = periods.zone(tz) if tz else None
    scope = Scope(tuple(project or ()), tuple(key or ()))
    if compare_provider:
        _refuse_beside_comparison(by, tz, into)
    with books() as engine:
        roll_up(engine)  # what was delivered a moment ago is on the report too
        with reading(engine) as conn:
            where = asked or books_zone(conn)
            today = periods.billed_on(now(), where)
            days = span(since, until, month, where.key, today)
            if compare_provider:
                _put_comparison(compare(conn, days.first, days.end, scope, now=now()), days, wanted)
                return
            found = spend(conn, by or "project", days.first, days.end, asked, scope, now=now())
            if into:
                found = in_one(found, fxbook.exchange(conn, found.currencies, into, _rate_day(days, fx_date, today)))
    _put(found, days, wanted)


def _refuse_beside_comparison(by: str | None, tz: str | None, currency: str | None) -> None:
    if by not in (None, "model"):
        raise ConfigurationError(f"--compare-provider is by model; leave out --by {by}.")
    if tz is not None:
        raise ConfigurationError(
            "What providers state is kept by the books' own days, not by those of a zone: leave out --tz."
        )
    if currency is not None:
        raise ConfigurationError("--compare-provider has each currency by itself; leave out --currency.")


def _wanted(currency: str | None, fx_date: str | None) -> str | None:
    if fx_date and currency is None:
        raise ConfigurationError(
            "--fx-date says whose exchange rates to take; say for which currency: --currency CODE."
        )
    return None if currency is None else money.currency(currency)


def _rate_day(days: Span, fx_date: str | None, today: date) -> date:
    """The day whose exchange rates convert all of the report. One rate a currency, or lines would not add up."""
    asked = a_day(fx_date) if fx_date else min(days.last or today, today)
    if asked > today:
        raise ConfigurationError(f"--fx-date {asked} is to come; expected a day until {today}.")
    return asked


def _put(found: Report, days: Span, wanted: Form) -> None:
    if wanted.is_csv:
        put_csv(wanted, *report_csv(found))
        say_total(err(), found)  # beside the rows, which are to be added up
    elif wanted is Form.JSON:
        put_json(report_json(found, days))
    else:
        show_report(out(), found, days)


def _put_comparison(found: Comparison, days: Span, wanted: Form) -> None:
    if wanted.is_csv:
        put_csv(wanted, *comparison_csv(found))
        say_totals(err(), found)
    elif wanted is Form.JSON:
        put_json(comparison_json(found, days))
    else:
        show_comparison(out(), found, days)
