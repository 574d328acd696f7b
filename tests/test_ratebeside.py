"""What lines of other sources mean for an imported price list, and for a card: which of its lines are taken."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.aliases import Aliases, Rule
from accounting.hours import hours
from accounting.periods import Period
from accounting.rateimports import Beside, plan
from accounting.rates import Rate
from accounting.resolution import RateBook
from tests.books import NOON, at
from tests.test_rateimports import ALWAYS, LATER, Held, dated, line, undated

NIGHT = hours("22:00-06:00 UTC")
HOUR = timedelta(hours=1)


def contract(price: int = 99, since: datetime = ALWAYS, until: datetime | None = None, **changes: Any) -> Rate:
    return line(price, source="contract", period=Period(since, until), **changes)


def test_a_whole_price_of_the_model_of_another_source_wins_at_its_tier_and_is_named() -> None:
    made = plan([contract(id=7)], undated(line(2), line(1, service_tier="batch")), NOON)
    assert [(one.place, one.line) for one in made.beaten] == [(("acme", "large", ""), contract(id=7))]
    assert [rate.service_tier for rate in made.added] == ["batch"]


@pytest.mark.parametrize("since", [ALWAYS, LATER])
def test_one_for_any_tier_wins_for_all_also_before_it_begins(since: datetime) -> None:
    """A line for a tier goes before it, however old, so a list's would never make room for it."""
    theirs = contract(since=since, service_tier="*", id=7)
    made = plan([theirs], undated(line(), line(service_tier="flex")), NOON)
    assert (made.is_nothing, len(made.beaten)) == (True, 2)


@pytest.mark.parametrize("other", ["*", "lar*", "l"])
def test_a_pattern_or_an_alias_wins_over_nothing_and_what_is_overtaken_is_told(other: str) -> None:
    aliases = Aliases([Rule("", "large", "l")])
    theirs = contract(model=other, id=7)
    made = plan([theirs], undated(line(2)), NOON, aliases=aliases)
    assert (made.beaten, made.added) == ((), (line(2),))
    assert made.overtaken == (Beside(("acme", "large", ""), theirs),)
    found = RateBook([theirs, *made.appended], aliases).find("acme", "large", NOON)
    assert found == line(2)


@pytest.mark.parametrize("condition", [{"hours": NIGHT}, {"context_above": 1000}])
def test_a_line_for_some_calls_alone_stands_beside_the_list(condition: dict[str, Any]) -> None:
    held = Held(contract(since=at("2026-01-01"), **condition))
    assert len(held.take(undated(line(2))).added) == 1
    night = NOON + timedelta(hours=12)
    assert [held.price(NOON), held.price(night, 1001), held.price(at("2025-12-31"))] == [2, 99, 2]


def test_a_line_that_ended_keeps_its_time_and_the_list_holds_outside_of_it() -> None:
    days = [at("2020-01-02"), at("2026-01-01"), at("2026-05-31"), at("2026-06-01"), NOON]
    held = Held(contract(since=at("2026-01-01"), until=at("2026-06-01")))
    assert len(held.take(undated(line(2))).added) == 1
    assert [held.price(day) for day in days] == [2, 99, 99, 2, 2]


def test_a_list_takes_over_what_another_list_has_no_more() -> None:
    held = Held(line(5, source="another"))
    held.take(replace(undated(), sources=frozenset(["another"])))
    held.take(undated(line(2)), LATER)
    assert [held.price(day) for day in (NOON - HOUR, NOON, LATER)] == [5, 2, 2]
    assert held.take(undated(line(2)), LATER + HOUR).is_nothing
    held.take(undated(line(3)), LATER + 2 * HOUR)
    assert [held.price(LATER + n * HOUR) for n in (0, 1, 2)] == [2, 2, 3]


def test_a_line_to_come_leaves_room_until_it_begins_and_wins_from_then_on() -> None:
    theirs = contract(since=LATER)
    held = Held(theirs)
    made = held.take(undated(line(2), line(3, since=LATER + HOUR)))
    assert [one.line.source for one in made.beaten] == ["contract"]
    assert [held.price(day) for day in (NOON, LATER - HOUR, LATER, LATER + 2 * HOUR)] == [2, 2, 99, 99]


