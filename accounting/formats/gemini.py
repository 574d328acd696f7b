"""Gemini's own API, generateContent and its streams, on Google AI and on Vertex alike.

Source: the `UsageMetadata` messages of both APIs. Zeros are left out of their JSON, and every event of a stream
states usage: cumulative within one turn of the model, begun anew after each turn of a server's tool, and the grand
total with the last. No event says that it is the last one: the end of the body does, once a finish reason has come.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from accounting.counts import Counts, within
from accounting.formats.wire import Answer, Ask, at, fields, loads, stated_usage, text, whole
from accounting.sse import Event
from accounting.usage import Usage

name = "gemini"
suffixes: tuple[str, ...] = ("*:generateContent", "*:streamGenerateContent")
providers: tuple[str, ...] = ()

_WINDOW = 1 << 13
"""Bytes of the end of an event too large to be read that are kept: usage comes after the content."""


def ask(body: Mapping[str, Any], path: str) -> Ask:
    """The path names the model, and whether the answer is streamed. Names may be written in either way."""
    config = body.get("generationConfig") or body.get("generation_config")
    limit, snake_limit = whole(at(config, "maxOutputTokens")), whole(at(config, "max_output_tokens"))
    return Ask(
        model=model_of(path),
        stream=":streamGenerateContent" in path,
        max_tokens=snake_limit if limit is None else limit,
        effort=text(at(config, "thinkingConfig", "thinkingLevel"))
        or text(at(config, "thinking_config", "thinking_level")),
    )


_MODEL = re.compile(r"((?:(?:tunedModels|endpoints)/)?[^/:]+):\w+/?\Z")


def model_of(path: str) -> str | None:
    """The model that a path ends with; a tuned model or an endpoint of one's own keeps its collection's name."""
    found = _MODEL.search(unquote(path.partition("?")[0]))
    return text(found[1]) if found else None


def asking_for_usage(body: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG001 - every format is asked
    """Never needed: every answer states its usage."""
    return None


def answer(body: object) -> Answer:
    """A streamed answer that wasn't asked for as events is a list of what would have been theirs."""
    reader = Reader()
    reader.read(body)
    return reader.answer(whole=True)


def stream() -> "Reader":
    return Reader()


class Reader:
    """Reads a streamed answer. The last usage holds, or, of one that was cut, the largest."""

    def __init__(self) -> None:
        self.terminal = False
        self.usage_only = False
        self.token_seen = False
        self.may_end = False
        self._model: str | None = None
        self._id: str | None = None
        self._finish: str | None = None
        self._failed = False
        self._blocks = _Blocks()
        self._queries: set[str] = set()
        self._final = False
        self._unread = False
        self._window = b""

    def feed(self, event: Event) -> None:
        if event.oversized:
            self._unread = self._unread or not event.raw.isspace()
            self._read_end(event.raw)
        elif event.data:
            self.read(loads(event.data))
        elif _BARE.match(event.raw):
            self.read(loads(event.raw))

    def read(self, chunk: object) -> None:
        """One event's JSON, or a list of such."""
        if isinstance(chunk, list):
            for each in chunk:
                self._read(each)
        else:
            self._read(chunk)

    def answer(self, whole: bool = False) -> Answer:
        """`whole`: the answer is known to be all there is, whatever its parts say."""
        final, counts = whole or self._final, Counts()
        if self._unread:
            counts.flag("event_too_large")
        block = self._blocks.last if final else self._blocks.largest
        if self._blocks.withdrew_output(block):
            counts.flag("output_withdrawn")
        return Answer(
            model=self._model,
            id=self._id,
            finish_reason=self._finish,
            usage=usage(block, counts, final=final, web_searches=_billed(self._queries, self._model)),
            failed=self._failed,
            service_tier=_tier(self._blocks.last),
        )

    def _read(self, chunk: object) -> None:
        if not isinstance(chunk, Mapping):
            return
        self._model = text(chunk.get("modelVersion")) or self._model
        self._id = text(chunk.get("responseId")) or self._id
        self._failed = self._failed or bool(chunk.get("error"))
        self._read_candidates(chunk)
        block = chunk.get("usageMetadata")
        if block is not None:
            self._blocks.take(block)
            self._final, self._unread = self.may_end, False

    def _read_candidates(self, chunk: Mapping[str, Any]) -> None:
        stated = chunk.get("candidates")
        candidates = stated if isinstance(stated, list) else []
        finish = _finish(chunk, candidates)
        self._finish = finish or self._finish
        self.token_seen = self.token_seen or bool(candidates)
        if candidates or finish:  # proxies put a finish reason before the content, too
            self.may_end = finish is not None
        for candidate in candidates:
            self._queries.update(_queries(candidate))

    def _read_end(self, raw: bytes) -> None:
        """Usage, and what stands beside it, from the end of an event that came in pieces."""
        self._window = (self._window + raw[-_WINDOW:])[-_WINDOW:]
        begin = self._window.rfind(b'"usageMetadata"')
        end = loads(b"{" + self._window[begin:]) if begin >= 0 else None
        if isinstance(end, Mapping):
            finish = _FINISH.search(self._window, 0, begin)
            reason = finish[1].decode() if finish else None
            self._read({**end, "candidates": [{"finishReason": reason}]})
            self._window = b""


