"""November at a team in Shanghai: two projects, two keys, two providers, and what goes wrong in a month.

The books keep Shanghai's days (UTC+8). Prices are per 1000 tokens; until the 16th glm-5 costs what the shipped
card says, ¥0.011 in and ¥0.035 out.
"""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounting.booked import Selection, listed
from accounting.money import Money
from accounting.periods import zone
from accounting.ports import Verdict
from accounting.rollup import Rolled
from accounting.spend import Estimated, Report, SpendLine
from accounting.store import reading
from accounting.usage import Call, Outcome, Quantities, Usage, UsageSource
from accounting.verify import verify
from tests.books import Books, at, made, used
from tests.conftest import NewBooks

NEW_PRICES = """
provider = "wcode"
currency = "CNY"
source = "letter of 2026-11-10"

[[rate]]
model = "z-ai/glm-5"
valid_from = 2026-11-16T00:00:00+08:00
input = 0.010
cache_read = 0.002
output = 0.030
"""

CLAUDE = """
provider = "anthropic"
currency = "USD"
source = "price list"

[[rate]]
model = "claude-sonnet-5"
valid_from = 2026-01-01
input = 0.003
cache_read = 0.0003
cache_write = 0.00375
output = 0.015
"""

ANNS = {"key_fingerprint": "a1" * 32, "key_last4": "a1b2", "project": "checkout"}
BOBS = {"key_fingerprint": "c3" * 32, "key_last4": "c3d4", "project": "search"}
TO_CLAUDE = {"provider": "anthropic", "endpoint": "messages", "request_model": "claude-sonnet-5"}

NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
UTC = zone("UTC")


def shanghai(text: str, who: dict[str, Any], usage: Usage, **changes: Any) -> Call:
    return made(at(f"2026-{text}+08:00"), usage=usage, **{**who, **changes})


# 500 × 0.011 + 50 × 0.035 = ¥0.00725; in UTC it is still October
FIRST = shanghai("11-01 07:30", BOBS, used(500, 50))
# 1200 × 0.011 + 300 × 0.035 = ¥0.0237
PLAIN = shanghai("11-03 10:05", ANNS, used(1200, 300))
# refused with 429: nothing used, nothing owed; the SDK sent it again: 1000 × 0.011 + 100 × 0.035 = ¥0.0145
REFUSED = shanghai("11-03 10:06:00", ANNS, Usage(), outcome=Outcome.FAILED, http_status=429)
AGAIN = shanghai("11-03 10:06:01", ANNS, used(1000, 100), attempt=2, link_id=REFUSED.id)
# the laptop was closed on the 5th and delivers in December: 100 × 0.011 + 10 × 0.035 = ¥0.00145
LATE = shanghai("11-05 18:00", BOBS, used(100, 10))
# the same tokens on both sides of the price change: 0.011 + 0.035 = ¥0.046, then 0.010 + 0.030 = ¥0.040
OLD_PRICE = shanghai("11-15 23:59:59.999", ANNS, used(1000, 1000))
NEW_PRICE = shanghai("11-16 00:00", ANNS, used(1000, 1000))
# of 2000 in, 1500 came from the cache: 500 × 0.010 + 1500 × 0.002 + 100 × 0.030 = ¥0.011; thinking is output
CACHED = shanghai("11-18 09:00", BOBS, used(2000, 100, read=1500, thought=60), effort="high")
# 300 fresh × 0.003 + 1500 × 0.0003 + 200 × 0.00375 + 400 × 0.015 = $0.0081
ABROAD = shanghai("11-20 15:00", BOBS, used(2000, 400, read=1500, write=200), **TO_CLAUDE)
# nobody has a price for it
UNPRICED = shanghai("11-21 11:11", BOBS, used(100, 20), request_model="lab/mystery-1")
# a stream whose provider never said what it used
SILENT = shanghai("11-22 12:00", ANNS, Usage(), stream=True)
# cut in the middle, after the input was stated: 700 × 0.010 + 10 × 0.030 = ¥0.0073
CUT = shanghai(
    "11-22 12:30", ANNS, Usage(700, None, None, 10, None, UsageSource.PARTIAL), stream=True, outcome=Outcome.INTERRUPTED
)
# no byte of either stream is on record, so nothing can have been used beyond what was stated
NOTHING_CAME = Estimated(calls=2, spent={"CNY": Decimal(0)})
# half past midnight of December, in UTC still November: 3000 × 0.010 + 1000 × 0.030 = ¥0.06
NEXT = shanghai("12-01 00:30", ANNS, used(3000, 1000))


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    """The month's calls as they came in: in time, twice, and late."""
    some = new_books(zone="Asia/Shanghai")
    some.load(CLAUDE)
    some.deliver(FIRST, PLAIN, REFUSED, AGAIN, now=at("2026-11-03 10:07+08:00"))
    some.roll()
    some.load(NEW_PRICES)
    some.deliver(OLD_PRICE, NEW_PRICE, CACHED, now=at("2026-11-18 09:01+08:00"))
    again = some.deliver(OLD_PRICE, NEW_PRICE, CACHED, ABROAD, now=at("2026-11-20 15:01+08:00"))
    assert again == [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.INSERTED]
    some.deliver(UNPRICED, SILENT, CUT, now=at("2026-11-22 12:31+08:00"))
    some.roll()
    some.deliver(NEXT, now=at("2026-12-01 00:31+08:00"))
    some.deliver(LATE, now=at("2026-12-02 08:00+08:00"), still_open=1)
    assert some.roll() == Rolled(batches=2, calls=2)
    return some