def test_a_line_for_any_tier_that_ended_keeps_its_time() -> None:
    held = Held(contract(since=at("2026-01-01"), until=at("2026-06-01"), service_tier="*"))
    held.take(undated(line(2)))
    assert [held.price(day) for day in (at("2026-05-31"), at("2026-06-01"))] == [99, 2]


def test_a_list_that_is_gone_ends_without_running_into_a_line_of_another_source() -> None:
    held = Held(line(2), contract(since=at("2026-01-01"), until=at("2026-06-01")))
    assert held.take(undated()).gone
    days = [at("2025-12-31"), at("2026-01-01"), at("2026-06-01"), NOON]
    assert [held.price(day) for day in days] == [2, 99, 2, None]


def test_a_card_stands_beside_other_sources_and_its_newest_line_holds() -> None:
    """A supplier's price list with its date in the source is another source each time."""
    held = Held(line(2, since=at("2026-02-12"), source="price list of 2026-02-12"))
    made = held.take(dated(line(3, since=at("2026-11-20"), source="list")))
    assert (len(made.added), made.beaten, made.withdrawn) == (1, (), ())
    assert [held.price(day) for day in (at("2026-11-19"), at("2026-11-20"))] == [2, 3]


def test_what_a_card_says_that_another_source_says_too_is_there_already() -> None:
    held = Held(line(2, since=at("2026-02-12"), source="another"))
    source = dated(line(2, since=at("2026-02-12")), line(3, since=at("2026-11-20")))
    assert [rate.input_per_1k for rate in held.take(source).added] == [3]
    assert held.take(source, LATER).is_nothing


def test_an_old_line_of_a_card_that_came_back_stays_behind_a_newer_one_of_another_source() -> None:
    held = Held(line(2, since=at("2026-02-12")), contract(since=at("2026-06-01")))
    held.take(dated())
    assert held.take(dated(line(2, since=at("2026-02-12"))), LATER).is_nothing
    assert [held.price(day) for day in (at("2026-05-31"), LATER + HOUR)] == [2, 99]


DAYS = [ALWAYS, at("2026-06-01"), at("2026-11-01"), LATER, at("2027-01-01")]


@st.composite
def contracts(draw: st.DrawFn) -> list[Rate]:
    """Lines of another source, some after another, each with an end or the next one's start."""
    starts = sorted(draw(st.sets(st.sampled_from(DAYS))))
    tier = draw(st.sampled_from(["", "*"]))
    found: list[Rate] = []
    for start, then in zip(starts, [*starts[1:], None], strict=False):
        end = start + timedelta(days=draw(st.sampled_from([1, 40, 100])))
        until = draw(st.sampled_from([None, end if then is None else min(end, then)]))
        found.append(contract(90 + len(found), start, until, service_tier=tier))
    return found


@st.composite
def lists(draw: st.DrawFn) -> Sequence[Rate]:
    since = draw(st.sets(st.sampled_from([ALWAYS, *DAYS, at("2026-06-15"), at("2026-11-25")]), min_size=0))
    return [line(n, since=start) for n, start in enumerate(sorted(since), 1)]


@settings(deadline=None)
@given(contracts(), st.lists(lists(), min_size=1, max_size=3))
def test_a_price_list_never_changes_what_another_source_prices(theirs: list[Rate], editions: list[list[Rate]]) -> None:
    held, alone = Held(*theirs), RateBook(theirs)
    ends = [rate.period.end for rate in theirs if rate.period.end is not None]
    for n, lines in enumerate(editions):
        now = NOON + timedelta(days=n)
        held.take(undated(*lines), now)
        for when in (border + shift for border in (*DAYS, *ends, now) for shift in (-HOUR, timedelta(0), HOUR)):
            chosen = alone.find("acme", "large", when)
            assert chosen is None or held.price(when) == chosen.input_per_1k
        if any(one.valid_from == ALWAYS for one in lines) and "*" not in {one.service_tier for one in theirs}:
            assert held.price(now) is not None
        assert held.take(undated(*lines), now + HOUR).is_nothing