_BARE = re.compile(rb"\s*[\[{]")
"""Errors in the midst of a stream come as bare JSON, without a field's name."""
_FINISH = re.compile(rb'"finishReason"\s*:\s*"(\w+)"')


class _Blocks:
    """The usage blocks of one answer: the last one, and the one with the largest total."""

    def __init__(self) -> None:
        self.last: object = None
        self.largest: object = None
        self._most = -1
        self._had_output = False

    def take(self, block: object) -> None:
        """One without counts says only by what traffic it was served: it replaces nothing."""
        if self.last is not None and not _has_counts(block):
            return
        self.last = block
        self._had_output = self._had_output or at(block, _OUTPUT) is not None
        stated = at(block, "totalTokenCount")
        total = stated if type(stated) is int else Counts().read(block, "totalTokenCount") or 0
        if total >= self._most:
            self.largest, self._most = block, total

    def withdrew_output(self, block: object) -> bool:
        """Whether an earlier block counted output and this one, cumulative as it is, doesn't."""
        return self._had_output and at(block, _OUTPUT) is None


_OUTPUT = "candidatesTokenCount"


def _has_counts(block: object) -> bool:
    return isinstance(block, Mapping) and any(field.endswith("TokenCount") for field in block)


def _finish(chunk: object, candidates: list[Any]) -> str | None:
    """Why an answer ended, or why there is none."""
    for candidate in candidates:
        if reason := text(at(candidate, "finishReason")):
            return reason
    return text(at(chunk, "promptFeedback", "blockReason"))


def _queries(candidate: object) -> list[str]:
    queries = at(candidate, "groundingMetadata", "webSearchQueries")
    return [query for query in queries if isinstance(query, str) and query] if isinstance(queries, list) else []


def _billed(queries: set[str], model: str | None) -> int | None:
    """Searches as they are billed: each different query, and for models before the third generation the prompt."""
    if not queries:
        return None
    return 1 if model and _BILLED_BY_PROMPT.search(model) else len(queries)


_BILLED_BY_PROMPT = re.compile(r"gemini-[12](?!\d)")


def _tier(block: object) -> str | None:
    stated = fields(block)
    tier = text(stated.get("serviceTier")) or text(stated.get("trafficType"))
    return None if tier is None or tier.lower().endswith("unspecified") else tier.lower()


@dataclass(frozen=True, slots=True)
class Names:
    """What a surface of the API calls the counts; `given`, `held` and `made` are its breakdowns by kind."""

    prompt: str
    tools: str
    cached: str
    candidates: str
    thoughts: str
    total: str
    given: tuple[str, ...]
    held: tuple[str, ...]
    made: tuple[str, ...]
    tokens: str


NATIVE = Names(
    prompt="promptTokenCount",
    tools="toolUsePromptTokenCount",
    cached="cachedContentTokenCount",
    candidates=_OUTPUT,
    thoughts="thoughtsTokenCount",
    total="totalTokenCount",
    given=("promptTokensDetails", "toolUsePromptTokensDetails"),
    held=("cacheTokensDetails",),
    made=("candidatesTokensDetails",),
    tokens="tokenCount",
)


