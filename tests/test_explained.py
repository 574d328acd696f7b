"""Why a call has the rate that it has."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.aliases import Aliases, Rule
from accounting.explained import Asked, Explanation, Near, explained
from accounting.hours import hours
from accounting.periods import Period
from accounting.rates import Rate
from accounting.resolution import RateBook
from accounting.store.ratelines import Line

VENDOR = Rule("", "{vendor}/{model}", "{model}", "resellers", 1)
DATED = Rule("", "{model}-{date}", "{model}", "versions", 2)
OWN = Rule("", "ft:{model}", "", "tuned", 3)
ALIASES = Aliases([VENDOR, DATED, OWN])
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday


def line(id_: int, model: str = "m", since: str = "2026-01-01", until: str | None = None, **said: Any) -> Rate:
    given: dict[str, Any] = {"provider": "acme", "period": Period(_day(since), _day(until) if until else None)} | said
    one, two = Decimal(1), Decimal(2)
    return Rate(id=id_, model=model, currency="USD", input_per_1k=one, output_per_1k=two, source="list", **given)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def asked(model: str = "m", **said: Any) -> Asked:
    given: dict[str, Any] = {"provider": "acme", "at": NOON} | said
    return Asked(model=model, **given)


def explain(question: Asked, *lines: Rate, withdrawn: tuple[Line, ...] = ()) -> Explanation:
    return explained(RateBook(lines, ALIASES), ALIASES, question, withdrawn)


def why_not(question: Asked, *lines: Rate) -> dict[int, tuple[str, ...]]:
    return {passed.line.rate.id: passed.why for passed in explain(question, *lines).passed}


def test_the_line_that_holds_is_taken_with_the_rules_that_led_there() -> None:
    found = explain(asked("v/m-2026-01-31"), line(1)).taken
    assert found is not None
    assert (found.rate.id, found.name, found.rules) == (1, "m", (DATED, VENDOR))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (line(2, since="2026-12-01"), "begins 2026-12-01 00:00Z"),
        (line(2, since="2025-01-01", until="2025-12-31"), "ended 2025-12-31 00:00Z"),
        (line(2, service_tier="batch"), "is for the batch tier, not the standard one"),
        (line(2, context_above=200_000), "is for more than 200,000 input tokens, not 1,000"),
        (
            line(2, hours=hours("mon-fri 00:30-08:30 Asia/Shanghai")),
            "is for mon-fri 00:30-08:30 Asia/Shanghai, and it was Mon 20:00",
        ),
    ],
)
def test_a_line_whose_conditions_are_not_met_says_which(other: Rate, why: str) -> None:
    assert why_not(asked(input_tokens=1000), line(1), other) == {2: (why,)}


def test_all_conditions_that_are_not_met_are_told() -> None:
    far = line(2, since="2026-12-01", service_tier="batch", context_above=10)
    assert why_not(asked(service_tier="flex"), far) == {
        2: (
            "begins 2026-12-01 00:00Z",
            "is for the batch tier, not the flex one",
            "is for more than 10 input tokens, not 0",
        )
    }


@pytest.mark.parametrize(
    ("model", "first", "second", "why"),
    [
        ("v/m", line(1, "v/m"), line(2), "it is for the name that was called"),
        ("v/m-2026-01-31", line(1, "v/m"), line(2), "it is for a nearer name"),
        ("v/m", line(1), line(2, "v/*"), "it has a name, not a pattern"),
        ("v/m", line(1, "v*"), line(2, "m*"), "it is for the name that was called"),
        ("v/m-2026-01-31", line(1, "v*m"), line(2, "m-*"), "it is for a nearer name"),
        ("v/m", line(1, "m*"), line(2, "*"), "its pattern says more of the name"),
        ("m", line(1, "m*"), line(2, "*"), "its pattern says more of the name"),
        ("m", line(1), line(2, service_tier="*"), "it names the service tier"),
        ("m", line(1, since="2026-02-01"), line(2), "it is newer, from 2026-02-01 00:00Z"),
        ("m", line(1, hours=hours("00:00-20:00 UTC")), line(2), "it is for certain hours"),
        ("m", line(1, context_above=5), line(2), "it is for more input"),
    ],
)
def test_a_line_that_another_goes_before_says_why(model: str, first: Rate, second: Rate, why: str) -> None:
    found = explain(asked(model, input_tokens=10), second, first)
    assert found.taken is not None
    assert found.taken.rate == first
    assert [(one.line.rate.id, one.why) for one in found.passed] == [(2, (f"line 1 goes first: {why}",))]


def test_a_withdrawn_line_says_when_by_whom_and_why() -> None:
    gone = Line(line(2), NOON, "ann", NOON, "bob", "per million")
    other = Line(line(3, "other"), NOON, "ann", NOON, "bob", "")
    elsewhere = Line(line(4, provider="else"), NOON, "ann", NOON, "bob", "")
    (passed,) = explain(asked("v/m"), withdrawn=(gone, other, elsewhere)).passed
    assert (passed.line.rate.id, passed.line.name, passed.line.rules) == (2, "m", (VENDOR,))
    assert passed.why == ("was withdrawn 2026-11-23 12:00Z by bob: per million",)


def test_a_pattern_that_fits_several_names_of_the_model_is_told_once() -> None:
    found = explain(asked("v/m-2026-01-31"), line(1, "*m*"), line(2, "*", until="2026-02-01"))
    assert [one.line.rate.id for one in found.passed] == [2]


def test_a_name_with_its_own_price_says_by_which_rule() -> None:
    found = explain(asked("ft:m-2026-01-31"), line(1))
    assert (found.taken, found.kept, found.names) == (None, OWN, ())
    assert explain(asked("m"), line(1)).kept is None


def test_an_unknown_model_says_what_is_near() -> None:
    lines = [line(1, "gpt-4o"), line(2, "gpt-4o-mini"), line(3, "gpt-5", provider="azure"), line(4, "claude")]
    assert explain(asked("gpt-4"), *lines).near == Near(models=("gpt-4o", "gpt-4o-mini"))
    assert explain(asked("v/gpt-5", provider="acne"), *lines).near == Near(("acme",), (), ("azure",))
    assert explain(asked("claude", service_tier="batch"), *lines).near == Near()


def test_what_is_near_is_found_with_and_without_the_vendor() -> None:
    assert explain(asked("glm-5-20260211"), line(1, "z-ai/glm-5")).near.models == ("z-ai/glm-5",)
    assert explain(asked("zai/glm5"), line(1, "glm-5"), line(2, "claude")).near.models == ("glm-5",)


lines_of_any_kind = st.lists(
    st.builds(
        line,
        st.integers(1, 99),
        st.sampled_from(["m", "v/m", "m*", "*", "v/*"]),
        st.sampled_from(["2026-01-01", "2026-11-23", "2026-12-01"]),
        service_tier=st.sampled_from(["", "*", "batch"]),
        context_above=st.sampled_from([0, 5, 20]),
        hours=st.sampled_from([None, hours("00:00-12:00 UTC"), hours("12:00-24:00 UTC")]),
    ),
    max_size=6,
    unique_by=(
        lambda rate: rate.id,
        lambda rate: (rate.model, rate.period.start, rate.service_tier, rate.context_above, rate.hours),
    ),
)


@given(lines_of_any_kind, st.sampled_from(["m", "v/m", "v/m-2026-01-31"]), st.sampled_from(["", "batch", "flex"]))
def test_whatever_the_lines_the_explained_one_is_the_one_that_prices_and_each_is_told_once(
    lines: list[Rate], model: str, tier: str
) -> None:
    book = RateBook(lines, ALIASES)
    found = explained(book, ALIASES, asked(model, input_tokens=10, service_tier=tier))
    taken = None if found.taken is None else found.taken.rate
    assert taken == book.find("acme", model, NOON, 10, tier)
    told = [one.line.rate for one in found.passed] + ([taken] if taken else [])
    assert sorted(rate.id for rate in told) == sorted({one.rate.id for one in book.considered("acme", model)})
    assert all(one.why for one in found.passed)
