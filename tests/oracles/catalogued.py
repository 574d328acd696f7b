"""The answers of the catalogue, as the oracles can be asked about them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from accounting.extraction import events_of
from accounting.formats import find, loads, splitter_of

from ..formats.catalogue import Row, rows
from .bodies import body_with
from .shapes import SHAPES, Case, Shape


def catalogued() -> list[Case]:
    """A case for each row that an oracle can read: JSON, of a shape that is named in `SHAPES`."""
    return [case for row in rows() if (case := _case(row)) is not None]


def _case(row: Row) -> Case | None:
    shape = _shape(row)
    splitter = splitter_of(row.body, row.content_type)
    body = loads(row.body) if splitter is None else _whole(shape, _events(row))
    if shape is None or not isinstance(body, Mapping) or _deep(body):
        return None
    return Case(row.name, shape, json.loads(json.dumps(_complete(shape, body), default=float)), row.name, row.body)


def _complete(shape: Shape, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body, with a choice that says something: litellm reads no other."""
    choices = body.get("choices")
    told = isinstance(choices, list) and choices and isinstance(choices[0], Mapping) and "message" in choices[0]
    frame = body_with(shape, None)
    return {**body, "choices": frame["choices"]} if "choices" in frame and not told else body


def _shape(row: Row) -> Shape | None:
    """The provider's own shape of the endpoint, else the one that everybody's format was first made for."""
    found = find("POST", row.path, row.provider)
    if found is None:
        return None
    same = [shape for shape in SHAPES.values() if find("POST", shape.path, shape.provider) == found]
    return next((shape for shape in same if shape.provider == row.provider), same[0] if same else None)


def _events(row: Row) -> list[Any]:
    splitter = splitter_of(row.body, row.content_type)
    assert splitter is not None
    return [value for event in events_of(splitter, [row.body]) if isinstance(value := loads(event.data), Mapping)]


def _whole(shape: Shape | None, events: Iterable[Mapping[str, Any]]) -> object:
    """What a stream's events come to, in a whole answer's form: the last that states usage; Anthropic's, merged."""
    block: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for event in events:
        answer = event.get("message") or event.get("response") or event
        if not isinstance(answer, Mapping):
            continue
        told |= {name: answer[name] for name in ("model", "modelVersion") if isinstance(answer.get(name), str)}
        stated = _stated(answer)
        if stated is not None:
            merges = shape is not None and shape.name == "anthropic messages"
            block = _merged(block, stated, begins="message" in event) if merges else dict(stated)
    return {**body_with(shape, block), **told} if shape and block else None


def _merged(block: Mapping[str, Any], stated: Mapping[str, Any], begins: bool) -> dict[str, Any]:
    """Field by field: the delta's over the start's, also where the start comes once more."""
    some = {name: value for name, value in stated.items() if value is not None}
    return {**some, **block} if begins else {**block, **some}


def _stated(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    beside = answer.get("x_groq")
    places = (
        *(answer.get("usage"), answer.get("usageMetadata"), first.get("usage")),
        beside.get("usage") if isinstance(beside, Mapping) else None,
    )
    return next((place for place in places if isinstance(place, Mapping)), None)


def _deep(body: object, levels: int = 30) -> bool:
    """Nested past what a question can carry."""
    if levels == 0:
        return True
    inner = body.values() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
    return any(_deep(value, levels - 1) for value in inner)
