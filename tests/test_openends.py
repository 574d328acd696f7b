import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import openends
from accounting.openends import MOST_ITEMS, NONE, open_ends

TINY = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def user(*parts: object) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def names(**fields: object) -> tuple[str, ...]:
    return open_ends(fields).names


NAMED: list[tuple[dict[str, Any], str]] = [
    (user({"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}), "a remote image"),
    (user({"type": "image_url", "image_url": "https://e.com/a.png"}), "a remote image"),
    ({"input": [{"content": [{"type": "input_image", "image_url": "http://e.com/a"}]}]}, "a remote image"),
    (user({"type": "image", "source": {"type": "url", "url": "https://e.com/a"}}), "a remote image"),
    ({"messages": [{"role": "user", "images": ["https://e.com/a"]}]}, "a remote image"),
    ({"input": [{"image": "https://e.com/a"}]}, "a remote image"),
    (user({"type": "document", "source": {"type": "url", "url": "https://e.com/a"}}), "a remote file"),
    (user({"type": "input_file", "file_url": "https://e.com/a.pdf"}), "a remote file"),
    (user({"type": "document_url", "document_url": "https://e.com/a.pdf"}), "a remote file"),
    ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://a", "mimeType": "image/png"}}]}]}, "a remote file"),
    ({"contents": [{"parts": [{"file_data": {"file_uri": "https://a"}}]}]}, "a remote file"),
    (user({"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a"}}}}), "a remote file"),
    (user({"type": "file", "file": {"file_id": "file-1"}}), "a file by its id"),
    (user({"type": "image", "source": {"type": "file", "file_id": "file_1"}}), "a file by its id"),
    (user({"type": "container_upload", "file_id": "file_1"}), "a file by its id"),
    (user({"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERi0="}}), "a document"),
    (user({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}), "a document"),
    (user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf"}}), "a document"),
    (user({"document": {"format": "pdf", "source": {"bytes": "JVBERi0="}}}), "a document"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "application/pdf", "data": "x"}}]}]}, "a document"),
    (user({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}), "sound"),
    ({"contents": [{"parts": [{"inline_data": {"mime_type": "audio/mp3", "data": "x"}}]}]}, "sound"),
    ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "sound"),
    (user({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,x"}}), "a video"),
    ({"previous_response_id": "resp_1", "input": "Hi"}, "a conversation that the provider keeps"),
    ({"conversation": {"id": "conv_1"}, "input": "Hi"}, "a conversation that the provider keeps"),
    ({"conversation": "conv_1", "input": "Hi"}, "a conversation that the provider keeps"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "a conversation that the provider keeps"),
    ({"previous_interaction_id": "v1", "input": "Hi"}, "a conversation that the provider keeps"),
    ({"cachedContent": "cachedContents/1"}, "a context that the provider keeps"),
    ({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}, "a context that the provider keeps"),
    ({"prompt": {"id": "pmpt_1"}}, "a prompt that the provider keeps"),
    ({"preset": "mine"}, "a prompt that the provider keeps"),
    ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "a picture that the provider keeps"),
    ({"agent": "deep-research-pro"}, "an agent"),
    ({"container": "cntr_1"}, "a container"),
    ({"mcp_servers": [{"type": "url", "url": "https://e.com"}]}, "MCP servers"),
    ({"plugins": [{"id": "web"}]}, "plugins"),
    ({"connectors": [{"id": "web-search"}]}, "connectors"),
    ({"data_sources": [{"type": "azure_search"}]}, "a search of the caller's index"),
    ({"web_search_options": {}}, "web search"),
    ({"search_parameters": {"mode": "auto"}}, "web search"),
    ({"enable_search": True}, "web search"),
    ({"models": ["a/b", "c/d"]}, "another model to fall back to"),
    ({"prediction": {"type": "content", "content": "x"}}, "a predicted output"),
    ({"modalities": ["text", "audio"]}, "an answer in sound"),
    ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "pictures in the answer"),
    ({"context_management": [{"type": "compaction"}]}, "a summary of the conversation that the provider makes"),
    (
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        "a summary of the conversation that the provider makes",
    ),
    ({"service_tier": "priority"}, "the service tier priority"),
    ({"serviceTier": {"type": "priority"}}, "the service tier priority"),
    ({"speed": "fast"}, "fast mode"),
    ({"inference_geo": "us"}, "a place where it must run"),
    ({"performanceConfig": {"latency": "optimized"}}, "optimized latency"),
    ({"tools": [{"type": "web_search_preview"}]}, "web search"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web search"),
    ({"tools": [{"type": "x_search"}]}, "web search"),
    ({"tools": [{"googleSearch": {}}]}, "web search"),
    ({"tools": [{"google_search_retrieval": {}}]}, "web search"),
    ({"tools": [{"functionDeclarations": [], "googleSearch": {}}]}, "web search"),
    ({"tools": [{"urlContext": {}}]}, "web fetch"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "file search"),
    ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "code execution"),
    ({"tools": [{"codeExecution": {}}]}, "code execution"),
    ({"tools": [{"type": "computer_use_preview"}]}, "computer use"),
    ({"tools": [{"type": "mcp", "server_url": "https://e.com"}]}, "MCP servers"),
    ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}, "MCP servers"),
    ({"tools": [{"type": "image_generation"}]}, "image generation"),
    ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, "the tool shell"),
    ({"tools": [{"type": "namespace", "tools": [{"type": "web_search"}]}]}, "web search"),
    ({"tools": [{"type": "brand new\n"}]}, "the tool brand new "),
    ({"tools": ["what is this"]}, "a tool of no known form"),
    ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, "the tool systemTool"),
]


