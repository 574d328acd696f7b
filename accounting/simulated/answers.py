"""A question, and an answer as pieces of a body, each with what a client knows once it has it whole."""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from accounting.simulated.ledger import FAILED, INTERRUPTED, Tokens
from accounting.simulated.script import Script

_LATIN, _CJK = 4.2, 1.2
"""Characters a token."""

_A_PIECE = 8
"""Tokens that come in one piece; providers send fewer, which would take the demo longer than it shows more."""

_MORE = (
    "invoice ",
    "the ",
    "paid ",
    "in ",
    "accounts ",
    "balance ",
    "of ",
    "to ",
    "monthly ",
    "rounded ",
    "a ",
    "sum ",
)
_MORE_CHARACTERS = sum(map(len, _MORE)) / len(_MORE)


class Known(NamedTuple):
    """What a client that has a body up to some place knows of the call."""

    outcome: str
    told: Tokens | None


class Piece(NamedTuple):
    """A whole event of a stream, or a whole body."""

    data: bytes
    known: Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer before it is encoded, cut and sent. `charged` None: nothing that a ledger would hold."""

    pieces: tuple[Piece, ...]
    charged: Tokens | None
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def before(self) -> Known:
        """What a client knows that has the headers and nothing more."""
        return Known(INTERRUPTED if self.status < 300 else FAILED, None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to create something. `key` is as it was sent; only its fingerprint is kept."""

    path: str
    key: str
    body: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.key.encode()).hexdigest() if self.key else ""

    @property
    def digest(self) -> bytes:
        """Of model and messages: how the answer is asked for does not change what is answered."""
        question = [self.model, *self._question]
        return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).digest()

    @property
    def tokens(self) -> int:
        """About what a tokenizer would make of the question."""
        text = json.dumps(self._question, ensure_ascii=False)
        latin = sum(map(str.isascii, text))
        return round(latin / _LATIN + (len(text) - latin) / _CJK)

    @property
    def _question(self) -> list[Any]:
        return [self.body.get("messages"), self.body.get("input")]

    @property
    def limit(self) -> int | None:
        limit = self.body.get("max_completion_tokens", self.body.get("max_tokens"))
        return limit if isinstance(limit, int) else None


def tokens(asked: Asked, script: Script) -> Tokens:
    """What the question takes: made up from its digest, unless the script says."""
    chance = asked.digest
    made_up = asked.tokens if script.fit else 16 + 8 * chance[0] + chance[1]
    tokens_in = script.input if script.input is not None else made_up
    cached = script.cached if script.cached is not None else tokens_in * (chance[2] % 4) // 8
    written = script.written or 0
    tokens_out = script.output if script.output is not None else 24 + 4 * chance[3] + chance[4]
    tokens_out = min(tokens_out, asked.limit or tokens_out)
    reasoning = script.reasoning if script.reasoning is not None else tokens_out * (chance[5] % 4) // 5
    return Tokens(tokens_in, cached, written, tokens_out, reasoning)


def finish(asked: Asked, used: Tokens, natural: str, limited: str) -> str:
    """Why the answer ended."""
    return limited if asked.limit is not None and used.output >= asked.limit else natural


def texts(count: int) -> list[str]:
    """Pieces of an answer; some hold what looks like the end of a line and is none."""
    words = ("好的。", "A line\u2028separator ", "and a next\u0085line, ", "a tab\t", "an emoji 🧾 ")
    return [f"{words[number % len(words)]}{number} " for number in range(count)]


def said(asked: Asked, script: Script) -> list[str]:
    """The pieces of an answer; where the script wants so, about as long together as its tokens, thoughts among them."""
    if not script.fit:
        return texts(script.events)
    output = tokens(asked, script).output
    pieces = texts(max(script.events, output // _A_PIECE, 1))
    room = _LATIN * output - len("".join(pieces).encode())
    words = random.Random(asked.digest).choices(_MORE, k=max(round(room / _MORE_CHARACTERS), 0))  # noqa: S311
    share = -(-len(words) // len(pieces))
    return [piece + "".join(words[place * share :][:share]) for place, piece in enumerate(pieces)]


def encoded(value: object) -> str:
    """JSON as providers write it: characters as they are, not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def whole(value: object, known: Known) -> tuple[Piece, ...]:
    """A body of one piece."""
    return (Piece(encoded(value).encode(), known),)


def events(parts: Iterable[tuple[str, str, Known]], script: Script) -> tuple[Piece, ...]:
    """Server-sent events, one a piece: (name or empty, data, what is known after it)."""
    pieces = []
    for number, (name, data, known) in enumerate(parts):
        lines = [f"event: {name}"] if name else []
        if script.comments:
            lines.insert(0, ": keep-alive")
        text = script.eol.join([*lines, f"data: {data}", "", ""])
        pieces.append(Piece((("\ufeff" if script.bom and not number else "") + text).encode(), known))
    return tuple(pieces)