def month(books: Books, by: str, *where: Any) -> Report:
    return books.spend(by, NOVEMBER, DECEMBER, *where, now=at("2026-12-02 08:30+08:00"))


def test_november_by_project(books: Books) -> None:
    report = month(books, "project")
    assert report.lines == (
        SpendLine(
            group="checkout",
            id="checkout",
            calls=7,
            failed=1,
            interrupted=1,
            usage_missing=1,
            usage_partial=1,
            quantities=Quantities(input=4900, cache_read=0, cache_write=0, output=2410, reasoning=0),
            spent={"CNY": Decimal("0.1315")},  # 0.0237 + 0.0145 + 0.046 + 0.040 + 0.0073
            estimated=NOTHING_CAME,
        ),
        SpendLine(
            group="search",
            id="search",
            calls=5,
            unpriced=1,
            quantities=Quantities(input=4700, cache_read=3000, cache_write=200, output=580, reasoning=60),
            spent={"CNY": Decimal("0.0197"), "USD": Decimal("0.0081")},  # 0.00725 + 0.00145 + 0.011
        ),
    )


def test_novembers_total_says_what_it_hides(books: Books) -> None:
    report = month(books, "project")
    assert report.total == SpendLine(
        group="total",
        id="",
        calls=12,
        failed=1,
        interrupted=1,
        unknown=0,
        usage_missing=1,
        usage_partial=1,
        unpriced=1,
        quantities=Quantities(input=9600, cache_read=3000, cache_write=200, output=2990, reasoning=60),
        spent={"CNY": Decimal("0.1512"), "USD": Decimal("0.0081")},
        estimated=NOTHING_CAME,
    )
    assert report.completeness.open == 1
    assert report.completeness.until == at("2026-12-02 08:00+08:00")  # the open call began then
    assert (report.completeness.unrolled, report.rejected, report.conflicts) == (0, 0, 0)


def test_november_by_key_and_by_model(books: Books) -> None:
    by_key = [(line.group, line.calls, dict(line.spent)) for line in month(books, "key").lines]
    assert by_key == [
        ("…a1b2 (a1a1a1a1)", 7, {"CNY": Decimal("0.1315")}),
        ("…c3d4 (c3c3c3c3)", 5, {"CNY": Decimal("0.0197"), "USD": Decimal("0.0081")}),
    ]
    by_model = [(line.group, line.calls, dict(line.spent)) for line in month(books, "model").lines]
    assert by_model == [
        ("z-ai/glm-5", 10, {"CNY": Decimal("0.1512")}),
        ("claude-sonnet-5", 1, {"USD": Decimal("0.0081")}),
        ("lab/mystery-1", 1, {}),
    ]


