"""What a call gets on its way into the books: who pays, which key, at which rate, on which day.

Who pays: the project that the running code named (`attribute`), else the one that its client was metered for (`meter`),
else the one that its key was assigned to as the call began (`key`), else "unassigned" (`default`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError

from accounting import keys, learning, periods, projects, ratebook, ratestamps
from accounting.errors import RateCardError
from accounting.estimates import NOTHING, Snapshot, beyond, lacks_usage
from accounting.keys import Payers
from accounting.projects import Calendar
from accounting.ratestamps import Stamp
from accounting.resolution import RateBook
from accounting.store import Lock, hold, transact
from accounting.usage import COUNTED, Call, Usage, UsageSource, counted
from accounting.wholes import plausible

T = TypeVar("T")

BY_CODE = ("attribute", "meter")
"""Sources of a call's project that the program itself named; no decision about its key changes it."""

BY_KEY = ("key", "default")
"""Sources of a project that follow the key."""

_NOT_ESTIMATED = (None, None)
"""What stands in the last columns of a call that needs no estimate, or of which there is none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(minutes=15)


COLUMNS = (
    "id",
    "provider",
    "endpoint",
    "request_model",
    "response_model",
    "model",
    "response_id",
    "key_id",
    "project_id",
    "project_source",
    "end_user",
    "tags",
    "attempt",
    "link_id",
    "stream",
    "effort",
    "max_tokens",
    "started_at",
    "first_token_at",
    "ended_at",
    "bytes_in",
    "bytes_out",
    "http_status",
    "outcome",
    "finish_reason",
    "parent_id",
    "service_tier",
    "script",
    "refused_by",
    *COUNTED,
    "usage_source",
    "usage_block",
    "anomalies",
    "provider_cost",
    "provider_cost_currency",
    "stated_as",
    "rate_id",
    "quarter",
    "billed_on",
    "estimated_input_tokens",
    "estimated_output_tokens",
)
"""Of `calls`, in the order of `Stamps.values`."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the books know about the calls of one batch. `rates` is None where they can't be read.

    What is `learned` is at hand for calls that lack usage alone.
    """

    calendar: Calendar
    rates: RateBook | None
    projects: dict[str, int]
    keys: dict[str, int]
    payers: Payers
    times: dict[tuple[int, int], tuple[datetime, date]] = field(default_factory=dict)
    """What `_times` found so far; a batch spans few quarter hours."""
    learned: Snapshot = NOTHING
    failed: list[UUID] = field(default_factory=list)
    """Calls that no rate could be looked for, through a fault of ours: see `see_again`."""

    def row(self, call: Call) -> dict[str, Any]:
        """The call's row in `calls`, but for how it came here."""
        return dict(zip(COLUMNS, self.values(call), strict=True))

    def values(self, call: Call) -> tuple[Any, ...]:
        """The same in the order of `COLUMNS`, which takes a third of the time."""
        usage, cost = plausible(call.usage), call.usage.provider_cost
        rate_id, anomalies, stated_as = self._by_rate(call, usage)
        key_id = self.keys[call.key_fingerprint]
        project_id, source = self._payer(call, key_id)
        quarter, billed_on = self._times(project_id, call.started_at)
        return (
            call.id,
            call.provider,
            call.endpoint,
            call.request_model,
            call.response_model,
            call.model,
            call.response_id,
            key_id,
            project_id,
            source,
            call.user,
            call.tags,
            call.attempt,
            call.link_id,
            call.stream,
            call.effort or "",
            call.max_tokens,
            call.started_at,
            call.first_token_at,
            call.ended_at,
            call.bytes_in,
            call.bytes_out,
            call.http_status,
            str(call.outcome),
            call.finish_reason,
            call.parent_id,
            call.service_tier,
            call.script,
            call.refused_by,
            *counted(usage),
            str(usage.source),
            usage.block,
            anomalies,
            cost and cost.amount,
            cost and cost.currency,
            stated_as,
            rate_id,
            quarter,
            billed_on,
            *(_NOT_ESTIMATED if usage.source is UsageSource.PROVIDER else self._estimated(call, usage)),
        )

    def _times(self, project_id: int, at: datetime) -> tuple[datetime, date]:
        """Its quarter hour and its day, which all calls of a project in one quarter hour share."""
        place = project_id, (at - _EPOCH) // _QUARTER
        found = self.times.get(place)
        if found is None:
            found = self.times[place] = periods.quarter(at), self.calendar.billed_on(project_id, at)
        return found

    def _payer(self, call: Call, key_id: int) -> tuple[int, str]:
        """The id of the project that pays, and who said so."""
        if call.project:
            return self.projects[call.project], call.project_source if call.project_source in BY_CODE else "meter"
        if assignment := self.payers.at(key_id, call.started_at):
            return assignment.project_id, "key"
        return self.projects[projects.UNASSIGNED], "default"

    def _by_rate(self, call: Call, usage: Usage) -> Stamp:
        """See `ratestamps`."""
        rated = ratestamps.delivered(call, usage)
        try:
            if self.rates is None:
                raise RateCardError("The rates can't be read.")
            return ratestamps.by_rate(self.rates, rated)
        except Exception:  # noqa: BLE001 - a price can be found later, a call that was refused would be lost
            self.failed.append(call.id)
            return ratestamps.without_rate(rated)

    def _estimated(self, call: Call, usage: Usage) -> tuple[int | None, int | None]:
        """What the call likely used in and out beyond what was stated; by whoever delivered it, if they say so."""
        if not lacks_usage(call):
            return _NOT_ESTIMATED
        if call.usage.source is UsageSource.ESTIMATED:
            return call.usage.input_tokens, call.usage.output_tokens
        try:
            return beyond(self.learned, replace(call, usage=usage))
        except Exception:  # noqa: BLE001 - a call without an estimate is better than none
            return _NOT_ESTIMATED


