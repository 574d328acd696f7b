"""How the servers of each wire format say in their answer that a call was refused for its cost.

What only programs read stands beside the message, where no SDK minds it: under `DETAILS`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from accounting.formats.wire import at, fields

STATUS = 402
"""Payment required: the one status that says so, and that no SDK sends again."""

DETAILS = "budget"

_TYPE = "budget_exceeded"
_Shape = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def body(format_name: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """What a body of this format says as JSON; OpenAI's shape where the format has none of its own."""
    return _SHAPES.get(format_name, _openai)(message, details)


def headers(format_name: str) -> dict[str, str]:
    """What its servers send with that, names in lower case."""
    return dict(_HEADERS.get(format_name, {}))


def read(said: object) -> tuple[str, Mapping[str, Any]] | None:
    """The message and the details of a body, whatever its shape, or of the error inside it; None without both."""
    inside = at(said, "error")
    for each in (inside, said):
        details, message = _details(each), at(each, "message") or inside
        if details and isinstance(message, str):
            return message, details
    return None


def _details(said: object) -> Mapping[str, Any]:
    """They stand beside the message; Google's servers keep such things in a list."""
    listed = at(said, "details")
    places = [at(said, DETAILS), *(at(each, DETAILS) for each in (listed if isinstance(listed, list) else [])[:_FEW])]
    return next((found for found in map(fields, places) if found), {})


_FEW = 10


def _openai(message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"message": message, "type": _TYPE, "param": None, "code": _TYPE, DETAILS: details}}


def _anthropic(message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "billing_error", "message": message, DETAILS: details}}


def _google(message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    # Not RESOURCE_EXHAUSTED, which is for those who try again in a while.
    listed = [{"@type": f"type.googleapis.com/accounting.{_TYPE}", DETAILS: details}]
    return {"error": {"code": STATUS, "message": message, "status": "FAILED_PRECONDITION", "details": listed}}


def _plain(message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"message": message, DETAILS: details}


def _ollama(message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": message, DETAILS: details}


_SHAPES: dict[str, _Shape] = {
    "anthropic": _anthropic,
    "bedrock": _plain,
    "bedrock_invoke": _plain,
    "cohere": _plain,
    "gemini": _google,
    "gemini_embeddings": _google,
    "gemini_interactions": _google,
    "google_predict": _google,
    "ollama": _ollama,
}
_AMAZON = {"x-amzn-errortype": "ServiceQuotaExceededException"}
_HEADERS: dict[str, Mapping[str, str]] = {"bedrock": _AMAZON, "bedrock_invoke": _AMAZON}
