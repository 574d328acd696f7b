"""Names with stars in them."""

import re
import time
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from accounting.patterns import fits, literals, may_meet

NAMES = ["".join(some) for length in range(7) for some in product("ab", repeat=length)]
"""All of two letters, and longer than two patterns of three signs ever need to meet."""

SHORT = ["".join(some) for length in range(4) for some in product("ab*", repeat=length)]

texts = st.text(alphabet="ab.*\n[", max_size=12)


def by_expression(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


@given(texts, texts.map(lambda text: text.replace("*", "")))
def test_a_star_stands_for_any_text_and_everything_else_for_itself(pattern: str, name: str) -> None:
    assert fits(pattern, name) == by_expression(pattern, name)


def test_of_all_short_patterns_each_fits_what_it_should() -> None:
    for pattern in SHORT:
        assert [name for name in NAMES if fits(pattern, name)] == [
            name for name in NAMES if by_expression(pattern, name)
        ]


def test_two_patterns_may_meet_where_some_name_fits_both() -> None:
    fitting = {pattern: {name for name in NAMES if fits(pattern, name)} for pattern in SHORT}
    for one, other in product(SHORT, SHORT):
        assert may_meet(one, other) == bool(fitting[one] & fitting[other]), (one, other)


@given(st.lists(texts, min_size=1, max_size=4), st.data())
def test_a_pattern_fits_every_name_made_of_it(parts: list[str], data: st.DataObject) -> None:
    pattern = "*".join(parts)
    made = re.sub(r"\*", lambda _: data.draw(texts).replace("*", "a"), pattern)
    assert fits(pattern, made)
    assert may_meet(pattern, made)
    assert literals(pattern) <= len(made)


def test_no_pattern_takes_long_whatever_it_is_and_whatever_it_is_held_against() -> None:
    many, name = "*a" * 2000 + "*b", "a" * 100_000
    began = time.perf_counter()
    assert not fits(many, name)
    assert fits("*" * 5000 + "a", name)
    assert not may_meet("a" + "*a" * 300, "b" + "a*" * 300)
    assert may_meet("*a" * 300, "a*" * 300)
    assert time.perf_counter() - began < 2
