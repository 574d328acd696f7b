"""`accounting calls`: single calls, each with its cost."""

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from threading import Event
from typing import Annotated, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection, Engine

from accounting import booked, periods
from accounting.booked import BookedCall, Estimate, Selection
from accounting.cli.books import AsJson, books, counting, err, out, put_json
from accounting.cli.forms import AsCsv, AsExcel, Form, form, put_csv
from accounting.cli.spans import Month, Since, Until, Zone, books_zone, span
from accounting.cli.stopping import stop_signal
from accounting.contributions import ESTIMATES
from accounting.errors import ConfigurationError, StoreAway
from accounting.money import Money, plain
from accounting.sheets import Cell, Column, Running, Sheet, json_line, say, show
from accounting.spend import Key
from accounting.spend_sheet import SELDOM, Span
from accounting.stated import StatedAs
from accounting.store import reading
from accounting.usage import Call, Outcome, Usage, UsageSource

PAGE = 50
"""So many are listed where no number is asked for."""

POLL_SECONDS = 0.5
"""So often a follower looks for new batches."""

AWAY_SECONDS = 1.0
"""So often a follower looks whether a store is back that went away."""

T = TypeVar("T")

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


_NOTES, _ID = Column("notes", figure=False, spare=2), Column("id", figure=False, spare=9)

_SPARED = 3
"""Of a followed call a terminal gets the columns with less to spare than this; a pipe gets all."""


@dataclass(frozen=True, slots=True)
class _List:
    """What is asked for: calls, of days as a heading names them, in a zone, in a form."""

    chosen: Selection
    days: Span
    zone: ZoneInfo
    form: Form


app = typer.Typer(invoke_without_command=True)


