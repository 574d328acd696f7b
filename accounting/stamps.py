"""What a call gets on its way into the books: who pays, which key, at which rate, on which day."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting import periods, projects, ratebook
from accounting.errors import RateCardError
from accounting.rates import UNPRICED, RateBook
from accounting.store.tables import store
from accounting.usage import Call

STAMPING_FAILED = "stamping_failed"
"""The anomaly of a call that could not be priced through a fault of ours; it is stored unpriced."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """What the books know about the calls of one batch. `rates` is None where they can't be read."""

    zone: ZoneInfo
    rates: RateBook | None
    projects: dict[str, int]
    keys: dict[str, int]

    def row(self, call: Call) -> dict[str, Any]:
        """The call's row in `calls`, but for how it came here."""
        rate_id, anomalies = self._rate(call)
        usage, cost = call.usage, call.usage.provider_cost
        return {
            "id": call.id,
            "provider": call.provider,
            "endpoint": call.endpoint,
            "request_model": call.request_model,
            "response_model": call.response_model,
            "model": call.model,
            "response_id": call.response_id,
            "key_id": self.keys[call.key_fingerprint],
            "project_id": self.projects[payer(call)],
            "project_source": (call.project_source or "meter") if call.project else "default",
            "end_user": call.user,
            "tags": dict(call.tags),
            "attempt": call.attempt,
            "link_id": call.link_id,
            "stream": call.stream,
            "effort": call.effort or "",
            "max_tokens": call.max_tokens,
            "started_at": call.started_at,
            "first_token_at": call.first_token_at,
            "ended_at": call.ended_at,
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
            "http_status": call.http_status,
            "outcome": call.outcome,
            "finish_reason": call.finish_reason,
            "input_tokens": usage.input_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "usage_source": usage.source,
            "usage_block": usage.block,
            "anomalies": anomalies,
            "provider_cost": cost and cost.amount,
            "provider_cost_currency": cost and cost.currency,
            "rate_id": rate_id,
            "quarter": periods.quarter(call.started_at),
            "billed_on": periods.billed_on(call.started_at, self.zone),
        }

    def _rate(self, call: Call) -> tuple[int, list[str]]:
        """The id of the rate that holds, and the call's anomalies."""
        anomalies = list(call.usage.anomalies)
        try:
            if self.rates is None:
                raise RateCardError("The rates can't be read.")
            rate = self.rates.find(call.provider, call.model, call.started_at)
        except Exception:  # noqa: BLE001 - a price can be found later, a call that was refused would be lost
            return UNPRICED, [*anomalies, STAMPING_FAILED]
        return (UNPRICED if rate is None else rate.id), anomalies


def load(conn: Connection, calls: Collection[Call], now: datetime) -> Stamps:
    """The stamps for these calls; their projects and keys get a row if they are new."""
    last4 = {call.key_fingerprint: call.key_last4 for call in calls}
    return Stamps(
        zone=zone(conn),
        rates=_rates(conn, {call.provider for call in calls}),
        projects=projects.project_ids(conn, {payer(call) for call in calls}, now),
        keys=projects.key_ids(conn, last4, now),
    )


def zone(conn: Connection) -> ZoneInfo:
    """The zone of the books: their days are the ones calls are billed on."""
    return periods.zone(conn.execute(sa.select(store.c.zone)).scalar_one())


def payer(call: Call) -> str:
    """The project that pays for the call."""
    return call.project or projects.UNASSIGNED


def _rates(conn: Connection, providers: Collection[str]) -> RateBook | None:
    # Not the whole book: a few thousand lines take longer to read than a small batch to store.
    try:
        return ratebook.book(conn, providers)
    except (RateCardError, ValueError):  # a line that contradicts another, or is no number: each call says so
        return None
