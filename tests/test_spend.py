from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Table

from accounting.errors import ConfigurationError
from accounting.money import Money
from accounting.periods import midnight, zone
from accounting.spend import BookedCall, Key, Selection, SpendLine, UnpricedModel, calls
from accounting.store import is_postgresql, reading, writing
from accounting.store.tables import keys, projects
from accounting.usage import Outcome, Quantities, Usage, UsageSource
from tests.books import NOON, Books, at, made, used
from tests.conftest import NewBooks

CARDS = """
provider = "{provider}"
currency = "{currency}"
source = "test"

[[rate]]
model = "{model}"
valid_from = 2026-01-01
input = 1
cache_read = 0.1
cache_write = 1.25
output = 5
reasoning = 10
"""


ANY = Selection()


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    some = new_books(zone="Asia/Shanghai")
    some.load(CARDS.format(provider="anthropic", currency="USD", model="claude"))
    return some


def listed(books: Books, selection: Selection = ANY, **page: Any) -> list[BookedCall]:
    with reading(books.engine) as conn:
        return calls(conn, selection, **page)


def test_a_line_carries_counts_tokens_and_cost(books: Books) -> None:
    books.deliver(made(usage=used(18, 209, read=4, thought=200)))
    books.roll()
    (line,) = books.spend("project").lines
    assert line == SpendLine(
        group="checkout",
        id="checkout",
        calls=1,
        quantities=Quantities(input=18, cache_read=4, cache_write=0, output=209, reasoning=200),
        spent={"CNY": Decimal("0.007513")},
    )


def test_each_class_of_tokens_is_charged_once_at_its_own_price(books: Books) -> None:
    usage = used(1000, 100, read=600, write=300, thought=40)
    books.deliver(made(provider="anthropic", request_model="claude", usage=usage))
    books.roll()
    # 100 fresh × 1 + 600 × 0.1 + 300 × 1.25 + 60 × 5 + 40 × 10, per 1000
    assert books.spend("project").total.spent == {"USD": Decimal("1.235")}


def test_currencies_stand_side_by_side_and_are_never_added(books: Books) -> None:
    books.deliver(
        made(number=1, usage=used(1000, 0)),
        made(number=2, provider="anthropic", request_model="claude", usage=used(1000, 0)),
    )
    books.roll()
    (line,) = books.spend("project").lines
    assert line.spent == {"CNY": Decimal("0.011"), "USD": Decimal(1)}


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", [("…a1b2 (a1a1a1a1)", "a1" * 32), ("(no key)", "")]),
        ("project", [("checkout", "checkout"), ("unassigned", "unassigned")]),
        ("model", [("z-ai/glm-5", "z-ai/glm-5"), ("(no model)", "")]),
        ("provider", [("wcode", "wcode"), ("elsewhere", "elsewhere")]),
        ("effort", [("high", "high"), ("(no effort)", "")]),
        ("day", [("2026-11-23", "2026-11-23"), ("2026-12-01", "2026-12-01")]),
        ("month", [("2026-11", "2026-11"), ("2026-12", "2026-12")]),
    ],
)
def test_every_grouping_names_its_groups(books: Books, by: str, groups: list[tuple[str, str]]) -> None:
    books.deliver(
        made(effort="high"),
        made(
            at("2026-11-30 16:00"),  # December in Shanghai
            key_fingerprint="",
            key_last4="",
            project=None,
            project_source=None,
            provider="elsewhere",
            request_model=None,
        ),
        now=NOON + timedelta(days=30),
    )
    books.roll()
    report = books.spend(by, now=NOON + timedelta(days=30))
    assert [(line.group, line.id) for line in report.lines] == groups
    assert [line.calls for line in report.lines] == [1, 1]
    assert report.total.calls == 2


def test_the_dearest_group_comes_first_and_days_in_their_order(books: Books) -> None:
    books.deliver(
        made(at("2026-11-20"), project="cheap", usage=used(1, 0)),
        made(at("2026-11-21"), project="dear", usage=used(9, 0)),
        made(at("2026-11-22"), project="middling", usage=used(5, 0)),
    )
    books.roll()
    assert [line.group for line in books.spend("project").lines] == ["dear", "middling", "cheap"]
    assert [line.group for line in books.spend("day").lines] == ["2026-11-20", "2026-11-21", "2026-11-22"]


def test_a_period_takes_its_first_day_and_leaves_out_its_end(books: Books) -> None:
    midnights = ("2026-11-01 00:00+08:00", "2026-11-30 23:59+08:00", "2026-12-01 00:00+08:00")
    books.deliver(*(made(at(text)) for text in midnights), now=at("2026-12-02"))
    books.roll()
    november, december = date(2026, 11, 1), date(2026, 12, 1)
    assert books.spend("day", november, december).total.calls == 2
    assert books.spend("day", december, None).total.calls == 1
    assert books.spend("day", None, november).total.calls == 0
    assert books.spend("day").total.calls == 3