@pytest.mark.parametrize(("fields", "name"), NAMED, ids=[json.dumps(fields)[:80] for fields, _ in NAMED])
def test_what_can_cost_any_amount_is_named(fields: dict[str, Any], name: str) -> None:
    assert open_ends(fields).names == (name,)


@pytest.mark.parametrize(
    "fields",
    [
        user({"type": "text", "text": "look at https://e.com/a.png and file_id"}),
        user({"type": "text", "text": "data: the numbers are 1, 2 and 3"}),
        user({"type": "tool_use", "id": "1", "name": "f", "input": {"file_id": "x", "image_url": "https://e.com"}}),
        user({"toolUse": {"toolUseId": "1", "name": "f", "input": {"file_id": "x"}}}),
        user({"functionCall": {"name": "f", "args": {"file_id": "x"}}}),
        user({"functionResponse": {"name": "f", "response": {"file_url": "https://e.com"}}}),
        user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}}),
        user({"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "SGk="}}),
        user({"type": "search_result", "source": "https://e.com", "content": [{"type": "text", "text": "x"}]}),
        user({"document": {"format": "md", "source": {"bytes": "SGk="}}}),
        {"tools": [FUNCTION, {"type": "custom", "name": "c"}, {"name": "n", "input_schema": {"file_id": "x"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728", "name": "e"}]},
        {"tools": [{"type": "shell", "environment": {"type": "local"}}, {"type": "local_shell"}]},
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"properties": {"file_id": {}}}}]}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}},
        {"tools": [{"type": "namespace", "tools": [FUNCTION]}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"file_id": {}}}}}},
        {"metadata": {"file_id": "x", "conversation": "y"}},
        {
            "serviceTier": "SERVICE_TIER_STANDARD",
            "service_tier": "flex",
            "modalities": ["text"],
            "search_parameters": {"mode": "off"},
            "enable_search": False,
        },
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"prompt": "Hi", "plugins": [], "tools": None, "conversation": None, "audio": None, "container": None},
        {"messages": [{"role": "tool", "content": "image_url"}], "images": []},
    ],
    ids=lambda fields: json.dumps(fields)[:80],
)
def test_what_the_caller_sends_as_text_or_runs_himself_is_no_open_end(fields: dict[str, Any]) -> None:
    assert open_ends(fields) == NONE


@pytest.mark.parametrize(
    "fields",
    [
        user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{TINY}"}}),
        user({"type": "input_image", "image_url": f"data:image/png;base64,{TINY}"}),
        user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TINY}}),
        user({"image": {"format": "png", "source": {"bytes": TINY}}}),
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": TINY}}]}]},
        {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": TINY}}]}]},
        {"messages": [{"role": "user", "content": "Hi", "images": [TINY]}]},
        {"input": [{"image": TINY}]},
        {"input": [f"data:image/png;base64,{TINY}"]},
    ],
    ids=lambda fields: json.dumps(fields)[:60],
)
def test_a_picture_in_the_request_is_counted(fields: dict[str, Any]) -> None:
    assert (open_ends(fields).names, open_ends(fields).pictures) == ((), 1)


def test_each_is_named_once() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}
    assert open_ends(user(part, part, {"file_id": "a"}, {"file_id": "b"})).names == (
        "a file by its id",
        "a remote image",
    )


def test_a_request_of_more_parts_than_are_looked_through_is_an_open_end() -> None:
    assert names(input=[1] * (MOST_ITEMS - 10)) == ()
    assert names(input=[1] * (MOST_ITEMS + 10)) == ("more parts than are looked through",)
    assert names(input=[{}] * (MOST_ITEMS + 10)) == ("more parts than are looked through",)


def test_a_request_as_deep_as_it_may_be_is_looked_through() -> None:
    deep: Any = {"file_id": "x"}
    for _ in range(5_000):
        deep = [deep]
    assert names(input=deep) == ("a file by its id",)


def test_the_largest_request_of_nothing_but_braces_is_given_up_in_time() -> None:
    """16 MiB of them, parsed: a walk to its end would take seconds."""
    hostile: list[list[dict[str, Any]]] = [[{}] * 1_000 for _ in range(8_000)]
    began = time.perf_counter()
    assert names(input=hostile) == ("more parts than are looked through",)
    assert time.perf_counter() - began < 2


keys = st.sampled_from([*openends._RULES, *openends._NOT_LOOKED_INTO, "content", "url"])
texts = st.sampled_from(["", "https://e.com", "data:image/png;base64,x", "data:", "url", "base64", "fast", "\ud800"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, anything, max_size=4))
def test_no_request_is_beyond_it(fields: dict[str, Any]) -> None:
    found = open_ends(fields)
    assert len(set(found.names)) == len(found.names)
    assert all(name and name.isprintable() for name in found.names)


@given(
    anything, st.sampled_from(NAMED), st.lists(st.sampled_from(["content", "messages", "input", "parts"]), max_size=3)
)
def test_an_open_end_is_found_wherever_it_stands_and_whatever_stands_beside_it(
    beside: Any, named: tuple[dict[str, Any], str], path: list[str]
) -> None:
    fields, name = named
    for key in path:
        fields = {key: [beside, fields]}
    assert name in open_ends(fields).names
