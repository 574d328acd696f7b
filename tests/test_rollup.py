from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from accounting import rollup
from accounting.contributions import COUNTS
from accounting.ingest import ingest
from accounting.rollup import Rolled, roll, roll_all
from accounting.store import writing
from accounting.store.tables import batches, spend_days, spend_quarters
from accounting.usage import COUNTED, Outcome, Usage
from tests.books import NOON, Books, Journal, at, made, used
from tests.conftest import NewBooks


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    return new_books("Asia/Shanghai")


def at_once(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """A round is to take no more calls than these, if it can."""
    monkeypatch.setattr(rollup, "CALLS_AT_ONCE", dict.fromkeys(rollup.CALLS_AT_ONCE, calls))


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


def test_calls_of_one_quarter_hour_day_and_group_become_one_row_with_their_sums(books: Books) -> None:
    books.deliver(
        made(at("2026-11-23 16:00"), usage=used(1000, 200, read=100, write=10, thought=50)),
        made(at("2026-11-23 16:14"), usage=used(2000, 300)),
    )
    assert books.roll() == Rolled(batches=1, calls=2)
    row = only(books.rows(spend_quarters))
    assert row["quarter"] == datetime(2026, 11, 23, 16, tzinfo=UTC)
    assert row["billed_on"] == date(2026, 11, 24)  # Shanghai is eight hours ahead
    assert (row["provider"], row["model"], row["usage_source"], row["effort"]) == (
        "wcode",
        "z-ai/glm-5",
        "provider",
        "",
    )
    assert [row[name] for name in COUNTS] == [2, 0, 0, 0, 0]
    assert [row[name] for name in COUNTED[:6]] == [3000, 100, 10, 500, 50, 0]
    assert (row["amount"], row["currency"]) == (Decimal("0.0505"), "CNY")  # 3000 × 0.011 + 500 × 0.035, per 1000


def test_a_day_adds_up_the_quarter_hours_of_its_zone(books: Books) -> None:
    books.deliver(made(at("2026-11-22 15:59")), made(at("2026-11-22 16:00")), made(at("2026-11-23 15:59")))
    books.roll()
    calls_on = {row["billed_on"]: row["calls"] for row in books.rows(spend_days)}
    assert calls_on == {date(2026, 11, 22): 1, date(2026, 11, 23): 2}
    assert len(books.rows(spend_quarters)) == 3


def test_a_later_batch_is_added_to_the_rows_of_an_earlier_one(books: Books) -> None:
    books.deliver(made(number=1))
    books.roll()
    books.deliver(made(number=2, outcome=Outcome.INTERRUPTED))
    books.roll()
    row = only(books.rows(spend_days))
    assert [row[name] for name in COUNTS] == [2, 0, 1, 0, 0]
    assert row["amount"] == Decimal("0.036")


def test_a_batch_is_added_once(books: Books) -> None:
    books.deliver(made())
    assert books.roll() == Rolled(1, 1)
    before = books.rows(spend_days), books.rows(spend_quarters)
    assert books.roll() == Rolled(0, 0)
    assert (books.rows(spend_days), books.rows(spend_quarters)) == before


def test_a_batch_that_brought_nothing_new_is_marked_and_adds_nothing(books: Books) -> None:
    books.deliver(made())
    books.deliver(made(usage=used(1, 1)))  # the same call with other contents: a conflict
    assert books.roll(NOON + timedelta(minutes=1)) == Rolled(batches=2, calls=1)
    assert {row["rolled_at"] for row in books.rows(batches)} == {NOON + timedelta(minutes=1)}
    assert only(books.rows(spend_days))["calls"] == 1


def test_outcomes_are_counted_by_kind(books: Books) -> None:
    endings = (Outcome.FINISHED, Outcome.FAILED, Outcome.INTERRUPTED, Outcome.UNKNOWN, Outcome.UNKNOWN)
    books.deliver(*(made(number=n, outcome=outcome) for n, outcome in enumerate(endings)))
    books.roll()
    row = only(books.rows(spend_days))
    assert [row[name] for name in ("calls", "failed", "interrupted", "unknown")] == [5, 1, 1, 2]


def test_a_call_without_a_rate_has_no_amount_rather_than_a_zero(books: Books) -> None:
    books.deliver(made(number=1, request_model="nobody/knows"), made(number=2, request_model="nobody/knows"))
    books.roll()
    row = only(books.rows(spend_days))
    assert (row["rate_id"], row["amount"], row["currency"]) == (0, None, None)
    books.deliver(made(number=3, request_model="nobody/knows"))
    books.roll()
    assert only(books.rows(spend_days))["amount"] is None


def test_unstated_usage_adds_nothing_and_keeps_a_row_of_its_own(books: Books) -> None:
    books.deliver(made(number=1, usage=Usage()), made(number=2))
    books.roll()
    tokens = {row["usage_source"]: (row["calls"], row["input_tokens"]) for row in books.rows(spend_days)}
    assert tokens == {"missing": (1, 0), "provider": (1, 1000)}


@pytest.mark.parametrize(
    "change",
    [
        {"project": "search"},
        {"key_fingerprint": "c3" * 32},
        {"provider": "elsewhere"},
        {"request_model": "another"},
        {"usage": Usage()},
        {"effort": "high"},
    ],
)
def test_every_dimension_keeps_its_calls_apart(books: Books, change: dict[str, Any]) -> None:
    books.deliver(made(number=1), made(number=2, **change))
    books.roll()
    assert [row["calls"] for row in books.rows(spend_days)] == [1, 1]
    assert [row["calls"] for row in books.rows(spend_quarters)] == [1, 1]


def test_amounts_stay_exact_where_a_binary_float_would_not(books: Books) -> None:
    for number in range(3):  # 0.1 + 0.1 + 0.1 in binary is 0.30000000000000004
        books.deliver(made(number=number, request_model="dear", usage=used(1, 0)))
        books.roll()
    books.load(
        'provider = "wcode"\ncurrency = "USD"\nsource = "test"\n[[rate]]\nmodel = "exact"\n'
        "valid_from = 2026-01-01\ninput = 100.000000001\noutput = 0"
    )
    for number in range(3, 6):
        books.deliver(made(number=number, request_model="exact", usage=used(1, 0)))
        books.roll()
    amounts = {row["model"]: row["amount"] for row in books.rows(spend_days)}
    assert amounts == {"dear": None, "exact": Decimal("0.300000000003")}


def test_a_round_takes_whole_batches_up_to_its_bounds(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch, 3)
    for first in (0, 2, 4, 8):
        books.deliver(*(made(number=first + n) for n in range(4 if first == 4 else 2)))
    rounds = [roll(books.engine, NOON) for _ in range(5)]
    assert rounds == [Rolled(1, 2), Rolled(1, 2), Rolled(1, 4), Rolled(1, 2), Rolled(0, 0)]


def test_progress_hears_the_sum_so_far(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch, 1)
    books.deliver(made(number=1))
    books.deliver(made(number=2))
    heard: list[Rolled] = []
    assert roll_all(books.engine, lambda: NOON, heard.append) == Rolled(2, 2)
    assert heard == [Rolled(1, 1), Rolled(2, 2)]


def test_a_fault_while_adding_leaves_the_batch_waiting_and_the_sums_as_they_were(books: Books) -> None:
    books.deliver(made())
    books.fail(spend_days)
    with pytest.raises(sa.exc.OperationalError, match="disk_full"):
        roll(books.engine, NOON)
    assert books.rows(spend_quarters) == []
    books.mend(spend_days)
    assert books.roll() == Rolled(1, 1)


def test_an_idle_round_waits_for_no_writer(books: Books) -> None:
    with writing(books.engine):
        assert roll(books.engine, NOON) == Rolled()


def test_rollups_at_once_add_each_batch_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch, 2)
    for number in range(20):
        books.deliver(made(number=number))
    with ThreadPoolExecutor(4) as pool:
        rolled = list(pool.map(lambda _: books.roll(), range(4)))
    assert sum(rolled, Rolled()) == Rolled(20, 20)
    assert only(books.rows(spend_days))["calls"] == 20


def test_the_batches_of_two_journals_add_up(books: Books) -> None:
    for number, name in enumerate(("one", "two")):
        ingest(books.engine, Journal(name).batch(made(number=number)), NOON)
    assert books.roll() == Rolled(2, 2)
    assert only(books.rows(spend_days))["calls"] == 2
