"""Endpoints that cost money and that we can't read yet, and those that cost nothing.

Calls of the first are written down with usage missing, so that no total hides them. One that gets a file of its own
loses its line here. At the hosts of `providers.toml` that holds for every POST but the free ones, known or not;
elsewhere only for `suffixes`, as anybody may serve `/files`. What goes through a WebSocket (Realtime, Live) is not
seen at all: of such a session only the request that opens it is a call here.

`*` stands for one segment of a path, `**` for what is left of it. Source: the APIs' references, and the paths in the
OpenAI and Anthropic SDKs.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.wire import Answer, Ask, at, kept_block, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "unread"
suffixes: tuple[str, ...] = (
    *("batches", "fine_tuning/jobs", "videos", "realtime/calls", "threads/runs", "threads/*/runs"),
    *("videos/*/remix", "videos/edits", "videos/extensions", "videos/generations"),
    *("services/aigc/*/*", "services/embeddings/*/*"),  # DashScope's own
    *("image_generation", "video_generation", "t2a_v2"),  # MiniMax
    *("v1/complete", "messages/batches"),  # Anthropic; above: OpenAI, and those who follow it
    *("*:batchGenerateContent", "*:asyncBatchEmbedContent", "*:predictLongRunning"),  # Gemini, Vertex
    *("*:rawPredict", "*:streamRawPredict"),  # Vertex, for other vendors' models
    *("async-invoke", "model-invocation-job", "model/*/invoke-with-bidirectional-stream"),  # Bedrock
    *("guardrail/*/version/*/apply", "guardrail-checks/invoke"),
    *("v1/classify", "v1/ocr"),  # Cohere, billed by classification; Mistral, billed by page
)
providers: tuple[str, ...] = ()

at_providers: tuple[str, ...] = (
    *("files", "uploads/*/complete", "containers", "skills", "skills/*/versions"),
    *("vector_stores", "vector_stores/*/files", "vector_stores/*/file_batches", "vector_stores/*/search"),
    *("evals/*/runs", "fine_tuning/alpha/graders/run", "threads/*/runs/*/submit_tool_outputs"),
    *("realtime/sessions", "realtime/transcription_sessions", "realtime/calls/*/accept", "live/sessions"),
    *("realtime/client_secrets", "realtime/translations/client_secrets", "chatkit/sessions"),
    *("agents/sessions", "agents/sessions/*/events", "agents/automations/*/invocations", "videos/characters"),
    *("sessions", "sessions/*/events", "deployments/*/run", "dreams"),  # Anthropic's agents
    *("cachedContents", "auth_tokens", "tunedModels", "fileSearchStores", "batchPredictionJobs"),  # Gemini, Vertex
    *("embed-jobs", "finetuning/finetuned-models"),  # Cohere
    *("conversations", "conversations/*", "conversations/*/items", "conversations/*/restart"),  # Mistral; see `free_of`
    "moderations",  # the same
    "ai/run/**",  # Cloudflare
    *("cortex/inference:embed", "cortex/agent:run", "cortex/analyst/message"),  # Snowflake
    *("agents/*/agentAliases/*/sessions/*/text", "knowledgebases/*/retrieve"),  # Bedrock's agents
    *("flows/*/aliases/*", "flows/*/aliases/*/executions"),
)
"""Recorded at a provider's own host alone, by these names; what is in no list goes by the shape of its path."""

ending_like_billed: tuple[str, ...] = ("threads/*/messages", "publishers/anthropic/models/count-tokens:rawPredict")
"""Free everywhere, though what they end with costs money where nothing stands before it."""

