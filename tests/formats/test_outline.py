"""What is told of a body by its two ends is what a parser would find in it, as far as it goes."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting.formats.outline import KEPT, Outline, outline_of

LONG = "x" * 4 * KEPT
USAGE = {"prompt_tokens": 15, "total_tokens": 15}

VALUES = st.recursive(
    st.none() | st.integers() | st.booleans() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ODD = '"x\\\\": "y\\\\", {"usage": ['


def told(body: object, kept: int, indent: int | None, in_ascii: bool, piece: int = 2**20) -> dict[str, Any]:
    data = json.dumps(body, indent=indent, ensure_ascii=in_ascii).encode()
    outline = Outline(kept)
    for begin in range(0, len(data), piece):
        outline.feed(data[begin : begin + piece])
    return dict(outline.fields())


@given(
    st.dictionaries(st.text(), VALUES),
    st.integers(1, 200),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.integers(1, 50),
)
@example({"a": {"usage": 1, "b": {ODD: ODD}}, ODD: {ODD: [ODD, {ODD: 2}]}, "z": 3}, 40, None, True, 7)
def test_a_field_that_is_told_is_the_body_s_own_or_cut(
    body: dict[str, Any], kept: int, indent: int | None, in_ascii: bool, piece: int
) -> None:
    found = told(body, kept, indent, in_ascii, piece)
    assert {name: value for name, value in found.items() if value is not None and value != body[name]} == {}
    assert found.keys() <= body.keys()
    assert told(body, 10**6, indent, in_ascii, piece) == body


@pytest.mark.parametrize("kept", range(1, 120))
def test_wherever_the_ends_are_cut_no_field_within_another_is_told(kept: int) -> None:
    body = {"a": {"usage": 1, ODD: {"usage": 2}}, ODD: ODD, "data": [{"usage": 3, "n": [ODD]}] * 9, "b": {"usage": 4}}
    found = told(body, kept, None, True)
    assert "usage" not in found
    assert all(value in (None, body[name]) for name, value in found.items())


@pytest.mark.parametrize("body", [{"usage": USAGE, "data": LONG, "n": 1}, {"id": 1, "data": [LONG], "usage": USAGE}])
def test_usage_is_told_on_either_side_of_what_is_long(body: dict[str, Any]) -> None:
    assert outline_of(json.dumps(body).encode()) == {**body, "data": None}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"}", b"[1]", b'[{"a": 1}]', b"null", b'"a": 1', b"\xff" * 9, b'{"a": 1}]', b"<p>", LONG.encode()],
)
def test_of_what_is_no_object_nothing_is_told(body: bytes) -> None:
    assert outline_of(body) == ({"a": 1} if body.startswith(b'{"a') else {})


@given(st.lists(st.sampled_from([*b'{}[]":, \\', 0xFF, *b"a1"])))
def test_no_bytes_break_it(body: list[int]) -> None:
    outline_of(bytes(body))


@pytest.mark.parametrize("byte", [b"{", b"}", b"[", b"]", b'"', b"\\", b'":', b'\\"', b"1", b'{"a":'])
def test_no_run_of_bytes_breaks_it(byte: bytes) -> None:
    assert len(outline_of(byte * KEPT)) <= 1
