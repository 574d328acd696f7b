"""What an answer says, and what it lets a client know at each of its bytes."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from accounting.simulated import anthropic, openai_chat
from accounting.simulated.answers import Answer, Asked, tokens
from accounting.simulated.blocks import BLOCKS, PLACES
from accounting.simulated.ledger import Tokens
from accounting.simulated.script import Script

FIXED = "input=100; cached=40; output=50; reasoning=20; events=3"
USED = Tokens(100, 40, 0, 50, 20)


def asked(**more: Any) -> Asked:
    return Asked("/", "sk-test", {"model": "sim/chat", "messages": [{"role": "user", "content": "Hello"}]} | more)


def streamed(script: str, *, include_usage: bool = True) -> Answer:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    return openai_chat.answer(asked(stream=True, **options), Script.parse(f"{FIXED}; {script}"))


def chunks(answer: Answer) -> list[Mapping[str, Any]]:
    data = [piece.data.decode().strip().removeprefix("data: ") for piece in answer.pieces]
    return [json.loads(line) for line in data if line != "[DONE]"]


def test_the_same_question_gets_the_same_answer() -> None:
    once, again = (openai_chat.answer(asked(), Script()) for _ in range(2))
    other = openai_chat.answer(asked(messages=[{"role": "user", "content": "Bye"}]), Script())

    assert once == again
    assert once != other


def test_tokens_are_those_of_the_script_and_never_more_than_the_request_allows() -> None:
    assert tokens(asked(), Script.parse(FIXED)) == USED
    assert tokens(asked(max_tokens=30), Script.parse(FIXED)).output == 30


def test_a_stream_has_no_usage_unless_it_is_asked_for() -> None:
    assert not any("usage" in chunk for chunk in chunks(streamed("", include_usage=False)))
    assert [chunk["usage"] is None for chunk in chunks(streamed(""))] == [True] * 5 + [False]
    assert chunks(streamed(""))[-1]["choices"] == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("include_usage", [True, False])
def test_what_a_whole_stream_tells_is_what_its_last_usage_block_says(place: str, include_usage: bool) -> None:
    answer = streamed(f"place={place}", include_usage=include_usage)
    says_usage = any('"prompt_tokens"' in piece.data.decode() for piece in answer.pieces)

    assert answer.pieces[-1].known == ("finished", USED if says_usage else None)
    assert answer.charged == USED


def test_a_stream_with_running_usage_tells_more_with_each_chunk() -> None:
    told = [piece.known.told for piece in streamed("place=every").pieces]

    assert [t.output for t in told if t] == [10, 20, 30, 40, 50, 50]
    assert told[-1] == USED


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_in_a_good_answer_fails_it_and_is_charged_only_as_far_as_it_tells(stream: bool) -> None:
    ask = asked(stream=stream)
    bare = openai_chat.answer(ask, Script.parse(f"{FIXED}; error"))
    with_usage = openai_chat.answer(ask, Script.parse(f"{FIXED}; error=usage"))

    assert (bare.status, *bare.pieces[-1].known, bare.charged) == (200, "failed", None, Tokens())
    assert (*with_usage.pieces[-1].known, with_usage.charged) == ("failed", USED, USED)


@pytest.mark.parametrize("answer", [openai_chat.answer, anthropic.answer])
def test_a_stream_without_its_end_is_interrupted(answer: Callable[[Asked, Script], Answer]) -> None:
    assert answer(asked(stream=True), Script.parse("no-end")).pieces[-1].known.outcome == "interrupted"
    assert answer(asked(stream=True), Script()).pieces[-1].known.outcome == "finished"


def test_a_messages_stream_tells_the_input_at_once_and_the_output_at_its_end() -> None:
    answer = anthropic.answer(asked(stream=True), Script.parse(f"{FIXED}; written=10"))
    told = [piece.known.told for piece in answer.pieces]

    assert told[0] == Tokens(100, 40, 10, 1, 0)
    assert told[-3:] == [told[0], Tokens(100, 40, 10, 50, 20), Tokens(100, 40, 10, 50, 20)]


def test_the_input_of_messages_leaves_out_what_the_cache_held() -> None:
    answer = anthropic.answer(asked(), Script.parse(f"{FIXED}; written=10"))
    usage = json.loads(answer.pieces[0].data)["usage"]

    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert [usage[kind] for kind in kinds] == [50, 40, 10]


@pytest.mark.parametrize(
    ("shape", "stated", "charged"),
    [
        ("plain", (100, 50, 150), USED),
        ("no-details", (100, 50, 150), Tokens(100, 0, 0, 50, 0)),
        ("reasoning-over-output", (100, 50, 150), Tokens(100, 40, 0, 50, 50)),
        ("reasoning-apart", (100, 30, 150), USED),
        ("hidden-output", (100, 16, 150), Tokens(100, 0, 0, 50, 0)),
        ("total-too-small", (100, 50, 100), USED),
        ("cached-over-input", (100, 50, 150), Tokens(100, 100, 0, 50, 20)),
        ("text-counts", ("100", "50", "150"), USED),
        ("fractions", (100, 49.75, 150), USED),
    ],
)
def test_odd_blocks_are_charged_by_what_they_say_of_the_whole(
    shape: str, stated: tuple[object, ...], charged: Tokens
) -> None:
    block, is_charged = BLOCKS[shape](USED)

    assert block is not None
    assert (block["prompt_tokens"], block["completion_tokens"], block["total_tokens"]) == stated
    assert is_charged == charged


def test_the_recorded_answer_is_the_real_one_and_says_the_same_in_a_stream() -> None:
    script = Script.parse("recorded; place=finish")
    document = json.loads(openai_chat.answer(asked(), script).pieces[0].data)
    stream = chunks(openai_chat.answer(asked(stream=True), script))

    assert document["usage"]["completion_tokens_details"]["reasoning_tokens"] == 229
    assert stream[-1]["usage"] == document["usage"]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in stream)
    assert text == document["choices"][0]["message"]["content"]
