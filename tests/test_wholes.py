"""Whatever a program delivers: nothing costs less than nothing, and what is estimated is in no sum."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.anomalies import meaning
from accounting.contributions import ESTIMATES
from accounting.counts import Counts
from accounting.formats.wire import stated_usage
from accounting.periods import Period
from accounting.rates import CLASSES, Rate, price
from accounting.store.tables import calls
from accounting.usage import COUNTED, Outcome, Usage, UsageSource
from accounting.verify import verify
from accounting.wholes import plausible
from tests.books import NOON, Books, made, used
from tests.spending import rolled_anew, spending

PROVIDER, MISSING, PARTIAL = UsageSource.PROVIDER, UsageSource.MISSING, UsageSource.PARTIAL

count = st.none() | st.integers(0, 50)
usages = st.builds(
    Usage, source=st.sampled_from(UsageSource), **dict.fromkeys(COUNTED, count)
)  # fmt: skip
dates: Any = {"provider": "", "model": "", "currency": "", "period": Period(NOON, None)}
prices = st.fixed_dictionaries({each.column: st.integers(0, 9).map(Decimal) for each in CLASSES})


@given(usage=usages, priced=prices)
def test_nothing_costs_less_than_nothing(usage: Usage, priced: dict[str, Any]) -> None:
    assert price(plausible(usage).quantities, Rate(**dates, **priced)).amount >= 0


@given(usage=usages)
def test_what_is_plausible_stays_as_it_is(usage: Usage) -> None:
    once = plausible(usage)
    assert plausible(once) is once


@given(
    parts=st.fixed_dictionaries({}, optional=dict.fromkeys(
        ("input_tokens", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input", "output_tokens",
         "reasoning", "audio_output", "image_output"), st.integers(0, 50)
    ))
)  # fmt: skip
def test_what_formats_read_is_plausible(parts: dict[str, Any]) -> None:
    usage = stated_usage({}, Counts(), **parts)
    assert plausible(usage) is usage


@pytest.mark.parametrize(
    ("given", "held", "anomalies"),
    [
        ({"input_tokens": 10, "cache_read_tokens": 30}, {"cache_read_tokens": 10}, ["cached_exceeds_input"]),
        (
            {"input_tokens": 10, "cache_read_tokens": 6, "cache_write_tokens": 6, "cache_write_1h_tokens": 5},
            {"cache_write_tokens": 4, "cache_write_1h_tokens": 4},
            ["cache_write_exceeds_input", "cache_write_1h_exceeds_cache_write"],
        ),
        (
            {"input_tokens": 10, "audio_input_tokens": 11, "image_input_tokens": 1},
            {"audio_input_tokens": 10, "image_input_tokens": 0},
            ["audio_exceeds_input", "images_exceed_input"],
        ),
        (
            {"output_tokens": 4, "reasoning_tokens": 3, "audio_output_tokens": 2, "image_output_tokens": 2},
            {"audio_output_tokens": 1, "image_output_tokens": 0},
            ["audio_exceeds_output", "images_exceed_output"],
        ),
        ({"reasoning_tokens": 3}, {"reasoning_tokens": None}, ["reasoning_exceeds_output"]),
        ({"input_tokens": 10, "cache_read_tokens": 10, "audio_input_tokens": 0}, {}, []),
    ],
)
def test_a_part_is_held_within_its_whole(given: dict[str, Any], held: dict[str, Any], anomalies: list[str]) -> None:
    found = plausible(Usage(**given, source=PROVIDER))
    assert found == Usage(**given, source=PROVIDER)._replace(**held, anomalies=tuple(anomalies))
    assert all(meaning(name) for name in anomalies)


def test_a_call_of_another_program_whose_parts_are_larger_than_their_whole_is_flagged_and_costs_its_whole(
    books: Books,
) -> None:
    books.deliver(made(usage=used(1000, 200, read=30_000, thought=900)))
    books.roll()
    (line,) = books.spend("project").lines
    assert (line.quantities.cache_read, line.quantities.reasoning) == (1000, 200)
    assert line.spent["CNY"] > 0
    assert books.rows(calls)[0]["anomalies"] == ["cached_exceeds_input", "reasoning_exceeds_output"]
    assert verify(books.engine).differences == ()


def test_what_another_program_estimated_stands_beside_the_sums(books: Books) -> None:
    estimated = used(1000, 200)._replace(source=UsageSource.ESTIMATED)
    books.deliver(made(number=1, usage=estimated), made(number=2, usage=estimated, outcome=Outcome.FAILED))
    books.roll()
    total = books.spend("project").total
    assert (total.quantities.input, total.usage_missing, total.spent) == (0, 1, {"CNY": Decimal(0)})
    assert (total.estimated.input_tokens, total.estimated.output_tokens) == (1000, 200)
    assert [[row[name] for name in ESTIMATES] for row in books.rows(calls)] == [[1000, 200], [None, None]]
    assert spending(books) == rolled_anew(books)


def test_usage_of_which_something_is_stated_is_not_missing(books: Books) -> None:
    books.deliver(made(usage=Usage(web_searches=3)), made(number=2, usage=Usage(input_tokens=0)))
    assert [row["usage_source"] for row in books.rows(calls)] == [PARTIAL, MISSING]


def test_an_anomaly_of_ours_that_another_program_delivers_counts_once(books: Books) -> None:
    flagged = used(1, 1)._replace(web_searches=3, anomalies=("unpriced_web_searches", "odd", "odd"))
    books.deliver(made(usage=flagged))
    assert books.rows(calls)[0]["anomalies"] == ["odd", "unpriced_web_searches"]