def load(conn: Connection, calls: Collection[Call], now: datetime) -> Stamps:
    """The stamps for these calls; their projects and keys get a row if they are new.

    Until the transaction ends nobody decides otherwise: see `decide`.
    """
    hold(conn, Lock.INGEST, shared=True)
    last4, models, named, unnamed = dict[str, str](), set[tuple[str, str]](), set[str](), list[Call]()
    lacking = set[tuple[str, str]]()
    for call in calls:  # once, as looking at thousands of them takes longer than anything that is done with them
        last4[call.key_fingerprint] = call.key_last4
        models.add((call.provider, call.model))
        named.add(call.project) if call.project else unnamed.append(call)
        if lacks_usage(call):
            lacking.add((call.provider, call.model))
    ids = keys.key_ids(conn, last4, now)
    payers = keys.payers(conn, ids.values())
    if not all(payers.at(ids[call.key_fingerprint], call.started_at) for call in unnamed):
        named.add(projects.UNASSIGNED)
    return Stamps(
        calendar=projects.calendar(conn),
        rates=_rates(conn, models),
        projects=projects.project_ids(conn, named, now),
        keys=ids,
        payers=payers,
        learned=learning.snapshot(conn, lacking) if lacking else NOTHING,
    )


def see_again(conn: Connection, stamps: Stamps) -> None:
    """Have calls that could not be priced be looked at again as if rates had come in since; last in a transaction.

    A row is changed that all who stamp share. And whoever prices such calls has not seen these, if it does so now.
    """
    if stamps.failed:
        ratebook.new_edition(conn)


def decide(engine: Engine, work: Callable[[Connection], T]) -> T:
    """What the work returns, done in one transaction while no call is stamped.

    For decisions that stamps are made of. Without it a call could be stamped by what held before and be committed
    after all calls that a decision concerns have been restated.
    """

    def alone(conn: Connection) -> T:
        hold(conn, Lock.INGEST)
        return work(conn)

    return transact(engine, alone)


def _rates(conn: Connection, models: Collection[tuple[str, str]]) -> RateBook | None:
    # Not the whole book: a few thousand lines take longer to read than a small batch to store.
    try:
        return ratebook.book(conn, models)
    except (RateCardError, ValueError, DataError):  # a line contradicts another, or can't be read: each call says so
        return None
