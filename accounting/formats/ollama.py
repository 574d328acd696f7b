"""Ollama's own chat, generate and embed; what it answers at `/v1` is like everybody's.

Source: Ollama API reference. Streams are objects, one a line, unless `"stream": false` is asked for; the last one says
`"done": true` and states the counts beside it. What was thought counts as output. Of a prompt that was in the cache,
older servers don't state how long it was.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.wire import Answer, Ask, at, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "ollama"
suffixes: tuple[str, ...] = ("api/chat", "api/generate", "api/embed")
providers: tuple[str, ...] = ("ollama",)
"""These paths are everybody's: a web page's own chat may be at one."""


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """`num_predict` of 0 or less bounds nothing."""
    return Ask(
        model=text(body.get("model")),
        stream=body.get("stream") is not False and not path.rstrip("/").lower().endswith("embed"),
        max_tokens=whole(at(body, "options", "num_predict")) or None,
        effort=text(body.get("think")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    return Answer(
        model=text(at(body, "model")),
        finish_reason=text(at(body, "done_reason")),
        usage=usage(body),
        failed=bool(at(body, "error")),
    )


_COUNTS = ("prompt_eval_count", "eval_count")


def usage(body: object) -> Usage:
    """Token counts, which stand beside the answer itself; embeddings have no output."""
    counts = Counts()
    tokens_in, tokens_out = (counts.read(body, each) for each in _COUNTS)
    if tokens_in is None and tokens_out is None and not counts.anomalies:
        return Usage()
    if at(body, "embeddings") is not None:
        tokens_out = 0
    block = {each: at(body, each) for each in _COUNTS if at(body, each) is not None}
    return stated_usage(block, counts, input_tokens=tokens_in, output_tokens=tokens_out)


def stream() -> "Reader":
    return Reader()


_TELLING = re.compile(rb'"done"\s*:\s*true|\A\s*\{\s*"error"\s*:')


class Reader:
    """Reads a streamed answer: its last object has all."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._answer = Answer()
        self._unread = False

    def feed(self, event: Event) -> None:
        self.token_seen = self.token_seen or bool(event.data)
        self._unread = self._unread or event.oversized
        if _TELLING.search(event.data):
            said = loads(event.data)
            known = answer(said)
            self._answer = known._replace(model=known.model or self._answer.model)
            self.terminal = self.terminal or at(said, "done") is True
        elif self._answer.model is None and event.data:
            self._answer = Answer(model=text(at(loads(event.data), "model")))

    def answer(self) -> Answer:
        if not self._unread or self._answer.usage.block is not None:
            return self._answer
        return self._answer._replace(usage=Usage(anomalies=("event_too_large",)))