def test_november_day_by_day(books: Books) -> None:
    by_day = [(line.group, line.calls, line.spent.get("CNY")) for line in month(books, "day").lines]
    assert by_day == [
        ("2026-11-01", 1, Decimal("0.00725")),
        ("2026-11-03", 3, Decimal("0.0382")),
        ("2026-11-05", 1, Decimal("0.00145")),
        ("2026-11-15", 1, Decimal("0.046")),
        ("2026-11-16", 1, Decimal("0.040")),
        ("2026-11-18", 1, Decimal("0.011")),
        ("2026-11-20", 1, None),
        ("2026-11-21", 1, None),
        ("2026-11-22", 2, Decimal("0.0073")),
    ]


def test_november_in_utc_begins_and_ends_eight_hours_later(books: Books) -> None:
    total = month(books, "project", UTC).total
    assert total.calls == 12  # without the first, with the one after Shanghai's midnight
    assert total.spent == {"CNY": Decimal("0.20395"), "USD": Decimal("0.0081")}  # 0.1512 - 0.00725 + 0.06
    days = [line.group for line in month(books, "day", UTC).lines]
    assert days[0] == "2026-11-03"
    assert days[-1] == "2026-11-30"


def test_all_of_it_is_the_same_in_any_zone(books: Books) -> None:
    everything = {"CNY": Decimal("0.2112"), "USD": Decimal("0.0081")}
    for where in (None, UTC, zone("America/Los_Angeles")):
        report = books.spend("month", None, None, where)
        assert report.total.calls == 13
        assert report.total.spent == everything


def test_each_call_is_listed_with_its_own_cost(books: Books) -> None:
    with reading(books.engine) as conn:
        newest_first = listed(conn, Selection(first=NOVEMBER, end=DECEMBER))
    costs = {one.call.id: one.cost for one in newest_first}
    assert list(costs) == sorted(costs, reverse=True)
    assert costs == {
        FIRST.id: Money(Decimal("0.00725"), "CNY"),
        PLAIN.id: Money(Decimal("0.0237"), "CNY"),
        REFUSED.id: Money(Decimal(0), "CNY"),
        AGAIN.id: Money(Decimal("0.0145"), "CNY"),
        LATE.id: Money(Decimal("0.00145"), "CNY"),
        OLD_PRICE.id: Money(Decimal("0.046"), "CNY"),
        NEW_PRICE.id: Money(Decimal("0.040"), "CNY"),
        CACHED.id: Money(Decimal("0.011"), "CNY"),
        ABROAD.id: Money(Decimal("0.0081"), "USD"),
        UNPRICED.id: None,
        SILENT.id: None,
        CUT.id: Money(Decimal("0.0073"), "CNY"),
    }


def test_the_books_balance_and_a_second_delivery_of_everything_changes_nothing(books: Books) -> None:
    before = [month(books, by) for by in ("key", "project", "model", "provider", "day", "month", "effort")]
    assert verify(books.engine).differences == ()
    everything = (NEXT, CUT, SILENT, UNPRICED, ABROAD, CACHED, NEW_PRICE, OLD_PRICE, LATE, AGAIN, REFUSED, PLAIN, FIRST)
    verdicts = books.deliver(*everything, now=at("2026-12-02 08:00+08:00") - timedelta(days=1))
    assert set(verdicts) == {Verdict.DUPLICATE}
    assert books.roll() == Rolled(0, 0)
    assert [month(books, by) for by in ("key", "project", "model", "provider", "day", "month", "effort")] == before
    assert verify(books.engine).calls == 13
