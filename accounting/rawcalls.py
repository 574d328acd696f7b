"""Calls as they lie in the books, with nothing read into them: what SQLite keeps need not be of its column's kind."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from accounting.differences import raw
from accounting.money import exact
from accounting.stated import Mark
from accounting.store.tables import batches, calls
from accounting.usage import least_id

READ_AT_ONCE = 10_000


class Call(NamedTuple):
    """The columns of a call that anything follows from, raw; the key of a quarter hour's row in one piece.

    The last three are its batch's: whether it is rolled up, whose it is, and when it came; None where there is none.
    """

    id: str
    batch_id: int
    source_id: int
    number: int
    started_at: int
    request_model: str | None
    response_model: str | None
    quarter: int
    billed_on: str
    project_id: int
    key_id: int
    provider: str
    model: str
    rate_id: int
    usage_source: str
    effort: str
    outcome: str
    parent_id: str | None
    service_tier: str | None
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cache_write_1h_tokens: int | None
    audio_input_tokens: int | None
    image_input_tokens: int | None
    audio_output_tokens: int | None
    image_output_tokens: int | None
    requests: int | None
    web_searches: int | None
    images: int | None
    audio_seconds: int | None
    estimated_input_tokens: int | None
    estimated_output_tokens: int | None
    tags: str
    end_user: str | None
    anomalies: str
    stated_as: str | None
    provider_cost: str | None
    provider_cost_currency: str | None
    refused_by: str | None
    is_rolled: int | None
    batch_source_id: int | None
    received_at: int | None

    @property
    def name(self) -> str:
        return str(UUID(self.id))

    @property
    def id_at(self) -> int:
        """The time in the id."""
        return int(self.id[:12], 16) * 1000

    @property
    def mark(self) -> str | None:
        """Of a call whose provider stated a cost: how that row is marked."""
        if self.stated_as is None or self.provider_cost is None or self.provider_cost_currency is None:
            return None
        return str(Mark(self.stated_as, self.provider_cost_currency, self.provider, self.model))

    @property
    def stated(self) -> Decimal | None:
        """What the provider says that it cost; None also where that is no number."""
        try:
            return None if self.provider_cost is None else exact(self.provider_cost)
        except ValueError:
            return None


_STORED = Call._fields[:-3]


def bunches(conn: Connection, start: datetime, end: datetime) -> Iterator[list[Call]]:
    """The calls whose ids are of the time, some thousands at once."""
    is_rolled = sa.case((batches.c.rolled_at.is_not(None), 1), (batches.c.id.is_not(None), 0))
    (received,) = raw(conn, batches, "received_at")
    of_batch = is_rolled.label("is_rolled"), batches.c.source_id.label("batch_source_id"), received
    columns = [*raw(conn, calls, *_STORED), *of_batch]
    query = sa.select(*columns).outerjoin_from(calls, batches, batches.c.id == calls.c.batch_id)
    query = query.where(calls.c.id >= least_id(start), calls.c.id < least_id(end))
    found = conn.execution_options(yield_per=READ_AT_ONCE).execute(query)
    return ([*map(Call._make, some)] for some in found.partitions())