free: tuple[str, ...] = (
    *ending_like_billed,
    *("count_tokens", "count-tokens", "*:countTokens", "*:computeTokens", "input_tokens", "tokenize", "detokenize"),
    *("tokenize-text", "tokenizers/estimate-token-count"),  # xAI, Moonshot
    *("tokenizer", "tokenization"),  # Zhipu and Z.ai, Volcengine
    *("cancel", "*:cancel", "archive", "pause", "unpause", "resume", "stop", "hangup", "reject", "refer"),
    *("activate", "deactivate", "validate", "*:fetchPredictOperation", "event_logging/batch"),
    *("chat/completions/*", "threads", "threads/*", "threads/*/messages/*", "threads/*/runs/*"),
    *("assistants", "assistants/*", "uploads", "uploads/*/parts", "containers/*/files", "vector_stores/*"),
    *("vector_stores/*/files/*", "evals", "evals/*", "skills/*", "fine_tuning/checkpoints/*/permissions"),
    *("audio/voices", "audio/voice_consents", "audio/voice_consents/*", "agents", "agents/*"),
    *("agents/automations", "agents/automations/*", "agents/sessions/*", "sessions/*", "sessions/*/resources/**"),
    *("deployments", "deployments/*", "environments", "environments/**", "memory_stores", "memory_stores/**"),
    *("vaults", "vaults/**", "tunnels", "tunnels/**", "user_profiles", "user_profiles/**"),
    *("webhook_endpoints", "webhook_endpoints/**", "organization/**", "organizations/**"),
    *("projects/*/roles", "projects/*/roles/*", "projects/*/users/*/roles", "projects/*/groups/*/roles"),
    *("keys", "keys/*", "auth/keys", "auth/keys/code", "oauth/token", "oauth2/token", "check-api-key"),
    *("datasets", "connectors", "connectors/*"),
)
"""What buys nothing: counting, cancelling, and what is only kept or looked after."""

_OF_OPENAI = ("conversations", "conversations/*", "conversations/*/items", "moderations")
_OF_BEDROCK = ("sessions", "sessions/*/invocations", "sessions/*/invocationSteps", "sessions/*/invocationSteps/*")
free_of: Mapping[str, tuple[str, ...]] = {
    "openai": _OF_OPENAI,
    "azure": _OF_OPENAI,
    "bedrock": (*_OF_BEDROCK, "tags/*", "tags/*/*"),  # an ARN has a slash, and paths come decoded
}
"""The same at one provider, where another one bills it."""

billed_of: Mapping[str, tuple[str, ...]] = {"bedrock": ("agents/*",)}
"""And what is free elsewhere, and costs money at one: Bedrock's agent that comes with the request."""

many_sided: tuple[str, ...] = ("cloudflare", "databricks", "ollama", "snowflake")
"""Providers whose hosts serve much beside models: there a path that is in no list is none of ours."""


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - what its paths say differs
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=next((limit for name in _LIMITS if (limit := whole(body.get(name)))), None),
        effort=text(at(body, "reasoning", "effort")),
    )


_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens", "max_tokens_to_sample")


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    return None


def answer(body: object) -> Answer:
    return Answer(
        model=text(at(body, "model")) or text(at(body, "modelVersion")),
        id=text(at(body, "id")),
        usage=_unread(next((b for b in (at(body, "usage"), at(body, "usageMetadata")) if b is not None), None)),
        failed=bool(at(body, "error")),
    )


def stream() -> "Reader":
    return Reader()


class Reader:
    """Knows only whether an answer began, ended and failed, by the signs that are common among providers."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._failed = False

    def feed(self, event: Event) -> None:
        self.token_seen = self.token_seen or bool(event.data)
        self.terminal = self.terminal or event.name in _LAST or _LAST_SIGN.search(event.data) is not None
        self._failed = self._failed or event.name in _FAILURES or _ERROR.match(event.data) is not None

    def answer(self) -> Answer:
        return Answer(usage=_unread(None), failed=self._failed)


_LAST = ("response.completed", "response.incomplete", "response.failed", "message_stop")
_LAST_SIGN = re.compile(rb'\A\[DONE\]|"finishReason"\s*:\s*"')
_FAILURES = ("error", "response.failed")
_ERROR = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')


def _unread(block: object) -> Usage:
    counts = Counts()
    counts.flag("format_unread")
    return Usage(block=kept_block(block, counts), anomalies=tuple(counts.anomalies))
