"""Single calls: which are listed, in what order, at what cost; and following them."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounting import booked
from accounting.booked import BookedCall, Selection
from accounting.money import Money
from accounting.periods import midnight, zone
from accounting.store import reading
from accounting.usage import Outcome, Usage, UsageSource
from tests.books import NOON, Books, at, made
from tests.conftest import NewBooks
from tests.plans import plans

ANY = Selection()


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    return new_books("Asia/Shanghai")


def listed(books: Books, selection: Selection = ANY, **page: Any) -> list[BookedCall]:
    with reading(books.engine) as conn:
        return booked.listed(conn, selection, **page)


def test_a_listed_call_is_the_one_delivered_and_has_its_cost(books: Books) -> None:
    usage = Usage(
        18,
        None,
        None,
        209,
        209,
        UsageSource.PROVIDER,
        ("reasoning_exceeds_output",),
        "{}",
        Money(Decimal("0.5"), "USD"),
    )
    call = made(
        usage=usage,
        response_model="z-ai/glm-5",
        effort="high",
        user="ann",
        tags={"feature": "search"},
        stream=True,
        first_token_at=NOON + timedelta(seconds=1),
        ended_at=NOON + timedelta(seconds=2),
    )
    books.deliver(call)
    assert listed(books) == [BookedCall(call, date(2026, 11, 23), Money(Decimal("0.007513"), "CNY"))]


def test_a_call_whose_cost_nobody_can_say_has_none(books: Books) -> None:
    books.deliver(
        made(number=1, usage=Usage()),
        made(number=2, request_model="nobody/knows"),
        made(number=3, usage=Usage(), outcome=Outcome.FAILED),
    )
    failed, unpriced, unstated = listed(books)
    assert (unstated.cost, unpriced.cost) == (None, None)
    assert failed.cost == Money(Decimal(0), "CNY")


def test_calls_come_newest_first_page_by_page(books: Books) -> None:
    made_calls = [made(at("2026-11-20"), number) for number in range(5)]
    books.deliver(*made_calls)
    first = listed(books, limit=2)
    second = listed(books, limit=2, before=first[-1].call.id)
    third = listed(books, limit=2, before=second[-1].call.id)
    assert [one.call for one in (*first, *second, *third)] == made_calls[::-1]


@pytest.mark.parametrize(
    "selection",
    [
        Selection(project="search"),
        Selection(key="c3d4"),
        Selection(key="c3c3c3"),
        Selection(provider="elsewhere"),
        Selection(model="other"),
        Selection(outcome=Outcome.FAILED),
        Selection(first=date(2026, 11, 24)),
        Selection(first=date(2026, 11, 23), zone=zone("UTC")),
    ],
)
def test_calls_are_selected_by_each_of_their_sides(books: Books, selection: Selection) -> None:
    wanted = made(
        at("2026-11-23 17:00"),  # the 24th in Shanghai
        project="search",
        key_fingerprint="c3" * 32,
        key_last4="c3d4",
        provider="elsewhere",
        request_model="other",
        outcome=Outcome.FAILED,
    )
    books.deliver(made(at("2026-11-22 12:00")), wanted)
    assert [one.call for one in listed(books, selection)] == [wanted]


@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
@pytest.mark.parametrize("is_the_books", [True, False])
def test_calls_of_a_day_are_found_in_zones_far_from_utc(new_books: NewBooks, name: str, is_the_books: bool) -> None:
    books = new_books(name if is_the_books else "Asia/Shanghai")
    where, day = zone(name), date(2026, 11, 20)
    start, end = midnight(day, where), midnight(day + timedelta(days=1), where)
    early, late = made(start), made(end - timedelta(microseconds=1))
    books.deliver(made(start - timedelta(microseconds=1)), early, late, made(end))
    selection = Selection(first=day, end=day + timedelta(days=1), zone=None if is_the_books else where)
    assert [one.call for one in listed(books, selection)] == [late, early]


@pytest.mark.parametrize("where", [None, zone("Asia/Kathmandu")])
def test_days_are_found_by_the_order_of_ids_and_not_by_reading_all_calls(books: Books, where: ZoneInfo | None) -> None:
    selection = Selection(first=date(2026, 11, 20), end=date(2026, 11, 21), zone=where)
    *_, plan = plans(books.engine, lambda conn: booked.listed(conn, selection))
    assert "SEARCH calls" in plan or "Scan using pk_calls" in plan or "Scan Backward using pk_calls" in plan, plan
    assert "(id>? AND id<?)" in plan or "Index Cond: ((id >= " in plan, plan


@pytest.mark.parametrize("selection", [Selection(first=date.min), Selection(end=date.max)])
def test_days_may_be_as_far_off_as_the_calendar_goes(books: Books, selection: Selection) -> None:
    books.deliver(made())
    assert len(listed(books, selection)) == 1


def test_a_wildcard_in_a_key_selects_nothing(books: Books) -> None:
    books.deliver(made())
    assert listed(books, Selection(key="a1%")) == []
