"""What one call consumed, and the call itself, as frozen values.

Token counts follow OpenTelemetry's meaning: input includes cached tokens, output includes reasoning.
A count that nobody stated is None, never 0.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from accounting.errors import CallInvalid
from accounting.money import Money, exact, plain

MAX_COUNT = 10**12
"""A larger count is no count of tokens in one call; bounded so that sums fit 64 bits."""

APART = timedelta(minutes=1)
"""Calls are found by the time in their id, which is at most this far from their start."""

MAX_TEXT = 512
MAX_BLOCK = 8192
MAX_TAGS = 32


class Outcome(StrEnum):
    """How a call ended, in rising order of what is known of it."""

    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"


class UsageSource(StrEnum):
    """Who said what was used."""

    PROVIDER = "provider"
    PARTIAL = "partial"
    ESTIMATED = "estimated"
    MISSING = "missing"


class Quantities(NamedTuple):
    """What is priced or summed: tokens, and the units that are billed beside them.

    `input` includes `cache_read`, `cache_write`, `audio_input` and `image_input`, which are apart from each other;
    `cache_write` includes `cache_write_1h`; `output` includes `reasoning`, `audio_output` and `image_output`, which are
    apart from each other. `requests` are answers that stated their usage.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    audio_output: int = 0
    image_output: int = 0
    requests: int = 0
    web_searches: int = 0
    images: int = 0
    audio_seconds: int = 0


COUNTED = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("cache_write_1h_tokens", "audio_input_tokens", "image_input_tokens", "audio_output_tokens"),
    *("image_output_tokens", "requests", "web_searches", "images", "audio_seconds"),
)
"""The quantities by their names in `Usage`, in a call's record and in the books, in the order of `Quantities`."""


class Usage(NamedTuple):
    """What one call used, normalised; the block it was read from is kept beside it.

    The counts include each other as in `Quantities`. `audio_input_tokens` and `image_input_tokens` are those that did
    not come from a cache. `images` were made; `audio_seconds` were heard or spoken, rounded up. `anomalies` names each
    contradiction that was found and clamped. `block` is the provider's usage object as JSON, at most `MAX_BLOCK`
    characters.
    """

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = UsageSource.MISSING
    anomalies: tuple[str, ...] = ()
    block: str | None = None
    provider_cost: Money | None = None
    cache_write_1h_tokens: int | None = None
    audio_input_tokens: int | None = None
    image_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_output_tokens: int | None = None
    requests: int | None = None
    web_searches: int | None = None
    images: int | None = None
    audio_seconds: int | None = None

    @property
    def quantities(self) -> Quantities:
        """The counts that are known; what is not adds nothing (and is shown by `source`)."""
        return Quantities._make([count or 0 for count in counted(self)])


counted: Callable[[Usage], tuple[int | None, ...]] = attrgetter(*COUNTED)
"""What a usage says, in the order of `COUNTED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP attempt to create something at a model API; `outcome` None while it runs.

    With `parent_id` it is a sub-call: what another model used inside that call's response. `service_tier` is the one
    that served it, as the provider says. `script` is the rough one of the request's text. `refused_by` names the budget
    that kept it from being sent.
    """

    id: UUID
    started_at: datetime
    provider: str
    endpoint: str
    outcome: Outcome | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    key_fingerprint: str = ""
    key_last4: str = ""
    project: str | None = None
    project_source: str | None = None
    user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    link_id: UUID | None = None
    stream: bool = False
    effort: str | None = None
    max_tokens: int | None = None
    first_token_at: datetime | None = None
    ended_at: datetime | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    http_status: int | None = None
    finish_reason: str | None = None
    parent_id: UUID | None = None
    service_tier: str | None = None
    script: str | None = None
    refused_by: str | None = None
    usage: Usage = field(default_factory=Usage)

    @property
    def model(self) -> str:
        """The model that is paid for: the response's, else the request's; empty where neither named one."""
        return self.response_model or self.request_model or ""

    def encode(self) -> bytes:
        """The call as JSON, the form in which it is journaled and delivered."""
        # What is unknown is left out, also so that an older program reads all that it knows of.
        record = {name: value for name, value in zip(_NAMES, _told(self), strict=True) if value is not None}
        usage = self.usage
        cost = usage.provider_cost
        counts = zip(COUNTED, counted(usage), strict=True)
        record["usage"] = {
            **{name: count for name, count in counts if count is not None},
            "source": usage.source,
            "anomalies": usage.anomalies,
            "block": usage.block,
            "provider_cost": None if cost is None else [plain(cost.amount), cost.currency],
        }
        return _dumps(record).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Call":
        """The call that `encode` wrote; raises `CallInvalid` naming the first field that is off."""
        try:
            record = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise CallInvalid(f"Not JSON: {error}") from error
        if not isinstance(record, dict):
            raise CallInvalid(f"Expected an object, found a {type(record).__name__}")
        return _Reader(record).call()


