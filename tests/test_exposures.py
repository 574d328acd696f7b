import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.estimates import NOTHING, Line, Place, Sizes, Snapshot, priors
from accounting.exposure import Exposure
from accounting.exposures import MOST_CHOICES, PICTURE, exposure_of
from accounting.scripts import SCRIPTS
from accounting.usage import MAX_COUNT, Call, Quantities
from tests.books import made

ANN = "a1" * 32
HELLO = {"model": "z-ai/glm-5", "messages": [{"role": "user", "content": "Hello, who are you?"}]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
LEARNED = Snapshot(
    {Place("wcode", "z-ai/glm-5", script="latin"): Line(10, 250_000)},
    {
        ("wcode", "z-ai/glm-5", "", "*"): Sizes(150, 900),
        ("wcode", "z-ai/glm-5", "", "high"): Sizes(2_000, 9_000),
        ("wcode", "z-ai/glm-5", ANN, "*"): Sizes(40, 60),
    },
)


def started(fields: object = HELLO, **changes: Any) -> Call:
    """A call that asks for this, as capture writes it down."""
    size = len(json.dumps(fields, default=str)) if fields else 0
    asked: dict[str, Any] = {"script": "latin", "bytes_in": size, "key_fingerprint": "b2" * 32, "outcome": None}
    return replace(made(), **{**asked, **changes})


def of(
    fields: dict[str, Any] = HELLO, snapshot: Snapshot = LEARNED, *, strict: bool = True, **changes: Any
) -> Exposure:
    return exposure_of(snapshot, started(fields, **changes), fields, strict=strict)


def test_input_is_estimated_by_the_bytes_and_output_by_long_answers_of_the_model() -> None:
    found = of(bytes_in=4_000)
    assert (found.input_tokens, found.output_tokens, found.is_learned) == (1_010, 900, True)


def test_the_key_and_above_all_the_effort_tell_how_long_answers_are() -> None:
    assert of(key_fingerprint=ANN).output_tokens == 60
    assert of(key_fingerprint=ANN, effort="high").output_tokens == 9_000


def test_no_answer_is_longer_than_the_request_allows() -> None:
    found = of(max_tokens=100)
    assert (found.output_tokens, found.max_tokens) == (100, 100)


def test_a_small_call_of_a_known_model_sets_aside_what_such_calls_use_and_not_what_its_client_allows() -> None:
    """Clients send max_tokens of 8,192 to 32,000 as a habit."""
    assert of(bytes_in=96, max_tokens=32_000).likely() == Quantities(input=10 + 24, output=900, requests=1)
    assert of(max_tokens=32_000, snapshot=NOTHING).likely().output == 32_000


def test_a_model_that_is_not_known_is_told_by_the_priors_and_says_so() -> None:
    found = of(snapshot=NOTHING)
    assert (found.output_tokens, found.is_learned) == (priors().sizes.high, False)


def test_the_most_is_a_token_a_byte_and_max_tokens() -> None:
    assert of(max_tokens=500, bytes_in=96).most() == Quantities(input=96, output=500, requests=1)


@pytest.mark.parametrize(
    "more",
    [
        *({"tools": TOOLS}, {"functions": [{"name": "f"}]}, {"toolConfig": {"tools": []}}),
        *({"response_format": {"type": "json_object"}}, {"output_config": {"format": {}}}),
    ],
)
def test_where_there_are_tools_or_a_form_to_answer_in_a_provider_adds_to_the_input(more: dict[str, Any]) -> None:
    assert of({**HELLO, **more}, bytes_in=200).most_input_tokens == 1_200


def test_a_model_of_which_was_learned_that_its_provider_adds_more_has_more_at_most() -> None:
    adding = Snapshot({Place("wcode", "z-ai/glm-5", script="latin"): Line(600, 250_000)})
    found = of(snapshot=adding, bytes_in=100, max_tokens=5)
    assert found.most_input_tokens == found.input_tokens == 625


@pytest.mark.parametrize(("fields", "size"), [({}, 0), ({}, 5_000), (HELLO, 0)])
def test_a_body_that_is_not_in_memory_is_bounded_by_nothing(fields: dict[str, Any], size: int) -> None:
    found = of(fields, bytes_in=size, max_tokens=5)
    assert found.most_input_tokens is None
    assert found.most() is None
    assert found.reasons() == ("its input is not in memory",)


def test_a_tiny_picture_may_be_a_large_one() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    body = {"messages": [{"role": "user", "content": [picture, picture]}]}
    assert of(body, bytes_in=300).most_input_tokens == 300 + 2 * PICTURE
    assert of(body, bytes_in=300).unbounded == ()


def test_open_ends_are_looked_for_only_where_somebody_asks_for_the_most() -> None:
    fields = {**HELLO, "previous_response_id": "resp_1"}
    assert of(fields, max_tokens=5).reasons() == ("a conversation that the provider keeps can cost any amount",)
    assert of(fields, max_tokens=5).most() is None
    assert of(fields, strict=False).unbounded == ()


@pytest.mark.parametrize(
    ("more", "choices"),
    [
        ({"n": 4}, 4),
        ({"n": 2, "best_of": 5}, 5),
        ({"generationConfig": {"candidateCount": 3}}, 3),
        ({"generation_config": {"candidate_count": 3}}, 3),
        ({"num_generations": 2}, 2),
        ({"generationConfig": {"candidateCount": 3}, "generation_config": {"candidate_count": 8}}, 8),
        ({"n": None}, 1),
        ({"n": 10**30}, MOST_CHOICES),
        ({"generationConfig": "x"}, 1),
    ],
)
def test_each_answer_that_is_asked_for_counts(more: dict[str, Any], choices: int) -> None:
    found = of({**HELLO, **more}, max_tokens=100)
    assert found.choices == choices
    most = found.most()
    assert most is not None
    assert most.output == 100 * choices
    assert found.likely().output == 100 * choices


@pytest.mark.parametrize("odd", [True, 0, -4, "8", Decimal("2.0"), [3]])
@pytest.mark.parametrize("endpoint", ["chat/completions", "images/generations"])
def test_a_number_of_answers_that_not_all_servers_read_alike_bounds_nothing(odd: object, endpoint: str) -> None:
    """Lenient ones take "8" for eight."""
    found = of({**HELLO, "n": odd}, max_tokens=100, endpoint=endpoint)
    assert found.unbounded == ("its n is no whole number above 0",)
    assert found.most() is None
    assert found.choices == 1
    assert of({"input": "one", "n": odd}, endpoint="embeddings").unbounded == ()


def test_the_most_is_by_the_largest_of_all_the_bounds_given_and_what_is_likely_by_the_one_that_the_books_have() -> None:
    found = of({**HELLO, "max_completion_tokens": 1, "max_tokens": 8_000}, NOTHING, max_tokens=1, bytes_in=96)
    assert found.most() == Quantities(input=96, output=8_000, requests=1)
    assert (found.max_tokens, found.likely().output) == (1, 1)


def test_a_bound_that_is_not_known_to_hold_is_none_but_what_it_allows_is_more_than_the_default() -> None:
    fields = {**HELLO, "max_completion_tokens": 10}
    found = of(fields, NOTHING, provider="deepseek", max_tokens=10)
    assert found.reasons() == ("deepseek is not known to keep to max_completion_tokens, but to max_tokens",)
    assert found.most() is None
    assert found.reasons(default=500) == ()
    assert [output_at_most(found, default) for default in (500, 5)] == [500, 10]
    assert output_at_most(of(fields, NOTHING, provider="openai", max_tokens=10), 500) == 10


def output_at_most(found: Exposure, default: int) -> int:
    most = found.most(default)
    assert most is not None
    return most.output


def test_a_bound_of_nothing_is_none() -> None:
    found = of({**HELLO, "max_tokens": 0}, NOTHING, max_tokens=0)
    assert found.reasons() == ("its max_tokens is no whole number above 0",)
    assert output_at_most(found, 500) == 500
    assert of({**HELLO, "max_tokens": 0}, strict=False, max_tokens=0).reasons() == ()


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("Hi", 2), (["Hi"], 2), (["Hi", "Ho", "Hu"], 6), ([[1, 2], [3]], 4), ([1, 2, 3], 2), ([], 2)],
)
def test_each_prompt_of_a_completion_is_answered(prompt: object, choices: int) -> None:
    assert of({"prompt": prompt, "n": 2}, endpoint="completions").choices == choices


