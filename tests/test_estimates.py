from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import formats
from accounting.estimates import (
    NOTHING,
    Basis,
    Beyond,
    Line,
    Place,
    Sizes,
    Snapshot,
    beyond,
    estimate,
    is_estimated,
    lacks_usage,
    priors,
)
from accounting.formats import unread
from accounting.scripts import SCRIPTS
from accounting.usage import MAX_COUNT, Call, Outcome, Usage, UsageSource
from tests.books import made, used

CHAT = "chat/completions"
GLM = Place("wcode", "z-ai/glm-5")

LEARNED = Snapshot(
    lines={
        GLM._replace(script="cjk"): Line(fixed=10, per_million=250_000),
        GLM: Line(0, 1_500_000),
        Place("wcode", ""): Line(0, 2_000_000),
        GLM._replace(endpoint=CHAT, stream=True, script="cjk"): Line(0, 4_000),
        GLM._replace(endpoint=CHAT): Line(0, 500_000),
    },
    sizes={("wcode", "z-ai/glm-5", "", "*"): Sizes(150, 900), ("wcode", "z-ai/glm-5", "a1" * 32, "*"): Sizes(40, 60)},
)

UNSTATED = Usage()


def cut(**changes: object) -> Call:
    """A stream in Chinese that was cut after 50,000 bytes, of which no usage is known."""
    return replace(
        made(outcome=Outcome.INTERRUPTED, usage=UNSTATED, stream=True, script="cjk", bytes_in=4000, bytes_out=50_000),
        **changes,  # type: ignore[arg-type]
    )


def asked(
    snapshot: Snapshot, model: str = "z-ai/glm-5", script: str | None = "cjk", provider: str = "wcode"
) -> tuple[int, Basis]:
    found = estimate(snapshot, provider=provider, model=model, endpoint="embeddings", script=script, bytes_in=4000)
    return found.input_tokens, found.basis


def test_what_was_learned_nearest_to_the_call_holds() -> None:
    assert asked(LEARNED) == (10 + 1000, Basis.SCRIPT)


