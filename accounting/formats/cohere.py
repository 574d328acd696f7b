"""Cohere's chat, embeddings, rerank and classification, version 1 and 2; and rerank as others offer it.

Source: Cohere API reference and the types of its SDK. Answers count twice: `tokens`, all that the model took in and
gave out, and `billed_units`, what the bill charges, which leaves out what Cohere adds to a prompt. The books hold
what is paid for, so the billed ones hold, and the others stand in for them where they are missing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from accounting.counts import Counts, within
from accounting.formats.wire import Answer, Ask, at, kept_block, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage, UsageSource

name = "cohere"
suffixes: tuple[str, ...] = (
    *("v2/chat", "v2/embed", "v2/rerank"),
    *("v1/chat", "v1/embed", "v1/rerank", "v1/generate", "v1/summarize"),
)
providers: tuple[str, ...] = ()


def ask(body: Mapping[str, Any], path: str) -> Ask:  # noqa: ARG001 - it is all in the body
    return Ask(
        model=text(body.get("model")), stream=body.get("stream") is True, max_tokens=whole(body.get("max_tokens"))
    )


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    """Cohere never repeats the model; others' rerank does."""
    finish = text(at(body, "finish_reason"))
    return Answer(
        model=text(at(body, "model")),
        id=text(at(body, "id")) or text(at(body, "response_id")) or text(at(body, "generation_id")),
        finish_reason=finish,
        usage=usage(_block(body), makes_text=not _MAKES_NO_TEXT.intersection(_fields(body))),
        failed=finish == "ERROR" or bool(at(body, "error")),
    )


_MAKES_NO_TEXT = frozenset({"embeddings", "results", "data"})


def _fields(body: object) -> Iterable[str]:
    return body if isinstance(body, Mapping) else ()


def stream() -> "Reader":
    return Reader()


_KIND = re.compile(rb'"(?:event_)?type"\s*:\s*"([\w-]+)"')
_CONTENT = ("content-", "text-", "tool-", "citation")


class Reader:
    """Reads a streamed answer, of version 2 (`type`) or 1 (`event_type`): its last event has all."""

    def __init__(self) -> None:
        self.terminal = False
        self.may_end = False
        self.usage_only = False
        self.token_seen = False
        self._answer = Answer()
        self._unread = False

    def feed(self, event: Event) -> None:
        kind = event.name or _kind(event.data)
        self.token_seen = self.token_seen or kind.startswith(_CONTENT)
        self._unread = self._unread or event.oversized
        if kind in ("message-start", "stream-start"):
            self._answer = answer(loads(event.data))
        elif kind in ("message-end", "stream-end"):
            self.terminal = True
            self._read(loads(event.data))
        elif kind == "error":
            self._answer = Answer(id=self._answer.id, usage=self._answer.usage, failed=True)

    def _read(self, end: object) -> None:
        """What ended; version 1 repeats the whole answer there, version 2 has what is new."""
        said = next((part for part in (at(end, "delta"), at(end, "response")) if part is not None), end)
        known, before = answer(said), self._answer
        finish = known.finish_reason or text(at(end, "finish_reason"))
        failed = before.failed or known.failed or finish == "ERROR"
        self._answer = Answer(known.model, before.id or known.id, finish, known.usage, failed)

    def answer(self) -> Answer:
        known = self._answer
        if not self._unread or known.usage.block is not None:
            return known
        return Answer(known.model, known.id, known.finish_reason, Usage(anomalies=("event_too_large",)), known.failed)


def _kind(data: bytes) -> str:
    found = _KIND.search(data)
    return found[1].decode() if found else ""


def _block(body: object) -> object:
    """Version 2 of chat states it as `usage`, all others in `meta`, beside warnings, which may quote the request."""
    block, meta = at(body, "usage"), at(body, "meta")
    if block is not None or at(meta, "billed_units") is None:
        return block
    return {name: meta[name] for name in _COUNTING if name in meta}


_COUNTING = ("billed_units", "tokens", "cached_tokens")


def usage(block: object, makes_text: bool = True) -> Usage:
    """What was billed.

    Tokens of pictures stand beside the others. Cached tokens are of all that went in, billed or not: how many of the
    billed ones they were nobody states, so that they are at most all. Search units, in which rerank is billed, are
    `web_searches`. `makes_text` False: there is no output.
    """
    if block is None:
        return Usage()
    counts = Counts()
    billed, tokens = at(block, "billed_units"), at(block, "tokens")
    if billed is None and tokens is None:
        return _reranked(block, counts)
    searches, pictures = counts.read(billed, "search_units"), counts.read(billed, "image_tokens")
    tokens_in = _either(billed, tokens, "input_tokens", counts)
    tokens_out = _either(billed, tokens, "output_tokens", counts)
    if tokens_in is None and tokens_out is None and searches is not None:
        return _searched(block, searches, counts)
    if pictures is not None:
        tokens_in = (tokens_in or 0) + pictures
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=_cached(block, tokens_in, counts),
        image_input=pictures,
        output_tokens=tokens_out if makes_text or tokens_in is None else tokens_out or 0,
        web_searches=searches,
    )


def _either(billed: object, tokens: object, field: str, counts: Counts) -> int | None:
    found = counts.read(billed, field)
    return counts.read(tokens, field) if found is None else found


def _cached(block: object, tokens_in: int | None, counts: Counts) -> int | None:
    cached, taken_in = counts.read(block, "cached_tokens"), counts.read(block, "tokens", "input_tokens")
    known = within(cached, tokens_in if taken_in is None else taken_in, counts, "cached_exceeds_input")
    taken = None if known is None or tokens_in is None else min(known, tokens_in)
    counts.took(taken, "cached_tokens")
    return taken


def _searched(block: object, searches: int, counts: Counts) -> Usage:
    return Usage(
        source=UsageSource.PROVIDER,
        requests=1,
        web_searches=searches,
        block=kept_block(block, counts),
        anomalies=tuple(counts.anomalies),
    )


def _reranked(block: object, counts: Counts) -> Usage:
    """Voyage, Jina and others bill rerank by the tokens that go in."""
    total = counts.read(block, "total_tokens")
    return stated_usage(block, counts, input_tokens=total, output_tokens=None if total is None else 0)
