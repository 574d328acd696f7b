"""The wire formats we read. A new one: a file here, and its line in `_FORMATS`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from accounting.formats import (
    anthropic,
    bedrock,
    bedrock_invoke,
    cohere,
    gemini,
    gemini_embeddings,
    gemini_interactions,
    google_predict,
    ollama,
    openai_audio,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_responses,
    perplexity,
    unread,
    xai,
)
from accounting.formats.framing import STREAMED_AS_A_LIST, is_json, splitter, splitter_of, stream_types, tells
from accounting.formats.shapes import LOOKED_AT, shape, shape_of_stream
from accounting.formats.wire import Answer, Ask, Format, StreamReader, StreamSplitter, SubCall, loads
from accounting.sse import Event
from accounting.usage import UsageSource

__all__ = [
    "Answer",
    "Ask",
    "Format",
    "Lookout",
    "Match",
    "Polled",
    "StreamReader",
    "StreamSplitter",
    "SubCall",
    "dialect",
    "every",
    "find",
    "flagged",
    "is_json",
    "is_silent",
    "loads",
    "of_one",
    "outlined",
    "polled",
    "reread",
    "sniff",
    "sniff_stream",
    "splitter",
    "splitter_of",
    "stream_types",
    "tells",
    "unknown",
]

_FORMATS: tuple[Format, ...] = (
    openai_chat,
    xai,
    perplexity,
    openai_responses,
    openai_completions,
    openai_embeddings,
    openai_images,
    openai_audio,
    anthropic,
    gemini,
    gemini_interactions,
    gemini_embeddings,
    google_predict,
    bedrock,
    bedrock_invoke,
    cohere,
    ollama,
    unread,
)


@dataclass(frozen=True, slots=True)
class Match:
    """The wire format of a request, and its endpoint: the path's ending that told."""

    format: Format
    endpoint: str


def _pattern(suffixes: Iterable[str]) -> re.Pattern[str]:
    """One group a suffix, so that the group that matched tells which; servers differ in whether case matters."""
    groups = (f"({re.escape(suffix)})".replace(r"\*\*", ".+").replace(r"\*", "[^/]+") for suffix in suffixes)
    return re.compile(rf"/(?:{'|'.join(groups)})/?\Z", re.IGNORECASE)


_GENERAL = [Match(each, suffix) for each in _FORMATS if not each.providers for suffix in each.suffixes]
_DIALECTS = {
    (provider, suffix): Match(each, suffix)
    for each in _FORMATS
    for provider in each.providers
    for suffix in each.suffixes
}
_ENDPOINTS: list[str] = list(
    dict.fromkeys(
        [*unread.ending_like_billed, *(match.endpoint for match in _GENERAL), *(suffix for _, suffix in _DIALECTS)]
    )
)
_ANYBODYS = {match.endpoint: match for match in _GENERAL}
_PATH = _pattern(_ENDPOINTS)


def find(method: str, path: str, provider: str) -> Match | None:
    """How to read what a request buys; None where it buys nothing (reading, polling, counting tokens).

    Any query is left out of account. Of two endings that fit, the longer one holds; of two formats that have it, the
    provider's own.
    """
    return _found(path.partition("?")[0], provider) if method == "POST" else None


@lru_cache(1024)  # a program calls a few paths, over and over
def _found(path: str, provider: str) -> Match | None:
    endpoint = _ending(path, _PATH, _ENDPOINTS)
    return _DIALECTS.get((provider, endpoint)) or _ANYBODYS.get(endpoint)


def _ending(path: str, pattern: re.Pattern[str], endings: Sequence[str]) -> str:
    """The one that the path ends with; empty for none. The leftmost match is the longest ending."""
    found = pattern.search(path)
    return endings[found.lastindex - 1] if found and found.lastindex else ""


def unknown(method: str, path: str, provider: str) -> Match | None:
    """What a request buys that `find` does not know, at a host of a provider that is listed; None where it is free."""
    return _unknown(path.partition("?")[0], provider) if method == "POST" else None


@lru_cache(1024)
def _unknown(path: str, provider: str) -> Match | None:
    named = _ending(path, _AT_PROVIDERS, _NAMED)
    if named in _free_at(provider):
        return None
    if not named and provider in unread.many_sided:
        return None
    return Match(unread, named or _shape_of(path))


def _free_at(provider: str) -> set[str]:
    return {*unread.free, *unread.free_of.get(provider, ())}.difference(unread.billed_of.get(provider, ()))


# Of two that begin at the same place the one with fewer unknowns tells.
_NAMED = sorted(
    dict.fromkeys([*unread.at_providers, *unread.free, *(suffix for of in unread.free_of.values() for suffix in of)]),
    key=lambda suffix: suffix.count("*"),
)
_AT_PROVIDERS = _pattern(_NAMED)
_MOST_SEGMENTS = 4
_WORD = re.compile(r"(?:v\d\w{0,8}|[A-Za-z][A-Za-z_-]{0,31})(?::[A-Za-z]{1,32})?")


def _shape_of(path: str) -> str:
    """The end of the path without what is somebody's own: an id, or a name with digits, becomes `*`."""
    segments = [segment for segment in path.split("/") if segment][-_MOST_SEGMENTS:]
    return "/".join(segment if _WORD.fullmatch(segment) else "*" for segment in segments) or "/"


