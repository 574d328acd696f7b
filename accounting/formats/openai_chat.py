"""OpenAI chat completions, and the many providers that speak it.

Source: OpenAI API reference, chat completion object and chunk; what others make of it is named where it is read. The
`usage` block itself is read in `chat_usage`; a dialect that reads it otherwise passes its own way of reading.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.formats.chat_usage import ReadsUsage, usage
from accounting.formats.falling import counts_something, fallen, falls
from accounting.formats.wire import Answer, Ask, at, fields, loads, text, whole
from accounting.sse import Event

name = "openai_chat"
suffixes: tuple[str, ...] = (
    "chat/completions",
    "text/chatcompletion_v2",  # MiniMax
    "cortex/inference:complete",  # Snowflake
    "serving-endpoints/*/invocations",  # Databricks
)
providers: tuple[str, ...] = ()

_Fields = Mapping[str, Any]
"""Of a JSON object; empty where something else stood."""


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """`max_completion_tokens` is the newer name, and holds over `max_tokens`."""
    limit = whole(body.get("max_completion_tokens"))
    return Ask(
        model=text(body.get("model")) or deployment(path),
        stream=body.get("stream") is True,
        max_tokens=whole(body.get("max_tokens")) if limit is None else limit,
        effort=text(body.get("reasoning_effort")) or text(at(body, "reasoning", "effort")),
    )


def deployment(path: str) -> str | None:
    """What stands for the model in a path that names none: Azure's deployment, Databricks' endpoint."""
    found = _DEPLOYMENT.search(path)
    return text(found[1] or found[2]) if found else None


_DEPLOYMENT = re.compile(r"/openai/deployments/([^/?]+)/|/serving-endpoints/([^/?]+)/invocations")


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A streamed answer states its usage only when asked; a whole one always does."""
    options = body.get("stream_options") or {}
    if body.get("stream") is not True or not isinstance(options, Mapping) or options.get("include_usage") is True:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def answer(body: object, read: ReadsUsage = usage) -> Answer:
    said = fields(body)
    choice = _first_choice(said)
    block = _block(said, choice)
    return Answer(
        model=text(said.get("model")),
        id=text(said.get("id")),
        finish_reason=text(choice.get("finish_reason")),
        usage=read(block),
        failed=_failed(said, choice),
        service_tier=_tier(said, block),
    )


def stream() -> "Reader":
    return Reader()


_TELLING = re.compile(rb'"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*:|choices"\s*:\s*\[\s*\])')
"""What makes a chunk worth parsing once the answer has begun: a search costs a fifth of a parse."""
_TIER = re.compile(rb'"service_tier"\s*:\s*"')


class Reader:
    """Reads a streamed answer. Each usage block replaces the one before: where many come, they are cumulative."""

    def __init__(self, read: ReadsUsage = usage, open_ended: bool = False) -> None:
        """`open_ended`: the end of the body may be all that follows the finish reason."""
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._usage_of = read
        self._open_ended = open_ended
        self._answer = Answer()
        self._block: object = None
        self._final = False
        self._fell = False
        self._unread = False

    def feed(self, event: Event) -> None:
        if event.tail:
            return
        self.usage_only = False
        if event.data.startswith(b"[DONE]"):
            self.terminal = True
        elif event.name == "error" or not self.token_seen or self._tells(event.data):
            self._read(loads(event.data), event.name == "error")
        self._unread = self._unread or event.oversized

    def _tells(self, data: bytes) -> bool:
        if _TELLING.search(data):
            return True
        return self._answer.service_tier is None and b'"service_tier"' in data and _TIER.search(data) is not None

    def _read(self, data: object, failed: bool) -> None:
        before, chunk = self._answer, fields(data)
        choice, choices = _first_choice(chunk), chunk.get("choices")
        block = _block(chunk, choice)
        self._answer = Answer(
            model=text(chunk.get("model")) or before.model,
            id=before.id or text(chunk.get("id")),
            finish_reason=text(choice.get("finish_reason")) or before.finish_reason,
            failed=before.failed or failed or _failed(chunk, choice),
            service_tier=_tier(chunk, block) or before.service_tier,
        )
        self._keep(block)
        self.token_seen = self.token_seen or bool(choices)
        self.may_end = self._open_ended and self._answer.finish_reason is not None
        stated = isinstance(block, Mapping)
        self.usage_only = choices == [] and (stated or _says_only_usage(chunk)) and not self._answer.failed
        self._final = self._final or (self.usage_only and stated)

    def _keep(self, block: object) -> None:
        """One that counts nothing takes none away that does."""
        if block is None or (block == {} and self._block):
            return
        took_back = not counts_something(block, _SUMS) and counts_something(self._block, _SUMS)
        self._fell = self._fell or took_back or falls(self._block, block, "completion_tokens")
        self._block = self._block if took_back else block

    def answer(self) -> Answer:
        known = self._answer
        final = self.terminal or self._final or known.failed or known.finish_reason is not None
        found = self._usage_of(self._block, final, self._unread)
        return known._replace(usage=fallen(found) if self._fell else found)


_SUMS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _says_only_usage(chunk: _Fields) -> bool:
    """Whether a chunk is the one for usage though it states none: callers fail at its empty choices all the same."""
    return "usage" in chunk and _FRAME.issuperset(chunk)


_FRAME = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})


def _block(said: _Fields, choice: _Fields) -> object:
    """The usage block; Moonshot streams it inside a choice, Groq always beside, and only there if not asked. An empty
    one at the top hides neither."""
    block = said.get("usage")
    return block or choice.get("usage") or at(said, "x_groq", "usage") or block


def _tier(said: _Fields, block: object) -> str | None:
    """The tier that served the answer; Mistral tells it with the usage."""
    tier = text(said.get("service_tier")) or text(at(block, "service_tier"))
    return tier.lower() if tier else None


def _first_choice(said: _Fields) -> _Fields:
    choices = said.get("choices")
    return fields(choices[0]) if isinstance(choices, list) and choices else {}


def _failed(said: _Fields, choice: _Fields) -> bool:
    """MiniMax answers 200 with a status of its own beside the choices."""
    if said.get("error") or choice.get("error"):
        return True
    return "base_resp" in said and at(said, "base_resp", "status_code") not in (None, 0)