def test_embeddings_put_out_nothing_and_need_no_max_tokens() -> None:
    found = of({"model": "e", "input": ["one", "two"], "n": 7}, endpoint="embeddings", bytes_in=50)
    assert (found.output_tokens, found.max_tokens, found.choices) == (0, 0, 1)
    assert found.reasons() == ()
    assert found.most() == Quantities(input=50, requests=1)
    assert found.likely().output == 0


@pytest.mark.parametrize(
    ("endpoint", "fields", "images"),
    [
        ("images/generations", {"prompt": "a cat", "n": 3}, 3),
        ("images/generations", {"prompt": "a cat"}, 1),
        ("images/edits", {}, 1),
        ("images/generations", {"prompt": "a cat", "n": "3"}, 1),
        ("*:predict", {"instances": [{"prompt": "a cat"}] * 2, "parameters": {"sampleCount": 4}}, 8),
        ("*:predict", {"instances": [{"content": "to be embedded"}]}, 0),
        ("*:predict", {"instances": "x"}, 0),
        ("chat/completions", {**HELLO, "n": 3}, 0),
    ],
)
def test_pictures_are_counted_where_they_are_drawn(endpoint: str, fields: dict[str, Any], images: int) -> None:
    assert of(fields, endpoint=endpoint).images == images
    assert of(fields, endpoint=endpoint).likely().images == images


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ({"endpoint": "audio/speech"}, "an endpoint that is not billed by its text"),
        ({"endpoint": "v2/rerank"}, "an endpoint that is not billed by its text"),
        ({"provider": "perplexity"}, "web search"),
        ({"request_model": "openai/gpt-4o:online"}, "web search"),
        ({"request_model": "gpt-4o-search-preview"}, "web search"),
        ({"provider": "groq", "request_model": "groq/compound"}, "tools that the model itself runs"),
        ({"request_model": "o3-deep-research"}, "deep research"),
        ({"request_model": "arn:aws:bedrock:us-east-1:1:prompt/X"}, "a prompt that the provider keeps"),
        ({"request_model": "@preset/mine"}, "a prompt that the provider keeps"),
        ({"provider": "dashscope"}, "thinking that max_tokens does not bound"),
        ({"provider": "siliconflow"}, "thinking that max_tokens does not bound"),
        ({"provider": "volcengine"}, "thinking that max_tokens does not bound"),
    ],
)
def test_what_no_field_tells_is_told_by_endpoint_provider_or_model(call: dict[str, Any], name: str) -> None:
    assert of(max_tokens=5, **call).unbounded == (f"{name} can cost any amount",)
    assert of(max_tokens=5, strict=False, **call).unbounded == ()


