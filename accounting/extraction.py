"""What a response used, read from the response alone, without a client in between.

Source of each rule: the wire format's file in `formats/`. The same bytes give the same usage here and in a metered
client.
"""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from accounting import jsonvalues, sse
from accounting.formats import (
    Answer,
    Format,
    Lookout,
    StreamSplitter,
    dialect,
    find,
    flagged,
    is_silent,
    loads,
    of_one,
    outlined,
    reread,
    sniff,
    sniff_stream,
    splitter_of,
)
from accounting.formats.outline import outline_of
from accounting.limits import MAX_BODY
from accounting.sse import Event
from accounting.usage import Usage


class Extraction(NamedTuple):
    """What was read of a response, and how: `format` by its name, empty where nothing told it."""

    answer: Answer
    format: str = ""
    told_by: str = ""
    """What told the format: "path" or "shape"."""
    is_stream: bool = False


def extract(body: object, *, provider: str = "", path: str = "", content_type: str = "") -> Usage:
    """What a response used, from its body or from the bytes of its stream.

    `body` is the response's JSON as it was parsed (a dict or a list), its text, or its bytes; a stream's bytes may be
    server-sent events or Amazon's binary frames. `path` is the request's, as in "/v1/messages", and tells the wire
    format; without it the shape of the answer does. `provider` names the upstream as in `accounting rates list`, as
    some providers say other things in the same shape.

    Nothing is raised for what the bytes are: what can't be read is None, and `anomalies` says why. A TypeError is for
    what can be no response at all.

    What other models used inside the answer, as Claude's advisor, is not in the counts: each such sub-call is in
    `read(…).sub_calls`, with its own model and usage.

        accounting.extract(response.content, provider="xai", path="/v1/chat/completions")
        accounting.extract(completion.model_dump())  # of an SDK
    """
    return examine(body, provider=provider, path=path, content_type=content_type).answer.usage


def read(body: object, *, provider: str = "", path: str = "", content_type: str = "") -> Answer:
    """All that a response says of itself; its arguments are those of `extract`.

    That is `model`, `id`, `finish_reason`, `service_tier` (the one that served it), `failed` (it holds an error),
    `pending` (it is still being made, and a later poll tells what it used), `usage`, and `sub_calls`: model and usage
    of each other model that was billed inside it. Such usage is in none of the answer's own counts.
    """
    return examine(body, provider=provider, path=path, content_type=content_type).answer


_PARSED = (dict, list, Mapping)  # the last is slow to ask for


def examine(body: object, *, provider: str = "", path: str = "", content_type: str = "") -> Extraction:
    """The same, and how it was read."""
    found = _examined(body, provider, path, content_type)
    return found._replace(answer=flagged(found.answer, "usage_absent")) if is_silent(found.answer) else found


def _examined(body: object, provider: str, path: str, content_type: str) -> Extraction:
    provider = provider.strip().lower() if provider else ""
    chosen = _chosen(path, provider) if path else None
    if isinstance(body, _PARSED):
        return _of_body(body, chosen, provider)
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"Expected a response's JSON, text or bytes, found {type(body).__name__}")
    data = _in_utf_8(bytes(body))
    cutter = splitter_of(data, content_type)
    if cutter is not None:
        return _of_stream(events_of(cutter, [data]), chosen, provider)
    if len(data) > MAX_BODY:
        return _of_large_body(data, chosen, provider)
    value = loads(data)
    is_none = value is None and data.strip() not in (b"", b"null")
    return _of_values(data, chosen, provider) if is_none else _of_body(value, chosen, provider)


def _in_utf_8(data: bytes) -> bytes:
    """As everybody sends it; what PowerShell has written to a file is in UTF-16, with a mark."""
    return data.decode("utf-16", "replace").encode() if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else data


@lru_cache
def _chosen(path: str, provider: str) -> Format | None:
    match = find("POST", f"/{path.lstrip('/')}", provider)
    return match.format if match else None


def events_of(cutter: StreamSplitter, chunks: Iterable[bytes]) -> list[Event]:
    """The events of a stream that has ended; the last one of SSE counts without its blank line, too."""
    events = [event for chunk in chunks for event in cutter.feed(chunk)]
    if isinstance(cutter, sse.Splitter) and cutter.rest:
        events += cutter.feed(b"\n\n")
    return events


def _of_body(body: object, chosen: Format | None, provider: str) -> Extraction:
    if chosen is not None:
        return _told_by_path(reread(chosen, body, chosen.answer(body), provider), chosen)
    told = _told(sniff(body), provider)
    if told is None:
        return _nothing("format_unknown")
    return Extraction(of_one(told, body, told.answer(body)), told.name, "shape")


def _of_large_body(data: bytes, chosen: Format | None, provider: str) -> Extraction:
    fields = outline_of(data)
    if chosen is not None:
        return _told_by_path(outlined(chosen, fields, provider), chosen)
    told = _told(sniff(fields), provider)
    return _nothing("body_too_large") if told is None else Extraction(outlined(told, fields), told.name, "shape")


def _of_values(data: bytes, chosen: Format | None, provider: str) -> Extraction:
    """Of what is no JSON by itself: objects one a line, or a list of them that was cut."""
    events = [event for event in jsonvalues.Splitter().feed(data) if event.data]
    return _of_stream(events, chosen, provider) if events else _nothing("body_unreadable")


def _of_stream(events: list[Event], chosen: Format | None, provider: str) -> Extraction:
    format_ = chosen or _told(sniff_stream(events), provider)
    if format_ is None:
        is_too_large = any(event.oversized for event in events)
        return _nothing("event_too_large" if is_too_large else "format_unknown")._replace(is_stream=True)
    reader = format_.stream()
    lookout = Lookout(format_, provider) if chosen else None
    for event in events:
        reader = lookout.reader(reader, event) if lookout else reader
        reader.feed(event)
    if chosen:
        return _told_by_path(reader.answer(), chosen)._replace(is_stream=True)
    return Extraction(reader.answer(), format_.name, "shape", is_stream=True)


def _told_by_path(answer: Answer, chosen: Format) -> Extraction:
    """As its path says, or as its shape does where the path's format found nothing."""
    for name in answer.usage.anomalies:
        if name.startswith(_SHAPE_OF):
            return Extraction(answer, name.removeprefix(_SHAPE_OF), "shape")
    return Extraction(answer, chosen.name, "path")


_SHAPE_OF = "shape_of_"
"""How the anomaly of an answer begins that was not in its endpoint's format."""


def _told(shape: Format | None, provider: str) -> Format | None:
    return dialect(shape, provider) if shape else None


def _nothing(anomaly: str) -> Extraction:
    return Extraction(Answer(usage=Usage(anomalies=(anomaly,))))
