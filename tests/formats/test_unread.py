"""What costs money and can't be read yet is never passed over in silence."""

import pytest

from accounting.formats import Ask, find, unknown, unread
from accounting.formats.unread import Reader, answer, ask, asking_for_usage
from accounting.sse import Event
from accounting.usage import UsageSource


def test_its_usage_is_missing_and_the_block_is_kept_for_the_day_it_can_be_read() -> None:
    found = answer({"id": "r_1", "model": "m", "usage": {"input_tokens": 5}})
    assert (found.id, found.model) == ("r_1", "m")
    assert (found.usage.source, found.usage.input_tokens) == (UsageSource.MISSING, None)
    assert (found.usage.block, found.usage.anomalies) == ('{"input_tokens":5}', ("format_unread",))


def test_what_is_asked_for_is_read_where_the_names_are_the_common_ones() -> None:
    body = {"model": "m", "stream": True, "max_output_tokens": 9, "reasoning": {"effort": "low"}}
    assert ask(body, "") == Ask("m", True, 9, "low")
    assert asking_for_usage(body) is None


@pytest.mark.parametrize("name", ["max_output_tokens", "max_completion_tokens", "max_tokens", "max_tokens_to_sample"])
def test_the_longest_answer_is_read_by_any_common_name(name: str) -> None:
    assert ask({name: 9}, "") == Ask(max_tokens=9)


@pytest.mark.parametrize(
    "last",
    [
        Event(b"", "", b"[DONE]"),
        Event(b"", "response.completed", b"{}"),
        Event(b"", "", b'{"candidates": [{"finishReason": "STOP"}]}'),
    ],
)
def test_the_common_signs_of_an_end_end_a_stream(last: Event) -> None:
    reader = Reader()
    reader.feed(Event(b"", "", b'{"text": "[DONE]"}'))
    assert (reader.token_seen, reader.terminal) == (True, False)
    reader.feed(last)
    assert (reader.terminal, reader.answer().failed) == (True, False)


@pytest.mark.parametrize("error", [Event(b"", "error", b""), Event(b"", "", b' {"error": {"code": 500}}')])
def test_an_error_in_a_stream_is_a_failure(error: Event) -> None:
    reader = Reader()
    reader.feed(error)
    assert reader.answer().failed


@pytest.mark.parametrize(
    ("provider", "path", "endpoint"),
    [
        ("openai", "/v1/files", "files"),
        ("openai", "/v1/uploads/u_1/complete?x=1", "uploads/*/complete"),
        ("openai", "/v1/vector_stores/vs_1/search", "vector_stores/*/search"),
        ("openai", "/v1/realtime/client_secrets", "realtime/client_secrets"),
        ("openai", "/v1/agents/sessions", "agents/sessions"),
        ("anthropic", "/v1/skills", "skills"),
        ("gemini", "/v1beta/cachedContents", "cachedContents"),
        ("gemini", "/upload/v1beta/files", "files"),
        ("mistral", "/v1/conversations/c_1", "conversations/*"),
        ("mistral", "/v1/chat/moderations", "moderations"),
        ("cloudflare", "/client/v4/accounts/a_1/ai/run/@cf/meta/llama-3", "ai/run/**"),
        ("snowflake", "/api/v2/cortex/agent:run", "cortex/agent:run"),
        ("bedrock", "/agents/A1/agentAliases/TST/sessions/s-1/text", "agents/*/agentAliases/*/sessions/*/text"),
        ("bedrock", "/agents/s-1", "agents/*"),
        ("bedrock", "/knowledgebases/KB1/retrieve", "knowledgebases/*/retrieve"),
        ("bedrock", "/retrieveAndGenerate", "retrieveAndGenerate"),
        ("bedrock", "/flows/F1/aliases/A1", "flows/*/aliases/*"),
        ("openai", "/v1/brand_new/thing_4f/makes/it", "brand_new/*/makes/it"),
        ("vertex", "/v1/projects/p-1/locations/eu-west1/customJobs", "*/locations/*/customJobs"),
        ("gemini", "/v1beta/models/gemini-9:sing", "v1beta/models/*"),
        ("xai", "/", "/"),
    ],
)
def test_at_a_providers_host_nothing_unknown_passes_in_silence(provider: str, path: str, endpoint: str) -> None:
    match = unknown("POST", path, provider)
    assert match is not None
    assert (match.format.name, match.endpoint) == ("unread", endpoint)


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("anthropic", "/v1/messages/count_tokens?beta=true"),
        ("gemini", "/v1beta/models/gemini-3:countTokens"),
        ("vertex", "/v1/publishers/anthropic/models/count-tokens:rawPredict"),
        ("openai", "/v1/responses/input_tokens"),
        ("openai", "/v1/responses/resp_1/cancel"),
        ("openai", "/v1/moderations"),
        ("openai", "/v1/conversations/c_1/items"),
        ("openai", "/v1/chat/completions/c_1"),
        ("openai", "/v1/containers/c_1/files"),
        ("openai", "/v1/threads"),
        ("openai", "/v1/organization/projects/p_1/users"),
        ("openai", "/v1/agents/a_1"),
        ("cohere", "/v1/tokenize"),
        ("xai", "/v1/tokenize-text"),
        ("moonshot", "/v1/tokenizers/estimate-token-count"),
        ("zhipu", "/api/paas/v4/tokenizer"),
        ("volcengine", "/api/v3/tokenization"),
        ("bedrock", "/sessions/"),
        ("bedrock", "/sessions/s-1/invocationSteps/i-1"),
        ("bedrock", "/tags/arn:aws:bedrock:eu-west-1:1:session/s-1"),
        ("bedrock", "/flows/F1/aliases/A1/executions/e-1/stop"),
        ("openrouter", "/api/v1/keys"),
        ("databricks", "/api/2.0/sql/statements"),
        ("cloudflare", "/client/v4/zones"),
    ],
)
def test_what_is_free_or_none_of_ours_passes(provider: str, path: str) -> None:
    assert find("POST", path, provider) is None
    assert unknown("POST", path, provider) is None


def test_reading_and_deleting_buy_nothing() -> None:
    assert {unknown(method, "/v1/files", "openai") for method in ("GET", "DELETE", "HEAD", "PUT")} == {None}


def test_an_endpoint_is_in_one_list_only() -> None:
    listed = [*unread.suffixes, *unread.at_providers, *unread.free]
    assert len(set(listed)) == len(listed)
    assert [suffix for suffix in unread.free if find("POST", f"/{suffix}".replace("*", "x"), "") is not None] == []