def test_what_is_switched_off_is_no_open_end() -> None:
    assert of({**HELLO, "disable_search": True}, provider="perplexity").unbounded == ()
    for provider in ("dashscope", "siliconflow", "volcengine", "byteplus"):
        assert of({**HELLO, "enable_thinking": False}, provider=provider).unbounded == ()
        assert of({**HELLO, "thinking": {"type": "disabled"}}, provider=provider).unbounded == ()
    assert of({**HELLO, "max_completion_tokens": 5}, provider="volcengine").unbounded == ()
    assert of({**HELLO, "max_completion_tokens": 5}, provider="dashscope").unbounded != ()
    assert of(provider="dashscope", endpoint="embeddings").unbounded == ()


def test_each_reason_is_given_once() -> None:
    assert of({**HELLO, "web_search_options": {}}, provider="perplexity").unbounded == (
        "web search can cost any amount",
    )


def test_a_bound_beyond_reason_is_one_that_the_books_can_hold() -> None:
    most = of({**HELLO, "n": 10**30}, max_tokens=2**53).most()
    assert most is not None
    assert most.output == MAX_COUNT * MOST_CHOICES


counts = st.integers(-(10**6), 10**6)
snapshots = st.builds(
    lambda lines, sizes: Snapshot(
        {Place("wcode", *place): line for place, line in lines.items()},
        {("wcode", "z-ai/glm-5", *who): Sizes(min(size), max(size)) for who, size in sizes.items()},
    ),
    st.dictionaries(
        st.tuples(st.sampled_from(["", "z-ai/glm-5"]), st.just(""), st.just(False), st.sampled_from(["", *SCRIPTS])),
        st.builds(Line, counts, st.integers(0, 3_000_000)),
        max_size=4,
    ),
    st.dictionaries(
        st.tuples(st.sampled_from(["", ANN]), st.sampled_from(["", "*", "high"])),
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
        max_size=4,
    ),
)
calls = st.fixed_dictionaries(
    {
        "max_tokens": st.none() | st.integers(0, 10**6),
        "effort": st.sampled_from([None, "", "high", "low"]),
        "key_fingerprint": st.sampled_from([ANN, "b2" * 32]),
        "script": st.sampled_from([None, *SCRIPTS]),
        "endpoint": st.sampled_from(["chat/completions", "embeddings", "images/generations", "messages"]),
        "stream": st.booleans(),
    }
)
bodies = st.builds(
    lambda text, more: {"messages": [{"role": "user", "content": text}], **more},
    st.text(max_size=300),
    st.fixed_dictionaries(
        {}, optional={"n": st.integers(-2, 9), "tools": st.just(TOOLS), "best_of": st.integers(0, 9)}
    ),
)


