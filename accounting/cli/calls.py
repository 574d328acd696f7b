"""`accounting calls`: single calls, each with its cost."""

from dataclasses import fields
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from accounting import periods, spend
from accounting.cli.books import AsJson, books, out, put_json
from accounting.cli.spans import Month, Since, Until, Zone, books_zone, span
from accounting.errors import ConfigurationError
from accounting.money import Money
from accounting.sheets import Cell, Column, Sheet, say, show
from accounting.spend import BookedCall, Key, Selection
from accounting.spend_sheet import Span
from accounting.store import reading
from accounting.usage import Call, Outcome, Usage, UsageSource

_COLUMNS = (
    Column("started", figure=False),
    Column("project", figure=False),
    Column("key", figure=False, spare=6),
    Column("provider", figure=False, spare=8),
    Column("model", figure=False),
    Column("outcome", figure=False, spare=1),
    Column("http", spare=7),
    Column("input tokens"),
    Column("cache read", spare=3),
    Column("cache write", spare=4),
    Column("output tokens"),
    Column("reasoning tokens", spare=5),
)
"""What comes before a column of costs for each currency, the notes and the id."""


def calls(
    since: Since = None,
    until: Until = None,
    month: Month = None,
    tz: Zone = None,
    project: Annotated[str | None, typer.Option("--project", "-p")] = None,
    key: Annotated[str | None, typer.Option(help="Its last four characters, or its fingerprint's first.")] = None,
    provider: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option()] = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")] = 50,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Go on below this call.")] = None,
    as_json: AsJson = False,
) -> None:
    """Single calls with their cost, the newest first; of all days, if none are chosen."""
    asked = periods.zone(tz) if tz else None
    with books() as engine, reading(engine) as conn:
        zone = asked or books_zone(conn)
        days = span(since, until, month, zone.key)
        chosen = Selection(
            first=days.first,
            end=days.end,
            zone=asked,
            project=project,
            key=key,
            provider=provider,
            model=model,
            outcome=outcome,
        )
        found = spend.calls(conn, chosen, limit + 1, None if before is None else _id(before))
    page, more = found[:limit], len(found) > limit
    if as_json:
        put_json({"calls": [_fields(one) for one in page], "next": page[-1].call.id if more else None})
    else:
        _show(page, more, days, zone)


def _show(page: list[BookedCall], more: bool, days: Span, zone: ZoneInfo) -> None:
    if not page:
        say(out(), f"No such calls, {days}.")
        return
    say(out(), f"Calls, {days}, newest first", "", style="bold")
    show(out(), _sheet(page, zone))
    if more:
        say(out(), "", f"There are more: --limit for a longer page, --before {page[-1].call.id} for the next.")


def _sheet(page: list[BookedCall], zone: ZoneInfo) -> Sheet:
    currencies = sorted({one.cost.currency for one in page if one.cost})
    costs = [Column(f"cost {code}") for code in currencies] or [Column("cost")]
    columns = (*_COLUMNS, *costs, Column("notes", figure=False, spare=2), Column("id", spare=9))
    return Sheet(columns, tuple(_cells(one, zone, currencies) for one in page))


def _cells(one: BookedCall, zone: ZoneInfo, currencies: list[str]) -> tuple[Cell, ...]:
    call, usage, cost = one.call, one.call.usage, one.cost
    costs = [cost.amount if cost and cost.currency == code else None for code in currencies] or [None]
    return (
        f"{call.started_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        call.project,
        Key(call.key_fingerprint, call.key_last4).label,
        call.provider,
        call.model,
        call.outcome,
        call.http_status,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        *costs,
        ", ".join(_notes(one)) or None,
        str(call.id),
    )


def _notes(one: BookedCall) -> list[str]:
    """What to know before trusting the cost."""
    usage, has_failed = one.call.usage, one.call.outcome is Outcome.FAILED
    if usage.source is UsageSource.MISSING:
        why = [] if has_failed else ["no usage"]
    else:
        why = [] if one.cost else ["unpriced"]
    partial = [] if usage.source in (UsageSource.MISSING, UsageSource.PROVIDER) else [f"{usage.source} usage"]
    return [*why, *partial, *usage.anomalies]


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ConfigurationError(f"--before {text!r} is no id of a call; expected one like those listed.") from error


def _fields(one: BookedCall) -> dict[str, Any]:
    call, usage = one.call, one.call.usage
    return {
        **_plain(call, "usage"),
        "model": call.model,
        "billed_on": one.billed_on,
        **_plain(usage, "source", "block", "provider_cost"),
        "usage_source": usage.source,
        "usage_block": usage.block,
        **_money("cost", "currency", one.cost),
        **_money("provider_cost", "provider_cost_currency", usage.provider_cost),
    }


def _plain(value: Call | Usage, *but: str) -> dict[str, Any]:
    """The value's fields by name, but for some."""
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in but}


def _money(amount: str, currency: str, money: Money | None) -> dict[str, Any]:
    """The two fields of an amount, under their names."""
    return {amount: money and money.amount, currency: money and money.currency}
