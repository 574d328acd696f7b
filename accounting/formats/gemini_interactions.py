"""Gemini's Interactions API: models and agents, whole, streamed or in the background.

Source: the types of Google's SDK. The counts are those of `gemini` under other names. Events carry `event_type`; of
the names before version 2 of the SDK, `interaction.start` and `interaction.complete`, the last is read, too.
"""

import re
from collections.abc import Mapping
from typing import Any

from accounting.counts import Counts
from accounting.formats.gemini import Names, usage
from accounting.formats.wire import Answer, Ask, at, loads, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "gemini_interactions"
suffixes: tuple[str, ...] = ("interactions",)
providers: tuple[str, ...] = ()

_NAMES = Names(
    prompt="total_input_tokens",
    tools="total_tool_use_tokens",
    cached="total_cached_tokens",
    candidates="total_output_tokens",
    thoughts="total_thought_tokens",
    total="total_tokens",
    given=("input_tokens_by_modality", "tool_use_tokens_by_modality"),
    held=("cached_tokens_by_modality",),
    made=("output_tokens_by_modality",),
    tokens="tokens",
)

_PENDING = frozenset({"queued", "in_progress"})


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the body
    """An agent stands where a model would: it is what is paid for."""
    config = body.get("generation_config")
    return Ask(
        model=_model(body),
        stream=body.get("stream") is True,
        max_tokens=whole(at(config, "max_output_tokens")),
        effort=text(at(config, "thinking_level")),
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    """One that runs in the background states no usage until it is polled."""
    status = text(at(body, "status"))
    pending = status in _PENDING
    tier = text(at(body, "service_tier"))
    return Answer(
        model=_model(body),
        id=text(at(body, "id")),
        finish_reason=None if pending else status,
        usage=_usage(at(body, "usage"), final=not pending),
        failed=status == "failed" or bool(at(body, "error")),
        pending=pending,
        service_tier=tier.lower() if tier else None,
    )


def stream() -> "Reader":
    return Reader()


_KIND = re.compile(rb'"event_type"\s*:\s*"([\w.]+)"')
_LAST = ("interaction.completed", "interaction.complete")


class Reader:
    """Reads a streamed answer. Each usage block replaces the one before; the completed interaction has the last."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._interaction: dict[str, Any] = {}
        self._failed = False
        self._unread = False

    def feed(self, event: Event) -> None:
        kind = event.name or _kind(event.data)
        self.token_seen = self.token_seen or kind.startswith(("step.", "content."))
        self.may_end = self.may_end or kind in _LAST
        self.terminal = self.terminal or event.data.startswith(b"[DONE]")
        self._failed = self._failed or kind == "error"
        self._unread = self._unread or event.oversized
        if kind.startswith("interaction.") or b'"total_usage"' in event.data:
            self._read(loads(event.data))

    def _read(self, data: object) -> None:
        block = at(data, "usage") or at(data, "metadata", "total_usage")
        status = at(data, "status")
        self._interaction.update(_given({"usage": block, "status": status, "id": at(data, "interaction_id")}))
        self._interaction.update(_given(at(data, "interaction")))

    def answer(self) -> Answer:
        known = answer(self._interaction)
        return Answer(
            model=known.model,
            id=known.id,
            finish_reason=known.finish_reason,
            usage=_usage(self._interaction.get("usage"), final=self.may_end, unread=self._unread),
            failed=known.failed or self._failed,
            service_tier=known.service_tier,
        )


def _given(fields: object) -> Mapping[str, Any]:
    return {name: value for name, value in fields.items() if value is not None} if isinstance(fields, Mapping) else {}


def _kind(data: bytes) -> str:
    found = _KIND.search(data)
    return found[1].decode() if found else ""


def _model(body: object) -> str | None:
    return text(at(body, "model")) or text(at(body, "agent"))


def _usage(block: object, final: bool, unread: bool = False) -> Usage:
    counts = Counts()
    if unread:
        counts.flag("event_too_large")
    return usage(block, counts, _NAMES, final=final, web_searches=_searches(block, counts))


def _searches(block: object, counts: Counts) -> int | None:
    """Google's own count of what its search grounded; that of maps and other tools is left in the block."""
    lines = at(block, "grounding_tool_count")
    mine = [line for line in lines if at(line, "type") == "google_search"] if isinstance(lines, list) else []
    known = [count for line in mine if (count := counts.read(line, "count")) is not None]
    return sum(known) if known else None
