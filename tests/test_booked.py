"""Single calls: which are listed, in what order, at what cost; and following them."""

from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from accounting import booked
from accounting.booked import BookedCall, Seen, Selection
from accounting.ingest import ingest
from accounting.money import Money
from accounting.periods import midnight, zone
from accounting.store import reading, writing
from accounting.store.tables import batches, calls, former_project_names, keys, projects
from accounting.usage import Call, Outcome, Usage, UsageSource
from tests.books import NOON, Books, Journal, at, made
from tests.conftest import NewBooks
from tests.databases import PostgresDatabases
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
    cost = Money(Decimal("0.007513"), "CNY")
    assert listed(books) == [BookedCall(call, date(2026, 11, 23), cost, stated_as="other_currency")]


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
        Selection(user="ann"),
        Selection(tags=(("team", None),)),
        Selection(tags=(('the "feature"', "re=rank"),)),
        Selection(tags=(("team", ""), ('the "feature"', "re=rank"))),
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
        user="ann",
        tags={"team": "", 'the "feature"': "re=rank"},
    )
    books.deliver(made(at("2026-11-22 12:00"), tags={'the "feature"': "search"}), wanted)
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


def followed(books: Books, had: Seen, selection: Selection = ANY) -> tuple[list[Call], Seen]:
    with reading(books.engine) as conn:
        found, had = booked.newly_booked(conn, selection, had)
    return [one.call for one in found], had


def had_so_far(books: Books) -> Seen:
    with reading(books.engine) as conn:
        return booked.seen(conn)


def test_a_follower_gets_each_call_once_by_batches_the_oldest_first(books: Books) -> None:
    one, two, three, four = (made(NOON - timedelta(hours=hours)) for hours in (4, 3, 2, 1))
    books.deliver(four)
    had = had_so_far(books)
    assert followed(books, had) == ([], had)
    books.deliver(three, one)
    books.deliver(two)
    found, had = followed(books, had)
    assert found == [one, two, three]
    books.deliver(two, four)  # once more
    assert followed(books, had)[0] == []


def test_a_follower_gets_what_the_selection_says(books: Books) -> None:
    had = had_so_far(books)
    books.deliver(made(number=1), made(number=2, project="search"))
    found, had = followed(books, had, Selection(project="search"))
    assert [call.project for call in found] == ["search"]
    assert followed(books, had)[0] == []


def test_of_many_batches_a_follower_gets_some_at_a_time_and_all_in_the_end(books: Books) -> None:
    had, some = had_so_far(books), [made(number=number) for number in range(booked.BATCHES + 5)]
    for call in some:
        books.deliver(call)
    first, had = followed(books, had)
    rest, had = followed(books, had)
    assert (len(first), len(rest)) == (booked.BATCHES, 5)
    assert first + rest == some


def test_a_batch_that_comes_in_sight_after_later_ones_is_not_missed(postgresql: PostgresDatabases) -> None:
    first, second = made(number=1), made(number=2)
    with closing(Books(postgresql.store())) as books:
        books.deliver(first)
        had = had_so_far(books)
        with writing(books.engine) as slow:
            (row,) = slow.execute(select(batches)).mappings()
            late = {name: value for name, value in row.items() if name != "id"}
            id_ = slow.execute(batches.insert().values(late).returning(batches.c.id)).scalar_one()
            slow.execute(calls.update().values(batch_id=id_))
            ingest(books.engine, Journal("another").batch(second), NOON)
            found, had = followed(books, had)
            assert found == [second]
        found, had = followed(books, had)
        assert found == [first]
        assert followed(books, had)[0] == []


def test_what_a_follower_remembers_is_bounded(books: Books) -> None:
    books.deliver(made(number=1))
    with writing(books.engine) as conn:
        conn.execute(batches.update().values(id=50_000))
        conn.execute(calls.update().values(batch_id=50_000))
    found, had = followed(books, Seen(ids=frozenset({3, 49_500})))
    assert len(found) == 1
    assert had == Seen(49_000, frozenset({49_500, 50_000}))


def test_all_calls_are_read_page_by_page(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booked, "PAGE", 2)
    some = [made(number=number) for number in range(5)]
    books.deliver(*some)
    with reading(books.engine) as conn:
        assert [one.call for one in booked.every(conn, ANY)] == some[::-1]
        assert [one.call for one in booked.every(conn, ANY, before=some[2].id)] == [some[1], some[0]]


@pytest.mark.parametrize("text", ["nightly", "c3d4", "c3c3"])
def test_calls_are_found_by_the_name_of_their_key_and_by_former_names_of_their_project(books: Books, text: str) -> None:
    wanted = made(number=1, project="search", key_fingerprint="c3" * 32, key_last4="c3d4")
    books.deliver(wanted, made(number=2))
    with writing(books.engine) as conn:
        conn.execute(keys.update().where(keys.c.last4 == "c3d4").values(name="nightly"))
        conn.execute(projects.update().where(projects.c.name == "search").values(name="find"))
        id_ = conn.scalar(select(projects.c.id).where(projects.c.name == "find"))
        was = {"name": "search", "project_id": id_, "renamed_at": NOON, "renamed_by": "ann@build-7"}
        conn.execute(former_project_names.insert().values(was))
    for name in ("search", "find"):
        (one,) = listed(books, Selection(project=name, key=text))
        assert (one.call.id, one.call.project, one.key_name) == (wanted.id, "find", "nightly")