def test_without_the_script_what_the_model_needs_of_the_priors_expectation_holds() -> None:
    assert asked(LEARNED, script="latin") == (4000 * 215 // 1000 * 3 // 2, Basis.MODEL)


def test_without_the_model_its_provider_holds_and_without_that_the_priors() -> None:
    assert asked(LEARNED, model="new") == (2 * 1080, Basis.PROVIDER)
    assert asked(LEARNED, provider="other") == (1080, Basis.PRIORS)
    assert asked(NOTHING, script=None) == (860, Basis.PRIORS)


def test_before_a_call_its_answer_is_as_long_as_half_of_the_models_are_and_high_as_19_of_20() -> None:
    def before(**more: object) -> tuple[int, int]:
        known = {"provider": "wcode", "model": "z-ai/glm-5", "endpoint": CHAT, "script": "cjk", "bytes_in": 4000}
        found = estimate(LEARNED, **{**known, **more})  # type: ignore[arg-type]
        return found.output_tokens, found.high_output_tokens

    assert before() == (150, 900)
    assert before(key="a1" * 32) == (40, 60)
    assert before(key="unheard of") == (150, 900)
    assert before(max_tokens=100) == (100, 100)
    assert before(provider="other") == (priors().sizes.median, priors().sizes.high)
    assert before(endpoint="embeddings") == (0, 0)


def test_how_hard_the_model_thinks_tells_more_of_its_answers_than_who_asks() -> None:
    """Nearest first: key and effort, effort, and, of an effort that was never seen, key and model."""
    glm, ann = ("wcode", "z-ai/glm-5"), "a1" * 32
    nearest = [(ann, "high"), ("", "high"), (ann, "*"), ("", "*")]
    for known in range(len(nearest)):
        sizes = {(*glm, *who): Sizes(number, 10 * number) for number, who in enumerate(nearest) if number >= known}
        sizes |= {(*glm, "", "low"): Sizes(77, 77), (*glm, ann, ""): Sizes(78, 78)}
        found = estimate(Snapshot(sizes=sizes), provider="wcode", model="z-ai/glm-5", endpoint=CHAT, script="cjk",
                         bytes_in=4000, key=ann, effort="high")  # fmt: skip
        assert (found.output_tokens, found.high_output_tokens) == (known, 10 * known)


def test_a_call_that_named_no_effort_is_like_others_that_named_none() -> None:
    sizes = {("wcode", "z-ai/glm-5", "", effort): Sizes(tokens, tokens) for effort, tokens in (("", 9), ("*", 90))}
    never = cut(outcome=Outcome.UNKNOWN, bytes_out=0)
    assert beyond(Snapshot(sizes=sizes), never).output_tokens == 9
    assert beyond(Snapshot(sizes=sizes), replace(never, effort="high")).output_tokens == 90
    high = {**sizes, ("wcode", "z-ai/glm-5", "", "high"): Sizes(700, 800)}
    assert beyond(Snapshot(sizes=high), replace(never, effort="high")).output_tokens == 700


def test_the_basis_is_the_weakest_of_the_figures() -> None:
    found = estimate(
        replace(LEARNED, sizes={}), provider="wcode", model="z-ai/glm-5", endpoint=CHAT, script="cjk", bytes_in=4000
    )
    assert (found.input_tokens, found.basis) == (1010, Basis.PRIORS)


def test_a_cut_stream_cost_what_came_of_it() -> None:
    assert beyond(LEARNED, cut()) == Beyond(1010, 200)
    assert beyond(LEARNED, cut(bytes_out=0)) == Beyond(1010, 0)


def test_no_answer_is_longer_than_the_request_allowed() -> None:
    assert beyond(LEARNED, cut(max_tokens=120)) == Beyond(1010, 120)


def test_an_answer_that_never_came_is_as_long_as_half_of_its_keys_are() -> None:
    never = cut(outcome=Outcome.UNKNOWN, bytes_out=0)
    assert beyond(LEARNED, never) == Beyond(1010, 40)
    assert beyond(LEARNED, replace(never, key_fingerprint="b2" * 32)) == Beyond(1010, 150)
    assert beyond(LEARNED, replace(never, key_fingerprint="b2" * 32, max_tokens=30)) == Beyond(1010, 30)


def test_a_whole_answer_that_was_cut_had_been_made_to_its_end() -> None:
    whole = cut(stream=False, key_fingerprint="", script="latin", bytes_out=1000)
    assert beyond(LEARNED, whole).output_tokens == 150
    assert beyond(LEARNED, replace(whole, bytes_out=9000)).output_tokens == (9000 - 590) * 215 // 1000 // 2


def test_a_finished_call_without_usage_is_estimated_by_all_its_bytes() -> None:
    assert beyond(LEARNED, cut(outcome=Outcome.FINISHED)) == Beyond(1010, 200)


def test_tokens_that_were_stated_are_not_estimated_again() -> None:
    partial = UsageSource.PARTIAL
    assert beyond(LEARNED, cut(usage=Usage(900, None, None, 30, source=partial))) == Beyond(None, 170)
    assert beyond(LEARNED, cut(usage=Usage(900, None, None, 500, source=partial))) == Beyond(None, 0)
    assert beyond(LEARNED, cut(usage=Usage(output_tokens=30, source=partial), outcome=Outcome.FINISHED)) == Beyond(
        1010, None
    )


def test_embeddings_have_no_output_and_what_is_not_billed_by_its_text_no_estimate() -> None:
    assert beyond(LEARNED, cut(endpoint="embeddings")) == Beyond(1010, None)
    assert beyond(LEARNED, cut(endpoint="batches")) == Beyond()
    assert beyond(LEARNED, cut(parent_id=cut().id)) == Beyond()


def test_a_body_of_unknown_length_is_not_estimated() -> None:
    assert beyond(LEARNED, cut(bytes_in=0)) == Beyond(None, 200)


def test_stated_and_failed_calls_lack_nothing() -> None:
    assert not lacks_usage(made(usage=used(10, 5)))
    assert not lacks_usage(made(usage=used(10, 5), outcome=Outcome.INTERRUPTED))
    assert not lacks_usage(made(usage=UNSTATED, outcome=Outcome.FAILED))
    assert all(
        lacks_usage(made(usage=UNSTATED, outcome=outcome))
        for outcome in (Outcome.UNKNOWN, Outcome.INTERRUPTED, Outcome.FINISHED)
    )


def test_each_endpoint_whose_format_is_read_is_estimated_or_stands_here() -> None:
    by_no_text = {"images/generations", "images/edits", "images/variations", "v1/rerank", "v2/rerank", "v1/ocr"}
    by_no_text.add("*:predict")  # pictures or embeddings: the path doesn't say which
    by_seconds = {"audio/speech", "audio/transcriptions", "audio/translations", "realtime/calls"}
    read = {suffix for each in formats._FORMATS if each is not unread for suffix in each.suffixes}
    assert {endpoint for endpoint in read if not is_estimated(endpoint)} <= by_no_text | by_seconds


def test_an_endpoint_that_names_more_before_it_is_the_same() -> None:
    assert is_estimated("model/*/*/converse-stream")
    assert is_estimated("publishers/anthropic/models/*:streamRawPredict")
    assert not is_estimated("messages/batches")


def test_the_priors_know_every_script() -> None:
    assert set(priors().input) == set(SCRIPTS)


def test_the_priors_come_near_a_real_answer_of_the_first_users_model() -> None:
    """`data/glm-5-response.json` of the facts, written without white space: 1,631 bytes, 210 tokens."""
    found = estimate(
        NOTHING, provider="wcode", model="z-ai/glm-5", endpoint=CHAT, script="cjk", bytes_in=60, bytes_out=1631
    )
    assert found.output_tokens == pytest.approx(210, rel=0.35)


places = st.builds(
    Place,
    st.text(max_size=9),
    st.text(max_size=9),
    st.sampled_from(["", CHAT]),
    st.booleans(),
    st.sampled_from(SCRIPTS),
)
whole = st.integers(-(10**9), 10**9)
snapshots = st.builds(
    Snapshot,
    st.dictionaries(places, st.builds(Line, whole, whole), max_size=5),
    st.dictionaries(st.tuples(st.text(), st.text(), st.text(), st.text()), st.builds(Sizes, whole, whole), max_size=5),
)


@given(snapshots)
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    assert Snapshot.decode(snapshot.encode()) == snapshot


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**9), st.integers(0, 2**40))
def test_a_line_never_tells_less_than_nothing_or_more_than_a_call_can_use(fixed: int, slope: int, size: int) -> None:
    assert 0 <= Line(fixed, slope).at(size) <= MAX_COUNT


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"version":3,"lines":[],"sizes":[]}'),
        *(b'{"version":2,"lines":[[1]],"sizes":[]}', b'{"version":2,"lines":{"a":1},"sizes":[]}'),
        b'{"version":2,"lines":[["p","m","",false,"latin",1.5,2]],"sizes":[]}',
        b'{"version":2,"lines":[],"sizes":[["p","m",null,"",1,2]]}',
        b'{"version":2,"lines":[],"sizes":[["p","m","",1,2]]}',
        b'{"version":1,"lines":[],"sizes":[["p","m","",1,2]]}',
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what is off differs
        Snapshot.decode(payload)


@given(whole, st.integers(0, 10**9), st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.booleans())
def test_whatever_was_learned_an_estimate_is_within_what_is_plausible(
    fixed: int, slope: int, size: int, limit: int | None, is_known: bool
) -> None:
    """At most a token a byte and what a provider adds; answers at most that, or as long as long ones of the model."""
    lines = {Place("p", "", endpoint): Line(fixed, slope) for endpoint in ("", CHAT)}
    sizes = {("p", "m", "", "*"): Sizes(300, 2_000)} if is_known else {}
    found = estimate(
        Snapshot(lines, sizes), provider="p", model="m", endpoint=CHAT, script="latin", bytes_in=size, bytes_out=size,
        max_tokens=limit,
    )  # fmt: skip
    assert found.input_tokens <= size + 1_000
    assert found.output_tokens <= max(size, 2_000 if is_known else 0)
    assert limit is None or found.output_tokens <= limit
