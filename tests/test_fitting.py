"""Lines that are learned, held against what would be told without them; over random worlds."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.estimates import NOTHING, Line, Place, Sizes, Snapshot, estimate, priors
from accounting.fitting import ENOUGH, Lesson, fitted
from accounting.learning import Seen, taught

CHAT = "chat/completions"
WHOLE = Place("lab", "m", CHAT)
INPUT = Place("lab", "m")


def lessons(place: Place, pairs: Iterable[tuple[int, int]], script: str = "latin") -> list[Lesson]:
    """Of bytes and tokens; every other one examines."""
    asked = place._replace(script=script)
    return [
        Lesson(size, priors().tokens(asked, size), tokens, bool(number % 2))
        for number, (size, tokens) in enumerate(pairs)
    ]


def line_of(place: Place, some: Sequence[Lesson], others: Sequence[Line] = ()) -> Line:
    fit = fitted(place, some, others)
    assert fit is not None
    return fit.line


def test_answers_of_which_the_priors_expect_nothing_say_nothing_about_longer_ones() -> None:
    """Bodies that are shorter than what is usually around a text: no ratio can be made of them."""
    short = lessons(WHOLE, ((480 + number % 100, 300 + number) for number in range(200)))
    assert {lesson.expected for lesson in short} == {0}
    expected = priors().tokens(WHOLE, 5_000)
    assert expected + 300 <= line_of(WHOLE, short).at(expected) <= expected + 500


def test_a_few_tokens_that_the_priors_expect_make_no_slope() -> None:
    short = lessons(WHOLE, ((300 + 3 * number, 20 + 2 * number) for number in range(100)))
    assert 0 < max(lesson.expected for lesson in short) < 5
    expected = priors().tokens(WHOLE, 5_000)
    assert line_of(WHOLE, short).at(expected) <= expected + 250


def test_what_was_thought_and_not_sent_is_not_taken_for_a_slope() -> None:
    chance = random.Random(3)
    hidden = lessons(WHOLE, ((300, chance.randrange(500, 3_000)) for _ in range(100)))
    for place in (WHOLE, WHOLE._replace(script="latin")):
        assert line_of(place, hidden).at(5_000 if place.script else 948) < 5_000


def test_a_longer_answer_is_never_taken_for_less() -> None:
    two_kinds = [(600, 700), (620, 720), (1_631, 210), (1_640, 215)] * 20
    latin = WHOLE._replace(script="latin")
    line = line_of(latin, lessons(latin, two_kinds))
    assert line.at(5_000) > line.at(1_000)


def test_a_line_that_did_worse_on_other_calls_than_the_priors_gives_way_to_them() -> None:
    place = INPUT._replace(script="latin")
    changed = [(size, size if number % 2 == 0 else size * 215 // 1000) for number, size in enumerate(range(900, 9_000))]
    some = lessons(place, changed)
    assert line_of(place, some) == priors().line(place)
    fit = fitted(place, some)
    assert fit is not None
    assert fit.error == fit.prior_error < 10


def test_a_line_that_did_worse_than_the_next_wider_one_gives_way_to_it() -> None:
    place = INPUT._replace(script="latin")
    wider = Line(0, 2_000_000)
    changed = [(size, size if number % 2 == 0 else size * 43 // 100) for number, size in enumerate(range(900, 9_000))]
    assert line_of(place, lessons(place, changed), [wider.over(priors().line(place))]) == Line(0, 430_000)


def test_a_line_over_another_tells_the_same() -> None:
    prior = priors().line(WHOLE._replace(script="cjk"))
    for size in (1_000, 5_000, 50_000):
        assert abs(Line(70, 1_500_000).over(prior).at(size) - Line(70, 1_500_000).at(prior.at(size))) <= 2


@dataclass(frozen=True)
class Kind:
    """How a model's calls are: its name, their script, how they answer; tokens by bytes, and what is beside them."""

    model: str
    script: str
    stream: bool
    per_byte_in: float
    per_byte_out: float
    around: int
    hidden: int
    longest: int
    noise: float


kinds = st.builds(
    Kind,
    model=st.sampled_from(["one", "two", "three"]),
    script=st.sampled_from(["latin", "cjk", "escaped-cjk", "encoded"]),
    stream=st.booleans(),
    per_byte_in=st.floats(0.01, 0.9),
    per_byte_out=st.floats(0.002, 0.9),
    around=st.integers(0, 900),
    hidden=st.sampled_from([0, 0, 40, 2_000]),
    longest=st.sampled_from([50, 500, 20_000]),
    noise=st.sampled_from([0.0, 0.1, 0.5]),
)