@given(snapshots, calls, bodies, st.none() | st.integers(0, 10**6), st.booleans())
def test_the_most_is_never_less_than_what_is_likely(
    snapshot: Snapshot, call: dict[str, Any], fields: dict[str, Any], default: int | None, strict: bool
) -> None:
    """For any call that bounds its answer, or of a default that is at least as long as the model's answers."""
    found = of(fields, snapshot, strict=strict, **call)
    likely, most = found.likely(default), found.most(default)
    assert min(likely) >= 0
    if most is None:
        assert found.reasons(default)
    elif call["max_tokens"] is not None or found.output_tokens <= (default or 0):
        assert all(more >= less for more, less in zip(most, likely, strict=True))


@given(calls, bodies, st.data())
def test_no_call_that_keeps_its_own_bounds_uses_more_than_the_most(
    call: dict[str, Any], fields: dict[str, Any], data: st.DataObject
) -> None:
    """A token is a byte of what was written at least, and each answer is at most as long as was allowed."""
    found = of(fields, NOTHING, bytes_in=len(json.dumps(fields, ensure_ascii=False).encode()), **call)
    if (most := found.most()) is None:
        return
    content = fields["messages"][0]["content"]
    used_in = data.draw(st.integers(0, len(content.encode("utf-8", "surrogatepass"))))
    answers = max(1, fields.get("n", 1)) if call["endpoint"] != "embeddings" else 0
    used_out = sum(data.draw(st.integers(0, call["max_tokens"] or 0)) for _ in range(answers))
    assert used_in <= most.input
    assert used_out <= most.output


@given(snapshots, calls, bodies)
def test_looking_closer_never_makes_less_of_a_call(
    snapshot: Snapshot, call: dict[str, Any], fields: dict[str, Any]
) -> None:
    loose, strict = (of(fields, snapshot, strict=each, **call) for each in (False, True))
    assert strict.likely() == loose.likely()
    assert set(strict.reasons()) >= set(loose.reasons())


@given(snapshots, calls, bodies, st.integers(0, 10**6))
def test_who_allows_less_never_sets_aside_more(
    snapshot: Snapshot, call: dict[str, Any], fields: dict[str, Any], less: int
) -> None:
    more, fewer = of(fields, snapshot, **call), of(fields, snapshot, **{**call, "max_tokens": less})
    if call["max_tokens"] is not None and less <= call["max_tokens"]:
        assert fewer.likely().output <= more.likely().output


def test_a_small_request_is_told_in_no_time() -> None:
    """Some tens of microseconds; the bound is ten times that, for slow machines."""
    fields = {**HELLO, "messages": [{"role": "user", "content": "x" * 900}]}
    call = started(fields, max_tokens=1_000)
    began = time.perf_counter()
    for _ in range(200):
        exposure_of(LEARNED, call, fields, strict=False)
    assert (time.perf_counter() - began) / 200 < 300e-6


def test_a_bound_that_is_no_number_above_zero_is_told_as_such() -> None:
    for odd in (0, -1, "8", True, 7.5):
        assert of({**HELLO, "max_tokens": odd}).reasons() == ("its max_tokens is no whole number above 0",)
    assert of({**HELLO, "max_tokens": None}).reasons() == ("it names no max_tokens",)


def test_only_what_is_not_the_answer_is_open_input() -> None:
    assert of(HELLO).open_input() == ()
    assert of({**HELLO, "web_search_options": {}, "n": "2"}).open_input() == (
        "web search can cost any amount",
        "its n is no whole number above 0",
    )
