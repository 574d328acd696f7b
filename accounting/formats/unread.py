"""Endpoints that cost money and that we can't read yet.

Their calls are written down with usage missing, so that no total hides them. One that gets a file of its own
loses its line here.
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


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - what its paths say differs
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is True,
        max_tokens=whole(body.get("max_output_tokens")) or whole(body.get("max_tokens")),
        effort=text(at(body, "reasoning", "effort")),
    )


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