def calls_of(kind: Kind, count: int, chance: random.Random) -> list[Seen]:
    def off() -> float:
        return max(chance.gauss(1, kind.noise), 0.1)

    some = []
    for _ in range(count):
        bytes_in, text = chance.randrange(20, 20 + kind.longest), chance.randrange(1, 1 + kind.longest)
        thought = chance.randrange(kind.hidden + 1)
        some.append(
            Seen(UUID(int=chance.getrandbits(128)), "lab", kind.model, None, CHAT, kind.stream, kind.script, 1,
                 bytes_in, kind.around + text, round(bytes_in * kind.per_byte_in * off()) + 3,
                 round(text * kind.per_byte_out * off()) + thought + 1, "finished", "provider", None)
        )  # fmt: skip
    return some


worlds = st.lists(kinds, min_size=1, max_size=4)


def drawn(world: Sequence[Kind], count: int, seed: int) -> list[Seen]:
    chance = random.Random(seed)
    some = [call for kind in world for call in calls_of(kind, count, chance)]
    chance.shuffle(some)
    return some


def snapshot(some: Sequence[Seen]) -> Snapshot:
    found = taught(some)
    lines = {place: fit.line for place, fit in found.lines.items()}
    return Snapshot(lines, {(whose[0], whose[1], "", whose[3]): size for whose, (size, _) in found.sizes.items()})


@settings(max_examples=60, deadline=None)
@given(worlds, st.integers(ENOUGH, 120), st.integers(0, 10**6), st.integers(0, 200_000), st.sampled_from([None, 0, 77]))
def test_an_estimate_stays_within_what_is_plausible_whatever_was_learned(
    world: list[Kind], count: int, seed: int, size: int, limit: int | None
) -> None:
    learned = snapshot(drawn(world, count, seed))
    for model in ("one", "two", "three", "new"):
        high = learned.sizes.get(("lab", model, "", "*"), Sizes(0, 0)).high
        for stream, script in ((False, "latin"), (True, "cjk"), (False, "encoded")):
            found = estimate(learned, provider="lab", model=model, endpoint=CHAT, script=script, bytes_in=size,
                             stream=stream, bytes_out=size, max_tokens=limit)  # fmt: skip
            assert 0 <= found.input_tokens <= size + 1_000
            assert 0 <= found.output_tokens <= max(size, high)
            assert limit is None or found.output_tokens <= limit


def off(learned: Snapshot, some: Iterable[Seen], told: Callable[[Snapshot, Seen], tuple[int, int]]) -> float:
    """How far off half of them are at most, in parts of what was used."""
    return median_low(abs(tokens - real) / max(real, 1) for tokens, real in (told(learned, call) for call in some))


def _of_input(learned: Snapshot, call: Seen) -> tuple[int, int]:
    found = estimate(learned, provider="lab", model=call.model, endpoint=CHAT, script=call.script,
                     bytes_in=call.bytes_in)  # fmt: skip
    return found.input_tokens, call.input_tokens or 0


def _of_output(learned: Snapshot, call: Seen) -> tuple[int, int]:
    found = estimate(learned, provider="lab", model=call.model, endpoint=CHAT, script=call.script,
                     bytes_in=call.bytes_in, stream=call.stream, bytes_out=call.bytes_out)  # fmt: skip
    return found.output_tokens, call.output_tokens or 0


@settings(max_examples=60, deadline=None)
@given(worlds, st.integers(ENOUGH, 120), st.integers(0, 10**6))
def test_what_is_learned_does_no_worse_than_the_priors_on_the_calls_that_examined_it(
    world: list[Kind], count: int, seed: int
) -> None:
    some = drawn(world, count, seed)
    learned = snapshot(some)
    examining = [call for call in some if call.id.int & 1]
    for model, script, stream in {(call.model, call.script, call.stream) for call in examining}:
        asked = [call for call in examining if (call.model, call.script) == (model, script)]
        answered = [call for call in asked if call.stream == stream]
        for told, here in ((_of_input, asked), (_of_output, answered)):
            assert off(learned, here, told) <= 1.1 * off(NOTHING, here, told) + 0.001