def every() -> tuple[Format, ...]:
    """All of them; the last is the one for what is recorded and can't be read yet."""
    return _FORMATS


@dataclass(frozen=True, slots=True)
class Polled:
    """The answer that a request asks for once more: how to read it, and its id."""

    format: Format
    id: str


_POLL = re.compile(r"(.+)/([^/]+?)/?\Z")


def polled(method: str, path: str, provider: str) -> Polled | None:
    """Which answer a request polls, or cancels: what is below the path by which it was asked for."""
    path = path.partition("?")[0]
    if method == "POST" and path.endswith("/cancel"):
        path = path.removesuffix("/cancel")
    elif method != "GET":
        return None
    parts = _POLL.match(path)
    match = find("POST", parts[1], provider) if parts else None
    return Polled(match.format, parts[2]) if parts and match else None


def dialect(general: Format, provider: str) -> Format:
    """The provider's own dialect of a format, where it has one."""
    own = (_DIALECTS.get((provider, suffix)) for suffix in general.suffixes)
    return next((match.format for match in own if match), general)


_BY_NAME = {each.name: each for each in _FORMATS}


def sniff(body: object) -> Format | None:
    """The format of which a body, or one event of a stream, has the shape; None where nothing tells."""
    return _BY_NAME.get(shape(body) or "")


def sniff_stream(events: Iterable[Event]) -> Format | None:
    """The same of all events of a stream."""
    return _BY_NAME.get(shape_of_stream(events) or "")


_MISSING = UsageSource.MISSING  # before Python 3.12 to look a member up takes 0.1 µs


def reread(chosen: Format, body: object, answer: Answer, provider: str = "") -> Answer:
    """The answer, or where its format found no usage in it: what the format finds whose shape the body has, in the
    provider's dialect.

    Endpoints tell the format; proxies and home-made servers answer in another one all the same. Such an answer is
    flagged, by the name of its shape.
    """
    if answer.usage.source is not _MISSING:
        return answer
    other = _another(chosen, sniff(body), provider)
    return of_one(chosen, body, answer) if other is None else _better(answer, other.answer(body), other)


def of_one(chosen: Format, body: object, answer: Answer) -> Answer:
    """The answer, flagged where its body is a list and so nothing was found in it."""
    is_odd = isinstance(body, list) and chosen not in STREAMED_AS_A_LIST and not answer.failed
    return flagged(answer, "list_unread") if is_odd and is_silent(answer) else answer


def is_silent(answer: Answer) -> bool:
    """Whether it has no usage and nothing says why."""
    return answer.usage.source is _MISSING and not answer.usage.anomalies


def flagged(answer: Answer, anomaly: str) -> Answer:
    return answer._replace(usage=answer.usage._replace(anomalies=(*answer.usage.anomalies, anomaly)))


class Lookout:
    """Looks out for another format's shape than the chosen one's, until one of the first events with data tells."""

    def __init__(self, chosen: Format, provider: str = "") -> None:
        self._chosen = chosen
        self._provider = provider
        self._left = LOOKED_AT

    def reader(self, reader: StreamReader, event: Event) -> StreamReader:
        """The reader, or where the event has another format's shape: both formats' readers."""
        if not self._left or not event.data:
            return reader
        told = sniff(loads(event.data))
        self._left = self._left - 1 if told is None else 0
        other = _another(self._chosen, told, self._provider)
        return _Beside(reader, other) if other else reader


def outlined(chosen: Format, fields: Mapping[str, object], provider: str = "") -> Answer:
    """What those fields of a body tell that are known of one too large to be parsed; flagged where that is no usage."""
    answer = reread(chosen, fields, chosen.answer(fields), provider)
    if answer.usage.source is not UsageSource.MISSING:
        return answer
    return flagged(answer, "body_too_large")


def _another(chosen: Format, told: Format | None, provider: str) -> Format | None:
    """The provider's dialect of it, if it is neither the chosen one nor one that the chosen is a dialect of."""
    is_another = told is not None and told is not chosen and set(told.suffixes).isdisjoint(chosen.suffixes)
    return dialect(told, provider) if told and is_another else None


def _better(answer: Answer, other: Answer, format_: Format) -> Answer:
    if other.usage.source is UsageSource.MISSING:
        return answer
    return flagged(other, f"shape_of_{format_.name}")


class _Beside:
    """Feeds a stream to two readers; the second's answer counts where the first finds no usage."""

    def __init__(self, first: StreamReader, other: Format) -> None:
        self._first, self._second, self._other = first, other.stream(), other
        self._took_in()

    def feed(self, event: Event) -> None:
        self._first.feed(event)
        self._second.feed(event)
        self._took_in()

    def _took_in(self) -> None:
        first, second = self._first, self._second
        self.terminal = first.terminal or second.terminal
        self.may_end = first.may_end or second.may_end
        self.usage_only = first.usage_only
        self.token_seen = first.token_seen or second.token_seen

    def answer(self) -> Answer:
        answer = self._first.answer()
        missing = answer.usage.source is UsageSource.MISSING
        return _better(answer, self._second.answer(), self._other) if missing else answer