@app.callback()
def calls(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    month: Month = None,
    tz: Zone = None,
    project: Annotated[str | None, typer.Option("--project", "-p")] = None,
    key: Annotated[
        str | None, typer.Option("--key", "-k", help="Its name, its last four characters, or its fingerprint's first.")
    ] = None,
    provider: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option()] = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", help="The end user it was for.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", metavar="KEY[=VALUE]", help="May be repeated: with all of these.")
    ] = None,
    anomaly: Annotated[
        str | None, typer.Option(metavar="NAME", help="With this anomaly, as accounting report --by anomaly names it.")
    ] = None,
    stated: Annotated[
        StatedAs | None,
        typer.Option(
            help="How the cost that its provider stated stands to ours, as accounting report --compare-provider says."
        ),
    ] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Those that a budget refused.")] = False,
    refused_by: Annotated[str | None, typer.Option(metavar="NAME", help="Those that this budget refused.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help=f"So many at most; else {PAGE}, and with --csv all.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Go on below this call.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then go on with new ones as they are booked, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Single calls with their cost, the newest first; of all days, if none are chosen.

    With --follow the oldest first, a line each; with --json an object a line.

    A cost that nobody can say is a "-". In the notes "≈ 1,200 in and 300 out for 0.02 USD" are tokens that the call
    likely used beyond what was stated, which are in no cost. A "sub-call of ID" is another model's work inside the
    call of that id: it has a line and a cost of its own, and is not counted as a call.
    """
    if context.invoked_subcommand is not None:
        return
    wanted = form(as_json, as_csv, as_excel)
    below = None if before is None else call_id(before, "--before ")
    asked = periods.zone(tz) if tz else None
    if follow and (below or wanted.is_csv):
        raise ConfigurationError("--follow goes on with new calls, as text or --json; leave out --before and --csv.")
    with books() as engine:
        with reading(engine) as conn:
            zone = asked or books_zone(conn)
            if anomaly is not None:
                booked.refuse_unknown_anomaly(conn, anomaly)
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
            user=user,
            tags=tuple(map(_tag, tag or ())),
            anomaly=anomaly,
            stated_as=stated,
            refused=refused,
            refused_by=refused_by,
        )
        listing = _List(chosen, days, zone, wanted)
        _follow(engine, listing, limit or PAGE) if follow else _put(engine, listing, limit, below)


def _put(engine: Engine, asked: _List, limit: int | None, before: UUID | None) -> None:
    with reading(engine) as conn:
        if asked.form.is_csv:
            _put_csv(islice(booked.every(conn, asked.chosen, before), limit), asked.form)
            return
        size = limit or PAGE
        found = booked.listed(conn, asked.chosen, size + 1, before)
    page, more = found[:size], len(found) > size
    if asked.form is Form.JSON:
        put_json({"calls": [call_fields(one) for one in page], "next": page[-1].call.id if more else None})
    else:
        _show(page, more, asked.days, asked.zone)


def _put_csv(found: Iterable[BookedCall], wanted: Form) -> None:
    with counting("Listing", beside=out()) as told:
        put_csv(wanted, _FIELDS, (_told(number, one, told) for number, one in enumerate(found, 1)))


def _told(number: int, one: BookedCall, told: Callable[[int], None]) -> list[object]:
    if number % booked.PAGE == 0:
        told(number)
    return list(call_fields(one).values())


def _follow(engine: Engine, asked: _List, last: int) -> None:
    """Print the last calls, then each as it is booked. Ctrl-C is how one leaves it."""
    put = _objects if asked.form is Form.JSON else _Lines(asked.zone)
    with stop_signal(signal.SIGINT) as stopped:
        with reading(engine) as conn:
            had, page = booked.seen(conn), booked.listed(conn, asked.chosen, last)
        put(page[::-1])
        while not stopped.is_set():
            news = _once_there(engine, partial(booked.newly_booked, selection=asked.chosen, had=had), stopped)
            if news is None:
                return
            found, by_now = news
            put(found)
            if by_now == had:
                stopped.wait(POLL_SECONDS)
            had = by_now


def _once_there(engine: Engine, read: Callable[[Connection], T], stopped: Event) -> T | None:
    """What is read in one snapshot. While the store is away that is said, once, and tried again until it is stopped."""
    is_told = False
    while not stopped.is_set():
        try:
            with reading(engine) as conn:
                found = read(conn)
        except StoreAway as error:
            if not is_told:
                say(err(), f"The store is away; this goes on where it was once it is back. {error}")
            is_told = True
            stopped.wait(AWAY_SECONDS)
        else:
            if is_told:
                say(err(), "The store is back.")
            return found
    return None


def _objects(found: Iterable[BookedCall]) -> None:
    for one in found:
        typer.echo(json_line(call_fields(one)))


class _Lines:
    """Prints calls as lines under one heading."""

    def __init__(self, zone: ZoneInfo) -> None:
        columns = (*_COLUMNS, Column("cost"), _NOTES, _ID)
        self._zone = zone
        self._kept = [n for n, one in enumerate(columns) if one.spare < _SPARED or not out().is_terminal]
        self._running = Running([columns[n] for n in self._kept])

    def __call__(self, found: Iterable[BookedCall]) -> None:
        rows = [self._row(one) for one in found]
        for line in self._running.lines(rows):
            typer.echo(line)

    def _row(self, one: BookedCall) -> list[Cell]:
        *known, _, notes, id_ = _cells(one, self._zone, [])
        cost = f"{plain(one.cost.amount)} {one.cost.currency}" if one.cost else None
        cells = (*known, cost, notes, id_)
        return [cells[n] for n in self._kept]


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
    seldom = [name for name in SELDOM if any(getattr(one.call.usage, name) for one in page)]
    columns = (*_COLUMNS, *(SELDOM[name] for name in seldom), *costs, _NOTES, _ID)
    return Sheet(columns, tuple(_cells(one, zone, currencies, seldom) for one in page))


def _cells(one: BookedCall, zone: ZoneInfo, currencies: list[str], seldom: Iterable[str] = ()) -> tuple[Cell, ...]:
    call, usage, cost = one.call, one.call.usage, one.cost
    costs = [cost.amount if cost and cost.currency == code else None for code in currencies] or [None]
    return (
        f"{call.started_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        call.project,
        Key(call.key_fingerprint, call.key_last4, one.key_name).label,
        call.provider,
        call.model,
        call.outcome,
        call.http_status,
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        *(getattr(usage, name) for name in seldom),
        *costs,
        ", ".join(_notes(one)) or None,
        str(call.id),
    )


def _notes(one: BookedCall) -> list[str]:
    """What to know before trusting the cost, and what sets the call apart."""
    call, usage, has_failed = one.call, one.call.usage, one.call.outcome is Outcome.FAILED
    if usage.source is UsageSource.MISSING:
        why = [] if has_failed else ["no usage"]
    else:
        why = [] if one.cost or any(name.startswith("unpriced_") for name in usage.anomalies) else ["unpriced"]
    partial = [] if usage.source in (UsageSource.MISSING, UsageSource.PROVIDER) else [f"{usage.source} usage"]
    part_of = [] if call.parent_id is None else [f"sub-call of {call.parent_id}"]
    refused = [] if call.refused_by is None else [f"refused by {call.refused_by}"]
    tier = [] if call.service_tier in (None, *_PLAIN_TIERS) else [f"{call.service_tier} tier"]
    return [*refused, *why, *partial, *_estimated(one), *usage.anomalies, *part_of, *tier]


_PLAIN_TIERS = ("default", "standard", "on_demand")
"""As OpenAI, Anthropic and others call the one that has no other price."""


def _estimated(one: BookedCall) -> list[str]:
    likely = one.estimate
    if likely is None:
        return []
    cost = f" for {plain(likely.cost.amount)} {likely.cost.currency}" if likely.cost else ""
    return [f"≈ {likely.input_tokens:,} in and {likely.output_tokens:,} out{cost}"]


def call_id(text: str, option: str = "") -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}{text!r} is no id of a call; expected one like those listed.") from error


def _tag(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None


_OF_CALL = [field.name for field in fields(Call) if field.name != "usage"]
_OF_USAGE = [name for name in Usage._fields if name not in ("source", "block", "provider_cost")]
_OF_MONEY = ("cost", "currency", "provider_cost", "provider_cost_currency")
_OF_ESTIMATE = (*ESTIMATES, "estimated_cost", "estimated_cost_currency")
_FIELDS = (
    *(*_OF_CALL, "model", "key_name", "billed_on", *_OF_USAGE, "usage_source", "usage_block"),
    *(*_OF_MONEY, *_OF_ESTIMATE, "stated_as"),
)
"""What programs get of a call, in this order."""


def call_fields(one: BookedCall) -> dict[str, Any]:
    """What programs get of a call."""
    call, usage = one.call, one.call.usage
    values = (
        *(getattr(call, name) for name in _OF_CALL),
        *(call.model, one.key_name, one.billed_on),
        *(getattr(usage, name) for name in _OF_USAGE),
        *(usage.source, usage.block),
        *_pair(one.cost),
        *_pair(usage.provider_cost),
        *_likely(one.estimate),
        one.stated_as,
    )
    return dict(zip(_FIELDS, values, strict=True))


def _likely(estimate: Estimate | None) -> tuple[object, ...]:
    if estimate is None:
        return (None,) * len(_OF_ESTIMATE)
    return (estimate.input_tokens, estimate.output_tokens, *_pair(estimate.cost))


def _pair(money: Money | None) -> tuple[object, object]:
    return (None, None) if money is None else (money.amount, money.currency)
