"""At hosts that nobody lists a path that other APIs have, too, is a call where something tells that it is one."""

import pytest

from accounting.formats.unlisted import is_a_model_s


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("messages", "/api/channels/1/messages"),
        ("messages", "/v1/rooms/7/messages"),
        ("messages", "/messages"),
        ("responses", "/api/forms/9/responses/"),
        ("interactions", "/interactions?v1/interactions"),
        ("batches", "/v12/warehouse/batches"),
        ("videos", "/users/me/videos"),
        ("completions", "/vertical/completions"),
    ],
)
def test_a_word_that_anybody_uses_is_no_call(endpoint: str, path: str) -> None:
    assert not is_a_model_s(endpoint, path, {"user-agent": "python-httpx/0.28"})


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("messages", "/v1/messages?beta=true"),
        ("responses", "/proxy/v1/responses/"),
        ("interactions", "/v1beta/interactions"),
        ("embeddings", "/api/paas/v4/embeddings"),
        ("embeddings", "/openai/deployments/d/embeddings"),
        ("responses", "/account/gateway/openai/responses"),
        ("messages", "/api/anthropic/messages"),
        ("chat/completions", "/api/gpt/chat/completions"),
        ("*:generateContent", "/models/gemini-3:generateContent"),
        ("async-invoke", "/async-invoke"),
        ("multimodalembeddings", "/multimodalembeddings"),
    ],
)
def test_a_version_or_the_name_of_an_api_tells(endpoint: str, path: str) -> None:
    assert is_a_model_s(endpoint, path, {})


@pytest.mark.parametrize(
    "headers",
    [
        {"anthropic-version": "2023-06-01"},
        {"user-agent": "OpenAI/Python 2.8.0"},
        {"user-agent": "AsyncAzureOpenAI/Python 2.8.0"},
        {"user-agent": "AnthropicVertex/Python 0.75.0"},
    ],
)
def test_what_only_a_client_of_such_an_api_sends_tells(headers: dict[str, str]) -> None:
    assert is_a_model_s("messages", "/our/gateway/messages", headers)
