"""Which rate holds: one or none for every call, by a rule that is spelt out here once more."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations, product
from random import Random
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.aliases import Aliases, Rule
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.hours import Hours, hours
from accounting.periods import Period
from accounting.rates import ANY_TIER, STANDARD, Rate
from accounting.resolution import RateBook
from tests.books import at
from tests.rulings import Asked, rank, winners

MICROSECOND = timedelta(microseconds=1)
BEGIN = at("2026-03-28")  # the day before clocks in Berlin are put forward
STARTS = [BEGIN + timedelta(hours=hours) for hours in (0, 30, 31, 54)]
ENDS = (*STARTS[1:], BEGIN + timedelta(days=3))
HOURS = tuple(map(hours, ("sun 01:00-04:00 Europe/Berlin", "03:00-06:00 Europe/Berlin", "22:00-03:30 Europe/Berlin")))
PATTERNS = ("a*", "*b", "a*b", "*", "ab*", "*ab*")
MODELS = ("ab", "aab", "b", "x/ab", "ba")
TIERS = (STANDARD, "batch", "flex")
CONTEXTS = (0, 10, 20)
INPUTS = (0, 10, 11, 20, 21)
NAMES = (*MODELS, "", "a", "aa", "abab", "abb", "aabb", "bab")
"""Two of the patterns that meet do so in one of these."""

RULES = (
    Rule("", "x/{model}", "{model}", id=1),
    Rule("", "a{model}", "{model}", id=2),
    Rule("p", "ba", "ab", id=3),
)
ALIASES = Aliases(RULES)


@st.composite
def lines(draw: st.DrawFn) -> list[Rate]:
    """A few that often meet; not all of them make a book."""
    return [
        Rate(
            provider="p",
            model=draw(st.sampled_from(("ab", "ab", "b", *PATTERNS))),
            currency="USD",
            period=Period(start, draw(st.sampled_from([None, *(end for end in ENDS if end > start)]))),
            service_tier=draw(st.sampled_from((STANDARD, STANDARD, "batch", ANY_TIER))),
            context_above=draw(st.sampled_from((0, *CONTEXTS))),
            hours=draw(st.none() | st.sampled_from(HOURS)),
            input_per_1k=Decimal(number),
            output_per_1k=Decimal(number),
        )
        for number, start in enumerate(draw(st.lists(st.sampled_from(STARTS), min_size=1, max_size=7)))
    ]


def instants() -> list[datetime]:
    """Everything begins and ends on a quarter hour, so nothing happens between these."""
    quarters = (STARTS[0] + timedelta(minutes=15 * number) for number in range(-1, 4 * 72))
    return [quarter + beside for quarter in quarters for beside in (-MICROSECOND, timedelta(0))]


INSTANTS = instants()


def asked(chance: Random) -> Iterator[Asked]:
    pick = chance.choice
    return (Asked(pick(MODELS), pick(INSTANTS), pick(INPUTS), pick(TIERS)) for _ in range(60))


def names(model: str) -> list[str]:
    return [model, *(name for name, _ in ALIASES.names("p", model))]


def find(book: RateBook, call: Asked) -> Rate | None:
    return book.find("p", call.model, call.at, call.input_tokens, call.tier)


@settings(max_examples=200, deadline=None)
@given(lines(), st.randoms(use_true_random=True))
def test_there_is_one_rate_or_none_and_it_is_the_one_of_the_rule(some: list[Rate], chance: Random) -> None:
    shuffled = chance.sample(some, len(some))
    try:
        book = RateBook(some, ALIASES)
    except RateCardError:
        with pytest.raises(RateCardError):
            RateBook(shuffled, ALIASES)
        return
    other = RateBook(shuffled, ALIASES)
    for call in asked(chance):
        expected = winners(some, call, ALIASES)
        assert len(expected) <= 1
        assert [*filter(None, [find(book, call)])] == [*filter(None, [find(other, call)])] == expected
        considered = [one.rate for one in book.considered("p", call.model)]
        holding = [rate for rate in considered if rank(rate, call, names(call.model)) is not None]
        assert holding[:1] == expected


def nothing_to_choose(one: Rate, other: Rate) -> bool:
    """Whether one ends in the other's time; or both began at once, and some call would find both as good as each other.

    Within a week: that one of them may end before the hours of both meet makes nothing clearer.
    """
    if runs_into(one, other) or runs_into(other, one):
        return True
    one, other = (replace(rate, period=Period(rate.valid_from, None)) for rate in (one, other))
    if (both := together(one, other)) is None:
        return False
    used, tiers = max(one.context_above, other.context_above) + 1, {one.service_tier, other.service_tier} - {ANY_TIER}
    calls = (Asked(model, both, used, tier) for model, tier in product(NAMES, tiers or {STANDARD}))
    return any(rank(one, call, [call.model]) == rank(other, call, [call.model]) is not None for call in calls)


def runs_into(one: Rate, other: Rate) -> bool:
    """Whether its end was written down, and a line that is like it begins before."""
    alike = [(rate.model, rate.service_tier, rate.context_above, rate.hours) for rate in (one, other)]
    end = one.period.end
    return alike[0] == alike[1] and end is not None and one.valid_from <= other.valid_from < end


def together(one: Rate, other: Rate) -> datetime | None:
    """The first instant of a week at which both hold, if they began at once: where one began later it is taken."""
    if one.valid_from != other.valid_from:
        return None
    week = (one.valid_from + timedelta(minutes=30 * number) for number in range(7 * 48))
    return next((at for at in week if all(rate.hours is None or at in rate.hours for rate in (one, other))), None)


@settings(max_examples=300, deadline=None)
@given(lines().map(lambda some: some[:4]))
def test_a_book_is_refused_where_two_lines_have_nothing_to_choose_between_them_and_nowhere_else(
    some: list[Rate],
) -> None:
    some = [replace(rate, period=Period(rate.valid_from, None)) for rate in some[::2]] + some[1::2]
    try:
        RateBook(some)
    except RateCardError:
        refused = True
    else:
        refused = False
    assert refused == any(nothing_to_choose(one, other) for one, other in combinations(some, 2))


def line(**conditions: Any) -> Rate:
    """From 1 March at 0.01, if nothing else is said; its source tells which it is."""
    start, end = conditions.pop("start", at("2026-03-01")), conditions.pop("end", None)
    rate = Rate(provider="p", model="m", currency="USD", period=Period(start, end), input_per_1k=Decimal("0.01"),
                output_per_1k=Decimal("0.03"))  # fmt: skip
    return replace(rate, **conditions)


def which(book: RateBook, at_: datetime, used: int = 0, tier: str = STANDARD, model: str = "m") -> str | None:
    found = book.find("p", model, at_, used, tier)
    return None if found is None else found.source


def test_exactly_so_many_tokens_are_not_above_it() -> None:
    book = RateBook([line(source="short"), line(source="long", context_above=200_000)])
    found = [which(book, at("2026-04-01"), used) for used in (0, 199_999, 200_000, 200_001, 10**12)]
    assert found == ["short", "short", "short", "long", "long"]


def test_a_call_without_known_input_is_not_above_anything() -> None:
    assert which(RateBook([line(context_above=1)]), at("2026-04-01")) is None


def test_every_border_is_half_open_to_the_microsecond() -> None:
    start, end = at("2026-03-01 10:00:00.000001"), at("2026-04-01 10:00:00.000001")
    book = RateBook([line(start=start, end=end, source="first"), line(start=end, source="then")])
    beside = [which(book, border + step) for border in (start, end) for step in (-MICROSECOND, timedelta(0))]
    assert beside == [None, "first", "first", "then"]


def test_a_newer_line_without_conditions_replaces_an_older_list_as_a_whole() -> None:
    begin, change = at("2026-03-01"), at("2026-04-01")
    peak = hours("08:00-20:00 UTC")
    book = RateBook([
        line(source="plain"), line(source="long", context_above=10), line(source="peak", hours=peak),
        line(source="new", start=change),
    ])  # fmt: skip
    assert [which(book, begin + timedelta(hours=12), used) for used in (0, 11)] == ["peak", "peak"]
    assert [which(book, begin, used) for used in (0, 11)] == ["plain", "long"]
    assert {which(book, change + timedelta(hours=hour), used) for hour in (0, 12) for used in (0, 11)} == {"new"}


def test_a_line_that_names_the_tier_is_taken_before_a_newer_one_for_any() -> None:
    book = RateBook([
        line(source="batch", service_tier="batch"), line(source="any", service_tier=ANY_TIER, start=at("2026-04-01")),
    ])  # fmt: skip
    found = [which(book, at("2026-05-01"), 0, tier) for tier in ("batch", "flex", STANDARD)]
    assert found == ["batch", "any", "any"]


def test_a_tier_that_no_line_names_has_no_rate() -> None:
    assert which(RateBook([line(), line(service_tier="batch")]), at("2026-05-01"), 0, "priority") is None


def test_a_name_is_taken_before_an_alias_and_that_before_a_pattern_however_old_they_are() -> None:
    later = at("2026-04-01")
    aliases = Aliases([Rule("", "{vendor}/{model}", "{model}")])
    book = RateBook(
        [
            line(model="z/m", source="exact"),
            line(model="m", source="alias", start=later),
            line(model="z/*", source="pattern", start=at("2026-05-01")),
            line(model="z/m*", source="longer"),
        ],
        aliases,
    )
    assert [which(book, at("2026-06-01"), model=model) for model in ("z/m", "y/m", "z/mm", "z/n", "n")] == [
        "exact",
        "alias",
        "longer",
        "pattern",
        None,
    ]


def test_of_the_patterns_for_any_of_a_models_names_the_one_that_says_the_most_is_taken() -> None:
    aliases = Aliases([Rule("", "{vendor}/{model}", "{model}"), Rule("", "{model}-{date}", "{model}")])
    book = RateBook([line(model="*", source="rest"), line(model="glm-5*", source="family")], aliases)
    models = ("glm-5", "z-ai/glm-5", "z-ai/glm-5-2026-01-01", "z-ai/gpt-5")
    assert [which(book, at("2026-04-01"), model=model) for model in models] == ["family", "family", "family", "rest"]


def test_of_patterns_that_say_as_much_the_one_for_the_nearer_name_is_taken_however_old_it_is() -> None:
    aliases = Aliases([Rule("", "{vendor}/{model}", "{model}")])
    book = RateBook([line(model="z/*", source="own"), line(model="m*", source="alias"),
                     line(model="mm*", source="newer", start=at("2026-04-01"))], aliases)  # fmt: skip
    assert [which(book, at("2026-05-01"), model=model) for model in ("z/m", "z/mm", "y/mm")] == ["own", "own", "newer"]


def test_of_patterns_that_say_as_much_the_newest_is_taken() -> None:
    old, new = line(model="a*", source="old"), line(model="*b", source="new", start=at("2026-04-01"))
    for some in ([old, new], [new, old]):
        book = RateBook(some)
        assert [which(book, at(f"2026-{month}-15"), model="ab") for month in ("03", "04")] == ["old", "new"]
    swapped = RateBook([line(model="*b", source="old"), line(model="a*", source="new", start=at("2026-04-01"))])
    assert which(swapped, at("2026-04-15"), model="ab") == "new"


@pytest.mark.parametrize("pair", [
    (line(model="a*"), line(model="*b")),
    (line(hours=hours("08:00-12:00 UTC")), line(hours=hours("sat 11:59-13:00 UTC"))),
    (line(hours=hours("08:00-12:00 UTC")), line(hours=hours("20:00-21:00 Asia/Shanghai"))),  # not known of two zones
    (line(context_above=10, hours=hours("08:00-12:00 UTC")), line(context_above=10, hours=hours("22:00-08:01 UTC"))),
    (line(service_tier=ANY_TIER, model="x*"), line(service_tier=ANY_TIER, model="*x")),
])  # fmt: skip
def test_two_lines_that_begin_at_once_and_could_both_hold_are_refused(pair: tuple[Rate, Rate]) -> None:
    with pytest.raises(RateCardError, match="nothing to choose between them"):
        RateBook(pair)


@pytest.mark.parametrize("pair", [
    (line(model="a*"), line(model="b*")),
    (line(model="a*"), line(model="*bb")),
    (line(model="a*"), line(model="*b", start=at("2026-03-02"))),
    (line(hours=hours("08:00-12:00 UTC")), line(hours=hours("12:00-13:00 UTC"))),
    (line(hours=hours("mon-fri 08:00-12:00 UTC")), line(hours=hours("sat,sun 08:00-12:00 UTC"))),
    (line(hours=hours("08:00-12:00 UTC")), line()),
    (line(context_above=10), line(context_above=20)),
    (line(service_tier="batch", model="a*"), line(service_tier="flex", model="*b")),
    (line(service_tier=ANY_TIER), line()),
])  # fmt: skip
def test_two_lines_with_something_to_choose_between_them_are_a_book(pair: tuple[Rate, Rate]) -> None:
    RateBook(pair)


def test_a_book_is_read_in_the_order_in_which_its_lines_began() -> None:
    book = RateBook([line(start=at("2026-05-01")), line(), line(model="b*"), line(model="a*b")])
    assert [str(rate) for rate in book] == [
        "p/m from 2026-03-01 00:00Z",
        "p/m from 2026-05-01 00:00Z",
        "p/b* from 2026-03-01 00:00Z",
        "p/a*b from 2026-03-01 00:00Z",
    ]


def test_hundreds_of_patterns_that_began_at_once_are_soon_held_together() -> None:
    many = "\n".join(
        f'[[rate]]\nmodel = "family-{number:04}-*"\nvalid_from = 2026-03-01\ninput = 1\noutput = 1'
        for number in range(300)
    )
    card = f'provider = "p"\ncurrency = "USD"\nsource = "test"\n{many}'
    began = perf_counter()
    book = RateBook(parse_card(card, "card.toml"))
    assert which(book, at("2026-05-01"), model="family-0299-large") == "test"
    assert perf_counter() - began < 2


def test_hours_are_no_more_than_their_words() -> None:
    assert str(line(hours=Hours((0, 1, 2, 3, 4), 30, 510, "Asia/Shanghai"))) == (
        "p/m (mon-fri 00:30-08:30 Asia/Shanghai) from 2026-03-01 00:00Z"
    )
