"""Which lines of a model hold together, and which take the place of others."""

from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.cards import parse_card
from accounting.periods import Period
from accounting.pricelists import in_force, replaced, staying, successor
from accounting.rates import ANY_TIER, Rate
from accounting.resolution import RateBook
from tests.books import at

HEAD = 'provider = "acme"\ncurrency = "USD"\nsource = "list"\n[[rate]]\n'
NIGHTS = 'hours = "16:30-00:30 UTC"'
MUCH = "context_above = 200000"
MAY, JUNE, JULY = "2026-05-01", "2026-06-01", "2026-07-01"


def line(since: str = MAY, said: str = "", model: str = "m") -> Rate:
    """A line of acme's; `said` are further lines of its card."""
    text = f'{HEAD}model = "{model}"\nvalid_from = {since}\ninput = 1\noutput = 2\n{said}'
    return parse_card(text, "card.toml")[0]


def older(new: list[Rate], held: list[Rate]) -> list[Rate]:
    return [one.older for one in replaced(new, held)]


def test_a_newer_list_without_conditions_takes_the_place_of_the_older_ones() -> None:
    held = [line(), line(said=MUCH), line(said=NIGHTS)]
    assert older([line(JUNE)], held) == held[1:]


def test_a_newer_list_of_the_same_kind_says_what_becomes_of_the_older_one() -> None:
    held = [line(), line(said=MUCH)]
    assert older([line(JUNE), line(JUNE, "context_above = 128000")], held) == []
    assert older([line(JUNE), line(JUNE, NIGHTS)], held) == [held[1]]


def test_what_lost_its_place_before_is_not_named_again() -> None:
    held = [line(), line(said=MUCH), line(JUNE)]
    assert older([line(JULY)], held) == []


def test_lines_that_come_together_are_held_against_each_other() -> None:
    assert older([line(), line(said=MUCH), line(JUNE)], []) == [line(said=MUCH)]


@pytest.mark.parametrize(
    "new",
    [
        line(JUNE, model="other"),
        line(JUNE, 'service_tier = "batch"'),
        line(JUNE, MUCH),
        line(JUNE, NIGHTS),
        line("2026-04-01"),
        line(MAY),
    ],
)
def test_a_line_for_other_calls_replaces_none(new: Rate) -> None:
    assert older([new], [line(said=MUCH)]) == []


def test_a_line_that_ended_is_not_replaced() -> None:
    assert older([line(JUNE)], [line(said=f"{MUCH}\nvalid_until = {JUNE}")]) == []
    assert older([line(JUNE)], [line(said=f"{MUCH}\nvalid_until = 2026-06-02")]) != []


def test_the_message_names_the_line_and_from_when() -> None:
    (one,) = replaced([line(JUNE)], [line(said=MUCH)])
    assert str(one).startswith(
        "From 2026-06-01 00:00Z on acme/m (above 200,000 input tokens) from 2026-05-01 00:00Z prices no call any more"
    )


STARTS = [at(text) for text in (MAY, JUNE, JULY)]
CONDITIONS = ("", MUCH, "context_above = 100", NIGHTS, 'service_tier = "batch"', f'service_tier = "{ANY_TIER}"')
LINES = [line(since, said) for since, said in product((MAY, JUNE, JULY), CONDITIONS)]
ANY = f'service_tier = "{ANY_TIER}"'


def left(new: list[Rate], held: list[Rate]) -> list[Rate]:
    return [one.older for one in staying(new, held)]


def test_a_line_for_any_tier_goes_on_for_the_others_where_a_newer_one_is_for_the_standard_tier() -> None:
    held = [line(said=ANY)]
    assert left([line(JUNE)], held) == held
    assert older([line(JUNE)], held) == []
    (one,) = staying([line(JUNE)], held)
    assert str(one).startswith(
        "From 2026-06-01 00:00Z on acme/m (any service tier) from 2026-05-01 00:00Z still prices calls of other"
    )


@pytest.mark.parametrize(
    ("new", "held"),
    [
        ([line(JUNE, ANY)], [line(said=ANY)]),
        ([line(JUNE), line(JUNE, ANY)], [line(said=ANY)]),
        ([line(JUNE, 'service_tier = "batch"')], [line(said=ANY)]),
        ([line(JUNE, MUCH)], [line(said=ANY)]),
        ([line(JUNE, model="other")], [line(said=ANY)]),
        ([line(JULY)], [line(said=ANY), line(JUNE)]),
        ([line(JUNE)], [line(said=f"{ANY}\nvalid_until = {JUNE}")]),
        ([line()], [line(JUNE, ANY)]),
    ],
)
def test_a_line_for_any_tier_is_not_named_where_nothing_new_is_left_to_it(new: list[Rate], held: list[Rate]) -> None:
    assert left(new, held) == []


@given(st.lists(st.sampled_from(LINES), unique=True), st.sampled_from(LINES))
def test_a_line_that_goes_on_prices_other_tiers_and_no_more_the_standard_one(held: list[Rate], new: Rate) -> None:
    book = RateBook([*held, new] if new not in held else held)
    for one in left([new], held):
        for hour, much in product((0, 12, 20), (0, 101, 10**6)):
            when = new.valid_from + timedelta(hours=hour)
            assert book.find("acme", "m", when, much) != one
        assert any(
            book.find("acme", "m", new.valid_from + timedelta(hours=hour), much, "flex") == one
            for hour, much in product((0, 12, 20), (0, 101, 10**6))
        )


def test_the_successor_is_the_first_that_takes_over() -> None:
    first, much, last = line(), line(JUNE, MUCH), line(JULY)
    assert successor(first, [last, much, first]) == last
    assert successor(much, [first, much, last]) == last
    assert successor(last, [first, much, last]) is None
    assert successor(line(said=f"valid_until = {JULY}"), [last]) is None


@given(st.lists(st.sampled_from(LINES), unique=True), st.sampled_from(STARTS), st.sampled_from([0, 101, 10**6]))
def test_what_prices_a_call_is_in_force(lines: list[Rate], begin: datetime, input_tokens: int) -> None:
    """Whatever the book finds for calls of any input, tier and hour of the day is among the lines named for the day."""
    book = RateBook(lines)
    for hour, tier in product((0, 12, 20), ("", "batch", "flex")):
        found = book.find("acme", "m", begin + timedelta(hours=hour), input_tokens, tier)
        assert found is None or found in in_force(lines, begin)


@given(st.lists(st.sampled_from(LINES), unique=True), st.sampled_from(STARTS))
def test_a_line_that_is_not_in_force_prices_no_call(lines: list[Rate], begin: datetime) -> None:
    names = set(lines) - set(in_force(lines, begin))
    book = RateBook(lines)
    for hour, tier, much in product((0, 12, 20), ("", "batch", "flex"), (0, 101, 10**6)):
        assert book.find("acme", "m", begin + timedelta(hours=hour), much, tier) not in names


def test_before_and_after_its_time_a_line_is_not_in_force() -> None:
    one = line(said=f"valid_until = {JUNE}")
    assert one.period == Period(at(MAY), at(JUNE))
    moment = timedelta(microseconds=1)
    assert [in_force([one], when) for when in (at(MAY) - moment, at(MAY), at(JUNE) - moment, at(JUNE))] == [
        [], [one], [one], [],
    ]  # fmt: skip