def usage(
    block: object, counts: Counts, names: Names = NATIVE, *, final: bool = True, web_searches: int | None = None
) -> Usage:
    """Token counts of a block.

    What tools put into the prompt stands beside it, and so do thoughts beside the candidates, but the total counts
    all four. Cached tokens are within the prompt. The total decides as in `_output`.
    """
    if block is None:
        return Usage(anomalies=tuple(counts.anomalies), web_searches=web_searches)
    prompt, tools = counts.read(block, names.prompt), counts.read(block, names.tools)
    candidates, thoughts = counts.read(block, names.candidates), counts.read(block, names.thoughts)
    cached, total = counts.read(block, names.cached), counts.read(block, names.total)
    tokens_in = _input(prompt, tools, cached, _sum(candidates, thoughts) or 0, total, counts)
    given, held = kinds(block, names.given, names.tokens, counts), kinds(block, names.held, names.tokens, counts)
    made = kinds(block, names.made, names.tokens, counts)
    return stated_usage(
        block,
        counts,
        input_tokens=tokens_in,
        cache_read=cached,
        audio_input=_uncached(given, held, "audio", counts),
        image_input=_uncached(given, held, "image", counts),
        output_tokens=_output(tokens_in, candidates, thoughts, total, counts),
        reasoning=thoughts,
        audio_output=made.get("audio"),
        image_output=made.get("image"),
        web_searches=web_searches,
        final=final,
    )


def _input(
    prompt: int | None, tools: int | None, cached: int | None, output: int, total: int | None, counts: Counts
) -> int | None:
    """A prompt that isn't stated is 0 where the total proves it, and unknown otherwise."""
    if prompt is None:
        return tools or 0 if total == (tools or 0) + output else None
    tokens_in = prompt + (tools or 0)
    if cached and cached > tokens_in and total == tokens_in + cached + output:
        counts.flag("cached_beside_input")
        return tokens_in + cached
    return tokens_in


def _output(
    tokens_in: int | None, candidates: int | None, thoughts: int | None, total: int | None, counts: Counts
) -> int | None:
    """Candidates and thoughts, as far as the total agrees.

    Where it is larger, the rest is output that no field shows. Where it is short by the thoughts, they are within
    the candidates, and otherwise the parts hold. With neither stated it proves that there was none.
    """
    stated = _sum(candidates, thoughts)
    if total is None or tokens_in is None:
        return stated
    beyond = total - tokens_in - (stated or 0)
    if beyond > 0:
        counts.flag("hidden_output")
        return total - tokens_in
    if beyond == 0:
        return stated or 0
    if thoughts and candidates and thoughts <= candidates and beyond == -thoughts:
        counts.flag("reasoning_inside_candidates")
        return candidates
    counts.flag("total_mismatch")
    return stated


def kinds(block: object, breakdowns: tuple[str, ...], count: str, counts: Counts) -> dict[str, int]:
    """The tokens by kind in breakdowns of a block, in lower case: of the kinds that are priced apart from text."""
    found: dict[str, int] = {}
    stated = fields(block)
    for place in breakdowns:
        lines = stated.get(place)
        for line in lines if isinstance(lines, list) else ():
            modality = at(line, "modality")
            kind = _APART.get(modality) if isinstance(modality, str) else None
            tokens = counts.read({place: {kind: at(line, count)}}, place, kind) if kind else None
            if kind and tokens is not None:
                found[kind] = found.get(kind, 0) + tokens
    return found


_APART = {"AUDIO": "audio", "IMAGE": "image", "audio": "audio", "image": "image"}


def _uncached(stated: Mapping[str, int], cached: Mapping[str, int], kind: str, counts: Counts) -> int | None:
    """The input of a kind that did not come from a cache."""
    tokens = stated.get(kind)
    return None if tokens is None else tokens - (within(cached.get(kind), tokens, counts, "cached_exceeds_input") or 0)


def _sum(one: int | None, other: int | None) -> int | None:
    """The sum of what is known; None where nothing is."""
    return other if one is None else one + (other or 0)
