"""Whatever is damaged in the books, wherever in them, `verify` doesn't call them balanced."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Table

from accounting.contributions import ESTIMATES, SPEND_TABLES
from accounting.ingest import ingest
from accounting.money import Money
from accounting.rates import PRICES
from accounting.store import writing
from accounting.store.tables import batches, calls, conflicts, rates, rejected, repeats, sources, store
from accounting.store.types import Exact, Instant
from accounting.usage import COUNTED, Outcome, Usage, UsageSource
from accounting.verify import verify
from tests.books import NOON, Books, Journal, made
from tests.conftest import NewBooks

CHECKED: dict[Table, tuple[str, ...]] = {
    calls: (
        *("id", "batch_id", "source_id", "number", "started_at", "quarter", "billed_on", "project_id", "key_id"),
        *("provider", "request_model", "response_model", "model", "rate_id", "usage_source", "effort", "outcome"),
        *COUNTED,
        *ESTIMATES,
        *("tags", "end_user", "anomalies", "parent_id"),
        *("stated_as", "provider_cost", "provider_cost_currency"),
    ),
    batches: (
        *("entries", "inserted", "duplicates", "superseded", "conflicts", "rejected", "min_call_id", "max_call_id"),
        "rolled_at",
    ),
    sources: ("contiguous",),
    rejected: ("number", "payload", "digest"),
    conflicts: ("payload", "digest"),
    repeats: ("number",),
    rates: (
        *("provider", "model", "currency", "valid_from", "service_tier"),
        *PRICES,
    ),
    store: ("zone",),
    **{table: tuple(table.c.keys()) for table in SPEND_TABLES},
}
"""The columns that the rest of the books speaks of, too."""

DELETED = (calls, rejected, repeats, *SPEND_TABLES)

CARD = """
provider = "wcode"
currency = "USD"
source = "test"
[[rate]]
model = "all/classes"
valid_from = 2026-01-01
input = 2
cache_read = 0.1
cache_write = 3
output = 7
reasoning = 9
cache_write_1h = 4
audio_input = 5
image_input = 6
audio_output = 8
image_output = 10
request = 11
web_search = 12
image = 13
audio_second = 14
"""


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    """Two journals, days in two months, each kind of verdict, everything rolled up; each rate has been used."""
    some = new_books("Asia/Shanghai")
    with writing(some.engine) as conn:
        conn.execute(rates.delete())
    some.load(CARD)
    some.deliver(*(call(number, days) for number, days in enumerate((0, 0, 1, 2, 30, 31), 1)))
    ahead, again = made(NOON + timedelta(days=3)), replace(call(1, 0), http_status=500)
    some.deliver(again, ahead, made(NOON, 2, request_model="else"), call(7, 0))
    ingest(some.engine, Journal("another").batch(call(8, 0), call(7, 0), call(9, 5)), NOON)
    some.roll()
    return some


EVERY = (5, 6, 7, 8, 9, 1, 2, 3, 4)
"""Something of every quantity beyond the first five, so that each of their prices tells."""


STATED = (None, Money(Decimal("0.1000000000000000001"), "USD"), Money(Decimal(3), "CNY"))


def call(number: int, days: int) -> Any:
    return made(
        NOON - timedelta(days=days, hours=number % 6 * 3),
        number,
        request_model="all/classes",
        outcome=list(Outcome)[number % 4],
        project=("checkout", "search")[number % 2],
        usage=Usage(
            1000, 10, 20, 200, 30, UsageSource.PROVIDER, ("odd", f"n-{number % 2}"), None, STATED[number % 3], *EVERY
        ),
        tags={"feature": "rerank", "team": f"t-{number % 2}"},
        user=f"u-{number % 2}",
    )


def other(column: Column[Any], value: Any) -> st.SearchStrategy[Any]:
    """Another value that the column can hold."""
    if column.name == "zone":
        return st.sampled_from(["UTC", "America/New_York"])
    if column.name == "anomalies":
        return st.lists(st.sampled_from(("odd", "n-0", "n-1", "new")), unique=True).filter(
            lambda new: {*new} != {*value}
        )
    if column.name == "tags":
        return st.dictionaries(st.sampled_from(("feature", "team", "new")), st.sampled_from(("rerank", "x")))
    kind = column.type
    if isinstance(kind, sa.Uuid):
        return st.integers(2, 10**6).map(lambda minutes: made(NOON - timedelta(minutes=minutes), 99).id)
    if isinstance(kind, sa.Integer):
        least = max((value or 0) - 5, 0)
        return st.integers(least, least + 10**6)
    if isinstance(kind, sa.LargeBinary):
        return st.binary()
    if isinstance(kind, Exact):
        return st.decimals(0, 1000, places=9)
    if column.name == "rolled_at":
        return st.none()
    if isinstance(kind, Instant):  # a rate must hold for none of its calls any more
        later = timedelta(days=365 if column.table is rates else 0)
        return st.integers(1, 10**6).map(lambda quarters: value + later + timedelta(minutes=15 * quarters))
    if isinstance(kind, sa.Date):
        return st.integers(-4000, 4000).map(lambda days: value + timedelta(days=days))
    texts = ("other", "wcode", "failed", "missing", "USD", "CNY")
    return st.sampled_from(texts if value is None else ("", *texts))  # empty means as much as none


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_found(books: Books, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(list(CHECKED)), label="table")
    rows = sorted(books.rows(table), key=lambda row: [str(row[key.name]) for key in table.primary_key])
    row = data.draw(st.sampled_from(rows), label="row")
    if table in DELETED and data.draw(st.booleans(), label="delete"):
        assert found(books, table, row, None)
        return
    column = table.c[data.draw(st.sampled_from(CHECKED[table]), label="column")]
    value = data.draw(other(column, row[column.name]).filter(lambda new: new != row[column.name]), label="value")
    keys = [[each[key.name] for key in table.primary_key] for each in rows]
    new = row | {column.name: value}
    if column.primary_key and [new[key.name] for key in table.primary_key] in keys:
        return  # that is another row's place
    assert found(books, table, row, new)


def found(books: Books, table: Table, row: dict[str, Any], new: dict[str, Any] | None) -> bool:
    """Whether the damage is, which is put right again."""
    put(books, table, row, new)
    try:
        return not verify(books.engine).balanced
    finally:
        put(books, table, new, row)


def put(books: Books, table: Table, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    with writing(books.engine) as conn:
        if old is None:
            conn.execute(sa.insert(table), [new or {}])
            return
        this = sa.and_(*(table.c[key.name] == old[key.name] for key in table.primary_key))
        if new is None:
            conn.execute(sa.delete(table).where(this))
        else:
            conn.execute(sa.update(table).where(this).values(new))


def test_the_books_are_balanced_before(books: Books) -> None:
    assert verify(books.engine).differences == ()
    assert {row["conflicts"] for row in books.rows(batches)} == {0, 1}
    assert len(books.rows(rejected)) == 1