_NAMES = [f.name for f in fields(Call) if f.name != "usage"]
_told: Callable[[Call], tuple[Any, ...]] = attrgetter(*_NAMES)


def _jsonable(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_dumps = json.JSONEncoder(default=_jsonable, separators=(",", ":")).encode
_REQUIRED: Any = object()


class _Reader:
    """Reads a call's record field by field, so that a bad one is named."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    def call(self) -> Call:
        get = self._get
        known = {*_NAMES, "usage"}
        if extra := sorted(set(self._record) - known):
            raise CallInvalid(f"Unknown fields {extra}: written by a newer version? Upgrade this program")
        usage = get("usage", dict, None)
        tags = get("tags", dict, {})
        # meter() and attribute() may each give as many as are allowed.
        if len(tags) > 2 * MAX_TAGS or not all(_is_kept(text) for pair in tags.items() for text in pair):
            raise CallInvalid(f"tags: expected at most {2 * MAX_TAGS} texts")
        return Call(
            id=self._uuid("id", required=True),
            started_at=self._instant("started_at", required=True),
            provider=get("provider", str),
            endpoint=get("endpoint", str),
            outcome=self._member("outcome", Outcome),
            request_model=get("request_model", str, None),
            response_model=get("response_model", str, None),
            response_id=get("response_id", str, None),
            key_fingerprint=get("key_fingerprint", str, ""),
            key_last4=get("key_last4", str, ""),
            project=get("project", str, None),
            project_source=get("project_source", str, None),
            user=get("user", str, None),
            tags=tags,
            attempt=get("attempt", int, 1),
            link_id=self._uuid("link_id"),
            stream=get("stream", bool, False),
            effort=get("effort", str, None),
            max_tokens=get("max_tokens", int, None),
            first_token_at=self._instant("first_token_at"),
            ended_at=self._instant("ended_at"),
            bytes_in=get("bytes_in", int, 0),
            bytes_out=get("bytes_out", int, 0),
            http_status=get("http_status", int, None),
            finish_reason=get("finish_reason", str, None),
            parent_id=self._uuid("parent_id"),
            service_tier=get("service_tier", str, None),
            script=get("script", str, None),
            refused_by=get("refused_by", str, None),
            usage=Usage() if usage is None else _Reader(usage)._usage(),
        )

    def _usage(self) -> Usage:
        get = self._get
        anomalies = get("anomalies", list, [])
        if not all(_is_kept(name) for name in anomalies):
            raise CallInvalid("anomalies: expected texts of characters that every database keeps")
        return Usage(
            **{name: get(name, int, None) for name in COUNTED if name in self._record},
            source=self._member("source", UsageSource) or UsageSource.MISSING,
            anomalies=tuple(anomalies),
            block=get("block", str, None),
            provider_cost=self._money("provider_cost"),
        )

    def _get(self, name: str, kind: Any, default: Any = _REQUIRED) -> Any:
        value: Any = self._record.get(name)
        if value is None:
            if default is _REQUIRED:
                raise CallInvalid(f"{name}: missing")
            return default
        if type(value) is not kind:
            raise CallInvalid(f"{name}: expected {kind.__name__}, found {type(value).__name__}")
        if kind is int and not 0 <= value <= 2**53:
            raise CallInvalid(f"{name}: {value} is out of range")
        if kind is str and not _is_kept(value):
            raise CallInvalid(f"{name}: has a character that no database keeps")
        return value

    def _uuid(self, name: str, required: bool = False) -> Any:
        text = self._get(name, str, _REQUIRED if required else None)
        try:
            return None if text is None else UUID(text)
        except ValueError as error:
            raise CallInvalid(f"{name}: {text!r} is no UUID") from error

    def _instant(self, name: str, required: bool = False) -> Any:
        text = self._get(name, str, _REQUIRED if required else None)
        if text is None:
            return None
        try:
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise CallInvalid(f"{name}: {text!r} has no offset")
            return at.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise CallInvalid(f"{name}: {text!r} is no ISO time") from error

    def _member(self, name: str, kind: type[StrEnum]) -> Any:
        text = self._get(name, str, None)
        try:
            return None if text is None else kind(text)
        except ValueError as error:
            raise CallInvalid(f"{name}: {text!r} is none of {', '.join(kind)}") from error

    def _money(self, name: str) -> Money | None:
        pair = self._get(name, list, None)
        try:
            return None if pair is None else Money(exact(pair[0]), _currency(pair[1]))
        except (ValueError, IndexError) as error:
            raise CallInvalid(f"{name}: expected [amount, currency], found {pair!r}") from error


def _is_kept(text: object) -> bool:
    """Whether every database keeps the text as it is."""
    return (
        isinstance(text, str)
        and "\0" not in text
        and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text))
    )


def _currency(text: object) -> str:
    if isinstance(text, str) and re.fullmatch(r"[A-Z]{3}", text):
        return text
    raise ValueError(f"{text!r} is no ISO 4217 code")


def new_id(not_before: datetime | None = None) -> UUID:
    """A UUIDv7: the time in milliseconds, then a fraction of it, then chance.

    Ids made by one thread of a process rise; RFC 9562, method 3 (the sub-millisecond fraction in `rand_a`). Its time
    is never before `not_before`, whatever the clock says.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    earliest = 0 if not_before is None else -((_EPOCH - not_before) // _MILLISECOND)
    if milliseconds < earliest:
        milliseconds, rest = earliest, 0
    fraction = rest * 4096 // 1_000_000
    chance = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | chance)


def sub_id(parent: UUID, number: int) -> UUID:
    """The id of a call's sub-call of this number: of the call's millisecond, and the same whenever it is asked for."""
    chance = hashlib.sha256(parent.bytes + number.to_bytes(4)).digest()
    low = int.from_bytes(chance[:8]) & (1 << 62) - 1
    return UUID(int=(parent.int >> 80) << 80 | 0x7 << 76 | int.from_bytes(chance[8:10]) >> 4 << 64 | 0b10 << 62 | low)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def id_time(id: UUID) -> datetime:  # noqa: A002 - the word of the books
    """The instant a UUIDv7 was made, to the millisecond."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)


def least_id(at: datetime) -> UUID:
    """The least id that a call begun at the instant, or later, can have; `APART` aside."""
    return UUID(int=max((at - _EPOCH) // _MILLISECOND, 0) << 80)


def clean(text: object, limit: int = MAX_TEXT) -> str | None:
    """The text in a form every database keeps: bounded, NUL and lone surrogates escaped; None for None.

    Anything but text is spelt out, so that an odd name is kept rather than lost.
    """
    if text is None:
        return None
    value = text if type(text) is str else str(text)
    if len(value) <= limit and value.isascii() and "\0" not in value:
        return value
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value.replace("\0", "\\0")[:limit]