def test_another_zone_cuts_the_same_calls_at_its_own_midnights(books: Books) -> None:
    books.deliver(made(at("2026-11-23 18:20")), made(at("2026-11-23 18:10")))
    books.roll()
    assert [line.group for line in books.spend("day").lines] == ["2026-11-24"]
    kathmandu = books.spend("day", None, None, zone("Asia/Kathmandu")).lines  # 5:45 ahead: midnight is 18:15 UTC
    assert [(line.group, line.calls) for line in kathmandu] == [("2026-11-23", 1), ("2026-11-24", 1)]
    day = date(2026, 11, 24)
    assert books.spend("model", day, day + timedelta(days=1), zone("Asia/Kathmandu")).total.calls == 1


def test_a_day_of_25_hours_holds_all_of_them(books: Books) -> None:
    berlin = zone("Europe/Berlin")  # clocks went back on 2026-10-25
    hours = [at("2026-10-24 22:00") + timedelta(hours=n) for n in range(-1, 26)]
    books.deliver(*map(made, hours))
    books.roll()
    assert [line.calls for line in books.spend("day", None, None, berlin).lines] == [1, 25, 1]


def test_what_a_total_hides_is_counted_and_not_taken_for_nothing(books: Books) -> None:
    books.deliver(
        made(number=1),
        made(number=2, usage=Usage()),
        made(number=3, usage=Usage(), outcome=Outcome.INTERRUPTED),
        made(number=4, usage=Usage(), outcome=Outcome.UNKNOWN),
        made(number=5, usage=Usage(), outcome=Outcome.FAILED),
        made(number=6, request_model="nobody/knows"),
        made(number=7, request_model="nobody/knows", usage=Usage()),
    )
    books.roll()
    total = books.spend("model").total
    assert (total.calls, total.failed, total.interrupted, total.unknown) == (7, 1, 1, 1)
    assert total.usage_missing == 4  # a failed call owes no usage
    assert total.unpriced == 1  # what is not known to have been used can't lack a price
    assert total.spent == {"CNY": Decimal("0.018")}


@pytest.mark.parametrize("where", [None, zone("Asia/Kathmandu")])
def test_models_without_a_rate_are_named_as_a_card_must_the_most_calls_first(
    books: Books, where: ZoneInfo | None
) -> None:
    local = "127.0.0.1:18765"
    books.deliver(
        made(number=1),
        made(number=2, request_model="nobody/knows"),
        *(made(number=number, provider=local, response_model="gpt-x") for number in (3, 4)),
        made(number=5, request_model="unsaid", usage=Usage()),
        made(number=6, request_model=None),
        made(at("2026-10-01"), request_model="earlier"),
    )
    books.roll()
    found = books.spend("project", date(2026, 11, 1), date(2026, 12, 1), where).unpriced_models
    assert found == (
        UnpricedModel(local, "gpt-x", 2, has_rate=False),
        UnpricedModel("wcode", "nobody/knows", 1, has_rate=False),
    )


def test_an_unpriced_model_whose_rate_came_later_has_one(books: Books) -> None:
    books.deliver(made(request_model="late"))
    books.roll()
    books.load(CARDS.format(provider="wcode", currency="CNY", model="late"))
    assert books.spend("project").unpriced_models == (UnpricedModel("wcode", "late", 1, has_rate=True),)


def test_calls_in_no_line_are_on_the_report_too(books: Books) -> None:
    books.deliver(made(), still_open=2)
    report = books.spend("model")
    assert (report.completeness.open, report.completeness.unrolled) == (2, 1)
    assert (report.rejected, report.conflicts) == (0, 0)
    books.deliver(made(usage=used(1, 1)), made(NOON + timedelta(days=2)), still_open=2)
    report = books.spend("model")
    assert (report.rejected, report.conflicts) == (1, 1)


def test_an_empty_book_makes_an_empty_report(books: Books) -> None:
    report = books.spend("key")
    assert report.lines == ()
    assert report.total == SpendLine(group="total", id="")


@pytest.mark.parametrize(("by", "table"), [("project", projects), ("key", keys)])
def test_calls_of_a_project_or_key_that_is_not_in_the_books_are_reported_by_its_number(
    books: Books, by: str, table: Table
) -> None:
    books.deliver(made())
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(table.delete())
    (line,) = books.spend(by).lines
    assert (line.group, line.id, line.calls) == (f"(unknown {by} 1)", f"(unknown {by} 1)", 1)
    (call,) = [one.call for one in listed(books)]
    assert line.group in (call.project, Key(call.key_fingerprint, call.key_last4).label)


def test_an_unknown_grouping_is_refused_with_the_known_ones(books: Books) -> None:
    with pytest.raises(ConfigurationError, match=r"'user'; expected one of key, project, model"):
        books.spend("user")


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
    with books.asked() as asked:
        listed(books, selection)
    plan = books.plan(*asked[-1])
    by_id = (
        "Index Cond: ((id >= "
        if is_postgresql(books.engine)
        else "SEARCH calls USING INDEX sqlite_autoindex_calls_1 (id>? AND id<?)"
    )
    assert any(by_id in step for step in plan), plan


@pytest.mark.parametrize("selection", [Selection(first=date.min), Selection(end=date.max)])
def test_days_may_be_as_far_off_as_the_calendar_goes(books: Books, selection: Selection) -> None:
    books.deliver(made())
    assert len(listed(books, selection)) == 1


def test_a_wildcard_in_a_key_selects_nothing(books: Books) -> None:
    books.deliver(made())
    assert listed(books, Selection(key="a1%")) == []
