"""A call that a budget refused, as its caller meets it: an error of ours, or an answer as its provider would give it.

SDKs retry and hide what a transport raises, so theirs is an HTTP answer, made here and never sent; from the error that
an SDK makes of it, `budget_exceeded` reads the refusal back.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, NamedTuple

from accounting.decisions import Refusal, Why
from accounting.errors import BudgetExceeded
from accounting.formats import loads, saying_no
from accounting.money import exact, plain

_KEPT = "accounting.refusal"
"""Where an answer of ours keeps the error among its `extensions`: its caller may never read its body."""

_AMOUNTS = ("limit", "spent", "reserved", "held", "asked")
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")
_MOST_BYTES = 2**16
_MOST_CAUSES = 20


class Answer(NamedTuple):
    """What goes to the caller in place of the provider's answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def exceeded(refusal: Refusal) -> BudgetExceeded:
    """The error for callers who are no SDK's."""
    error = BudgetExceeded(refusal.message, why=str(refusal.why), budget=refusal.budget, scope=refusal.scope)
    error.asked = refusal.asked
    if (state := refusal.state) is not None:
        error.currency, error.limit, error.spent = state.currency, state.limit, state.spent
        error.reserved, error.held, error.ends_at = state.reserved, state.held, state.ends_at
    return error


def answer(refusal: Refusal, format_name: str = "") -> Answer:
    """The same in the shape in which the servers of a wire format (`Format.name`) tell of errors."""
    said = saying_no.body(format_name, refusal.message, _details(exceeded(refusal)))
    body = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-should-retry": "false",
        **saying_no.headers(format_name),
    }
    return Answer(saying_no.STATUS, headers, body)


def response(library: ModuleType, request: Any, refusal: Refusal, format_name: str = "") -> Any:
    """The same as an HTTP library's own answer to its request, for transports of both colours.

    Its body is not read yet, as one from the network is not; it comes from memory.
    """
    made = answer(refusal, format_name)
    return library.Response(
        made.status,
        headers=made.headers,
        stream=library.ByteStream(made.body),
        request=request,
        extensions={_KEPT: exceeded(refusal)},
    )


def budget_exceeded(error: object) -> BudgetExceeded | None:
    """What a budget said, read from whatever an SDK or HTTP library makes of it; None for anything else.

        except openai.APIStatusError as error:
            if refused := accounting.budget_exceeded(error):
                print(refused.budget, refused.limit, refused.ends_at)

    `error` is an exception, one that was caused by such a one, or an HTTP response. Never raises.
    """
    with contextlib.suppress(Exception):
        for each in _chain(error):
            if found := _of_one(each):
                return found
    return None


def _chain(error: object) -> Iterator[object]:
    """The error and its causes. Ollama's library keeps of an answer its message alone, but hides the HTTP error."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield error
        error = getattr(error, "__cause__", None) or _hidden(error)


def _hidden(error: object) -> object:
    """What was raised first, where somebody made an error of an answer and said that it takes the other's place."""
    is_hiding = getattr(error, "__suppress_context__", False) and _attribute(error, "status_code") == saying_no.STATUS
    return getattr(error, "__context__", None) if is_hiding else None


def _of_one(error: object) -> BudgetExceeded | None:
    if isinstance(error, BudgetExceeded):
        return error
    kept = (_attribute(error, name) for name in ("response", "raw_response"))
    for answered in (error, *kept):
        with contextlib.suppress(Exception):
            if found := _of_response(answered):
                return found
    for name in ("body", "details"):
        with contextlib.suppress(Exception):
            if found := _of_body(_attribute(error, name)):
                return found
    return None


def _attribute(thing: object, name: str) -> Any:
    with contextlib.suppress(Exception):
        return getattr(thing, name, None)
    return None


def _of_response(answered: Any) -> BudgetExceeded | None:
    """Of an HTTP response, of whichever library."""
    if getattr(answered, "status_code", None) != saying_no.STATUS:
        return None
    extensions = _attribute(answered, "extensions")
    kept = extensions.get(_KEPT) if isinstance(extensions, dict) else None
    return kept if isinstance(kept, BudgetExceeded) else _of_body(_attribute(answered, "content"))


def _of_body(body: object) -> BudgetExceeded | None:
    """Of a body as it came, or as somebody parsed it."""
    if isinstance(body, str | bytes):
        body = loads(body) if len(body) <= _MOST_BYTES else None
    found = saying_no.read(body)
    return _read(*found) if found else None


def _details(error: BudgetExceeded) -> dict[str, Any]:
    """All but the message, as JSON holds it."""
    amounts = {name: getattr(error, name) for name in _AMOUNTS}
    return {
        "why": error.why,
        "name": error.budget,
        "scope": error.scope,
        "currency": error.currency,
        **{name: None if amount is None else plain(amount) for name, amount in amounts.items()},
        "ends_at": None if error.ends_at is None else error.ends_at.astimezone(UTC).isoformat(),
    }


def _read(message: str, details: Mapping[str, Any]) -> BudgetExceeded:
    """Raises where `_details` did not write them."""
    return BudgetExceeded(
        message,
        why=str(Why(details["why"])),
        budget=_text(details["name"]),
        scope=_text(details["scope"]),
        currency=None if details["currency"] is None else _text(details["currency"]),
        ends_at=None if details["ends_at"] is None else _instant(details["ends_at"]),
        **{name: _amount(details[name]) for name in _AMOUNTS},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _amount(value: object) -> Decimal | None:
    if value is None:
        return None
    if not _NUMBER.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is no amount")
    return exact(_text(value))


def _instant(value: object) -> datetime:
    at = datetime.fromisoformat(_text(value))
    if at.tzinfo is None:
        raise ValueError(f"{value!r} names no zone")
    return at.astimezone(UTC)
