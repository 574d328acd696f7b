"""How many tokens a call likely used, from what is known of it without a tokenizer: its bytes.

What the store learned from its own finished calls (`learning`) comes here as a `Snapshot`: to ingest from the tables,
to capture from a small file on this host (`snapshots`). What it has not learned yet is filled in from the shipped
priors. Estimates stand beside what providers state, never in it.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from accounting.scripts import CJK, ENCODED, ESCAPED, ESCAPED_CJK, LATIN, TWO_BYTE
from accounting.usage import MAX_COUNT, Call, Outcome, UsageSource

MILLION = 1_000_000

_ADDED = 1_000
"""Tokens that are in no request: of a provider's own prompt, as for tools, and of a picture that is only linked."""

_VERSION = 2

ANY_EFFORT = "*"
"""Stands for all reasoning efforts together, those of calls that named none among them."""


class Basis(StrEnum):
    """What an estimate was learned from, in falling order of how near that is to the call."""

    SCRIPT = "model and script"
    MODEL = "model"
    PROVIDER = "provider"
    PRIORS = "priors"


_BASES = list(Basis)


class Place(NamedTuple):
    """What a line is about: the input of a model, or, with an endpoint, its answers there, streamed or whole.

    Without a script it is about all of them, and without a model about all of the provider.
    """

    provider: str
    model: str
    endpoint: str = ""
    stream: bool = False
    script: str = ""

    def wider(self) -> "list[Place]":
        """Those that stand for it where nothing is known of it, the nearest first."""
        steps = self._replace(script=""), self._replace(script="", model="")
        return [step for step in steps if step != self]


