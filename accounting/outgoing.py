"""A request as it is about to be sent, and how it is sent instead where its answer could not be read otherwise."""

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from accounting.decoding import READABLE


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it is about to be sent: names of headers in lower case.

    `body` is None where its bytes are not in memory; `extensions` is the request's own dictionary. `form` has the plain
    fields of a form, whose bytes are only where somebody else wrote it.
    """

    method: str
    host: str
    port: int | None
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    extensions: MutableMapping[str, Any]
    form: Mapping[str, str] = field(default_factory=dict)


def form_of(stream: object) -> dict[str, str]:
    """The plain fields of a form as httpx will send it, its files left alone; empty for any other stream."""
    fields = getattr(stream, "fields", None)
    named = ((getattr(each, "name", None), getattr(each, "value", None)) for each in _listed(fields))
    return {name: value for name, value in named if isinstance(name, str) and isinstance(value, str)}


def _listed(fields: object) -> list[object]:
    return fields if isinstance(fields, list) else []


MOST_PARTS = 64
LONGEST_PART = 4096
"""Bytes of a form's part, its headers included, that is read; a file or a prompt is longer, and tells nothing."""

_BOUNDARY = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE)
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)


def form_in(body: bytes, content_type: str) -> dict[str, str]:
    """The same of a form that was written out before, as one that is passed on; its long parts are stepped over."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        return {}
    return dict(field for part in _parts(body, f"--{found[1] or found[2]}") if (field := _field(part)))


def _parts(body: bytes, delimiter: str) -> Iterator[bytes]:
    """Its short ones."""
    line = delimiter.encode("utf-8", "replace")
    begin = len(line) if body.startswith(line) else body.find(b"\r\n" + line) + 2 + len(line)
    for _ in range(MOST_PARTS):
        end = body.find(b"\r\n" + line, begin)
        if end < 0:
            break
        if end - begin <= LONGEST_PART:
            yield body[begin:end]
        begin = end + 2 + len(line)


def _field(part: bytes) -> tuple[str, str] | None:
    """A part's name and value, unless it is a file."""
    head, _, value = part.partition(b"\r\n\r\n")
    named = _NAME.search(head)
    if named is None or _FILE.search(head):
        return None
    return (named[1] or named[2] or b"").decode("utf-8", "replace"), value.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the request is sent instead: `body` None leaves it as it is."""

    headers: Mapping[str, str]
    body: bytes | None = None


def outgoing(sent: Sent, said: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> Outgoing | None:
    """The request that goes out in place of the caller's, or None where it can go as it is."""
    if wanted is not None and sent.body is not None:
        asking = _with_added(sent.body, said, wanted)
        # Encoded, the extra event could not be taken out again.
        return Outgoing({"accept-encoding": "identity", "content-length": str(len(asking))}, asking)
    codings = [coding.strip() for coding in sent.headers.get("accept-encoding", "").split(",") if coding.strip()]
    readable = [coding for coding in codings if coding.partition(";")[0].strip().lower() in READABLE]
    if len(readable) == len(codings):
        return None
    return Outgoing({"accept-encoding": ", ".join(readable) or "identity"})


def _with_added(body: bytes, said: Mapping[str, Any], wanted: Mapping[str, Any]) -> bytes:
    """The body with what is wanted put into it; every other byte of the caller's stays."""
    added = {name: value for name, value in wanted.items() if name not in said or value is not said[name]}
    for name, value in added.items():
        put = json.dumps(value, default=float).encode()
        if name in said:
            body = _replaced(body, name, put)
        else:  # As nearly always, and without decoding: a body with images is large, and the caller waits.
            body = body.replace(b"{", b"{%b: %b," % (json.dumps(name).encode(), put), 1)
    return body


def _replaced(body: bytes, name: str, put: bytes) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    start, end = _place(text, name)
    return text[:start].encode("utf-8", "surrogateescape") + put + text[end:].encode("utf-8", "surrogateescape")


def _place(text: str, name: str) -> tuple[int, int]:
    """Where in a JSON object's text the value of one of its names stands; of two, the one that holds."""
    place, at = (0, 0), _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _decoded_at(text, at)
        start = _skip(text, at)
        _, end = _decoded_at(text, start)
        place, at = (start, end) if key == name else place, _skip(text, end)
    return place


_BETWEEN = re.compile(r"[\s:,]*")
_decoded_at = json.JSONDecoder().raw_decode


def _skip(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the body must arrive as it is: a header vouches for its bytes."""
    return headers.get("authorization", "").startswith("AWS4-") or not _VOUCHING.isdisjoint(headers)


_VOUCHING = frozenset({"content-digest", "content-md5", "digest", "signature", "x-amz-content-sha256"})
