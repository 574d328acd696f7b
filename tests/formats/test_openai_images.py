"""Images: what their rows in the catalogue don't say."""

import json
from collections.abc import Mapping

import pytest

from accounting.formats import Ask
from accounting.formats.openai_images import Reader, answer, ask
from accounting.formats.wire import Answer
from accounting.sse import Splitter

USAGE = {"input_tokens": 50, "output_tokens": 1056, "total_tokens": 1106, "input_tokens_details": {"image_tokens": 40}}


def streamed(*events: Mapping[str, object], limit: int = 200, cut: int = 7) -> Reader:
    reader, splitter = Reader(), Splitter(limit)
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    for begin in range(0, len(stream), cut):
        for event in splitter.feed(stream[begin : begin + cut]):
            reader.feed(event)
    return reader


def completed(image: str, **fields: object) -> dict[str, object]:
    return {"type": "image_generation.completed", "b64_json": image, **fields}


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_an_image_too_large_to_be_read_still_tells_its_usage(cut: int) -> None:
    preview = {"type": "image_generation.partial_image", "b64_json": "x" * 20_000}
    reader = streamed(preview, completed("y" * 20_000, usage=USAGE), cut=cut)
    found = reader.answer().usage
    assert (found.input_tokens, found.image_input_tokens, found.output_tokens, found.images) == (50, 40, 1056, None)
    assert (reader.may_end, found.anomalies) == (True, ())


def test_an_event_too_large_that_tells_none_leaves_its_mark() -> None:
    reader = streamed(completed("y" * 20_000))
    assert (reader.may_end, reader.answer().usage.anomalies) == (False, ("event_too_large",))


def test_each_image_without_tokens_counts_and_one_that_comes_twice_counts_once() -> None:
    first, second = completed("x"), completed("y")
    assert streamed(first, second, second, limit=10_000).answer().usage.images == 2


def test_a_type_that_comes_last_is_found() -> None:
    found = streamed({"usage": USAGE, "b64_json": "x" * 20_000, "type": "image_edit.completed"}, limit=10**6).answer()
    assert found.usage.output_tokens == 1056


def test_a_drawing_s_model_is_billed_beside_in_a_stream_too() -> None:
    drawn = {"model": "gpt-5.4", "input_tokens": 7, "output_tokens": 9, "total_tokens": 16}
    (sub_call,) = streamed(completed("x", usage=USAGE, svg_usage=drawn), limit=10_000).answer().sub_calls
    assert (sub_call.model, sub_call.usage.input_tokens, sub_call.usage.output_tokens) == ("gpt-5.4", 7, 9)


@pytest.mark.parametrize("body", [None, [], {"data": None}, {"created": 1}])
def test_a_body_without_images_leaves_everything_unknown(body: object) -> None:
    assert answer(body) == Answer()


def test_a_model_may_stand_in_the_path_alone() -> None:
    assert ask({"model": "m", "stream": True}, "/v1/images/edits") == Ask("m", True)
    assert ask({}, "/openai/deployments/ours/images/edits?api-version=1") == Ask("ours")