class Line(NamedTuple):
    """Tokens by size: so many anyway, and so many for each million bytes.

    Where scripts are mixed they are counted not for bytes but for the tokens that the priors would expect: what a
    model learned from one script then holds for another as well.
    """

    fixed: int
    per_million: int

    def at(self, size: int) -> int:
        return min(max(self.fixed + self.per_million * size // MILLION, 0), MAX_COUNT)

    def over(self, line: "Line") -> "Line":
        """This one, counted for what the other tells."""
        fixed = self.fixed + self.per_million * line.fixed // MILLION
        return Line(fixed, self.per_million * line.per_million // MILLION)


class Sizes(NamedTuple):
    """Tokens of answers: half have at most `median`, 19 of 20 at most `high`."""

    median: int
    high: int


Asker = tuple[str, str, str, str]
"""Provider, model, the key's fingerprint, "" for all keys, and the reasoning effort as the request named it, "" where
it named none; see `ANY_EFFORT`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is learned: lines by place, and how long answers are by who asks for them."""

    lines: Mapping[Place, Line] = field(default_factory=dict)
    sizes: Mapping[Asker, Sizes] = field(default_factory=dict)

    def encode(self) -> bytes:
        lines = [[*place, *line] for place, line in self.lines.items()]
        sizes = [[*asker, *sizes] for asker, sizes in self.sizes.items()]
        return json.dumps({"version": _VERSION, "lines": lines, "sizes": sizes}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Snapshot":
        """Raises `ValueError` for anything that `encode` did not write."""
        try:
            record = json.loads(payload)
            if record["version"] != _VERSION:
                raise ValueError(f"version {record['version']}")
            lines = {Place(*_typed(row[:5], _PLACE)): Line(*_typed(row[5:], _PAIR)) for row in record["lines"]}
            sizes = {_asker(row[:4]): Sizes(*_typed(row[4:], _PAIR)) for row in record["sizes"]}
        except (TypeError, KeyError, IndexError, RecursionError) as error:
            raise ValueError(f"Not a snapshot of estimates: {error}") from error
        return cls(lines, sizes)


_PLACE = (str, str, str, bool, str)
_PAIR = (int, int)


def _typed(values: list[Any], kinds: tuple[type, ...]) -> list[Any]:
    if [type(value) for value in values] != list(kinds):
        raise ValueError(f"expected {[kind.__name__ for kind in kinds]}, found {values!r}")
    return values


def _asker(values: list[Any]) -> Asker:
    provider, model, key, effort = _typed(values, (str, str, str, str))
    return provider, model, key, effort


NOTHING = Snapshot()
"""Nothing is learned: all is estimated by the priors."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens that a call likely uses; `high_output_tokens` are exceeded by one answer in twenty.

    `basis` is the weakest that any of the figures stands on.
    """

    input_tokens: int
    output_tokens: int
    high_output_tokens: int
    basis: Basis


def estimate(
    snapshot: Snapshot,
    *,
    provider: str,
    model: str,
    endpoint: str,
    script: str | None,
    bytes_in: int,
    stream: bool = False,
    bytes_out: int | None = None,
    max_tokens: int | None = None,
    key: str = "",
    effort: str = "",
) -> Estimate:
    """Before a call, or for what came of its answer: `bytes_out` None stands for an answer of which nothing is known.

    No answer is longer than the `max_tokens` that the request allowed. `effort` is "" where the request named none.
    """
    asked = Place(provider, model, script=script or LATIN)
    input_tokens, known = _tokens(snapshot, asked, bytes_in)
    input_tokens = min(input_tokens, most_input(bytes_in))
    if priors().is_silent(endpoint):
        return Estimate(input_tokens, 0, 0, known)
    sizes = learned_sizes(snapshot, provider, model, key, effort)
    held = sizes or priors().sizes
    output_tokens = held.median
    size_known = output_known = Basis.PRIORS if sizes is None else Basis.SCRIPT
    if bytes_out is not None:
        output_tokens, output_known = _tokens(snapshot, asked._replace(endpoint=endpoint, stream=stream), bytes_out)
        output_tokens = min(output_tokens, most_output(bytes_out, sizes))
    most = MAX_COUNT if max_tokens is None else max_tokens
    weakest = max(known, size_known, output_known, key=_BASES.index)
    return Estimate(input_tokens, min(output_tokens, most), min(held.high, most), weakest)


def most_input(bytes_in: int) -> int:
    """What an estimate is held to: a token is a byte at least, but for what a provider adds to a request."""
    return bytes_in + _ADDED


def most_output(bytes_out: int, sizes: Sizes | None) -> int:
    """Likewise; what was thought and not sent is as long as the model's long answers are, at most."""
    return max(bytes_out, sizes.high if sizes else 0)


def lacks_usage(call: Call) -> bool:
    """Whether a call may have used tokens that nobody stated. One that failed is taken to have used none."""
    return call.usage.source is not UsageSource.PROVIDER and call.outcome is not Outcome.FAILED


def is_estimated(endpoint: str) -> bool:
    """Whether calls of the endpoint are estimated: what others are billed by is no matter of text."""
    return priors().is_silent(endpoint) or priors().framing(endpoint) is not None


class Beyond(NamedTuple):
    """Tokens that a call likely used beyond those that were stated; None where there is nothing to estimate."""

    input_tokens: int | None = None
    output_tokens: int | None = None


def beyond(snapshot: Snapshot, call: Call) -> Beyond:
    """What a call that `lacks_usage` is estimated to have used besides.

    A stream that was cut has cost what came of it. A whole answer was made before its first byte came, so one that
    never came, or not to its end, is taken to be as long as half of that model's are.
    """
    if call.parent_id is not None or not is_estimated(call.endpoint):
        return Beyond()
    stated, has_ended = call.usage, call.outcome is Outcome.FINISHED
    unseen = _of_call(snapshot, call, None)
    output = unseen if call.outcome is Outcome.UNKNOWN else _of_call(snapshot, call, call.bytes_out)
    is_cut_whole = not call.stream and not has_ended
    likely = max(output.output_tokens, unseen.output_tokens) if is_cut_whole else output.output_tokens
    wants_input = stated.input_tokens is None and call.bytes_in > 0
    wants_output = not priors().is_silent(call.endpoint) and not (has_ended and stated.output_tokens is not None)
    return Beyond(
        unseen.input_tokens if wants_input else None,
        max(likely - (stated.output_tokens or 0), 0) if wants_output else None,
    )


def _of_call(snapshot: Snapshot, call: Call, bytes_out: int | None) -> Estimate:
    return estimate(
        snapshot,
        provider=call.provider,
        model=call.model,
        endpoint=call.endpoint,
        script=call.script,
        bytes_in=call.bytes_in,
        stream=call.stream,
        bytes_out=bytes_out,
        max_tokens=call.max_tokens,
        key=call.key_fingerprint,
        effort=call.effort or "",
    )


def _tokens(snapshot: Snapshot, place: Place, size: int) -> tuple[int, Basis]:
    """By the nearest line there is."""
    if line := snapshot.lines.get(place):
        return line.at(size), Basis.SCRIPT
    expected = priors().tokens(place, size)
    for step, basis in zip(place.wider(), (Basis.MODEL, Basis.PROVIDER), strict=True):
        if line := snapshot.lines.get(step):
            return line.at(expected), basis
    return expected, Basis.PRIORS


def learned_sizes(snapshot: Snapshot, provider: str, model: str, key: str, effort: str) -> Sizes | None:
    """How long answers are, by the nearest that is learned of the model, whatever its script; None for nothing.

    Other keys with the same effort are nearer than the same key with others: a model that thinks harder answers longer
    by far.
    """
    sizes = snapshot.sizes
    for asked in (effort, ANY_EFFORT):
        if found := sizes.get((provider, model, key, asked)) or sizes.get((provider, model, "", asked)):
            return found
    return None


class Framing(NamedTuple):
    """Of an endpoint's answers: see `priors.toml`."""

    stream: int
    opening: int
    around: int


@dataclass(frozen=True, slots=True)
class Priors:
    """What is taken for granted, as `priors.toml` says it."""

    input: Mapping[str, int]
    answers: Mapping[str, Framing]
    silent: frozenset[str]
    sizes: Sizes

    def tokens(self, place: Place, size: int) -> int:
        """Of so many bytes of a request, or of an answer at the place's endpoint."""
        return self.line(place).at(size)

    def line(self, place: Place) -> Line:
        framing = self.framing(place.endpoint)
        if framing is None:
            return Line(0, self._text(place.script))
        if place.stream:
            return _from(framing.opening, framing.stream)
        return _from(framing.around, self._text(_ANSWERED.get(place.script, place.script)))

    def framing(self, endpoint: str) -> Framing | None:
        return self.answers.get(endpoint) or self.answers.get(_last_part(endpoint))

    def is_silent(self, endpoint: str) -> bool:
        return _last_part(endpoint) in self.silent

    def _text(self, script: str) -> int:
        return self.input.get(script) or self.input[LATIN]


def _from(size: int, per_million: int) -> Line:
    """The line that begins at a size."""
    return Line(-(size * per_million // MILLION), per_million)


@lru_cache(maxsize=256)
def _last_part(endpoint: str) -> str:
    return endpoint.rpartition("/")[2]


_ANSWERED = {ESCAPED: TWO_BYTE, ESCAPED_CJK: CJK, ENCODED: LATIN}
"""The script of an answer, where the request's was that of its client's way to write; servers don't escape."""


@cache
def priors() -> Priors:
    """Read once a process."""
    record = tomllib.loads(Path(__file__).with_name("priors.toml").read_text("utf-8"))
    answers = {endpoint: Framing(**framing) for endpoint, framing in record["answers"].items()}
    return Priors(record["input"], answers, frozenset(record["silent"]["endpoints"]), Sizes(**record["size"]))
