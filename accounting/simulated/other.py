"""Answers that are neither chat nor messages: errors, redirects, and endpoints that cost nothing or are rarely used."""

from typing import Any

from accounting.simulated.answers import Answer, Asked, Known, Piece, tokens, whole
from accounting.simulated.ledger import FAILED, FINISHED, Tokens
from accounting.simulated.script import Script

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error(status: int, message: str, *, anthropic: bool = False, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An error in the provider's own shape. It is not charged, and has no usage."""
    kind = _TYPES.get(status, "api_error" if anthropic else "server_error")
    body: dict[str, Any] = {"error": {"type": kind, "message": message}}
    body = {"type": "error"} | body if anthropic else {"error": body["error"] | {"param": None, "code": None}}
    return Answer(pieces=whole(body, Known(FAILED, None)), charged=Tokens(), status=status, headers=headers)


def redirect(status: int, path: str) -> Answer:
    """To the same place once more; the query tells that it was."""
    location = ("location", f"{path.partition('?')[0]}?redirected")
    return Answer(pieces=(), charged=Tokens(), status=status, headers=(location,))


def free(body: object) -> Answer:
    """An answer that is never charged and never in a ledger."""
    return Answer(pieces=whole(body, Known(FINISHED, None)), charged=None)


def raw(data: bytes, asked: Asked, script: Script) -> Answer:
    """Bytes as they are. What a client makes of them is its own affair, so the ledger says nothing of usage."""
    kind = "text/event-stream" if asked.stream else "application/json"
    piece = Piece(data, Known(FINISHED, None))
    return Answer(pieces=(piece,), charged=Tokens(), status=script.status, content_type=kind)


def embeddings(asked: Asked, script: Script) -> Answer:
    used = Tokens(input=tokens(asked, script).input)
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}
    usage = {"prompt_tokens": used.input, "total_tokens": used.input}
    body = {"object": "list", "data": [vector], "model": asked.model, "usage": usage}
    return Answer(pieces=whole(body, Known(FINISHED, used)), charged=used)


def transcription(asked: Asked, script: Script) -> Answer:
    """Of a sound; it is billed by tokens."""
    used = Tokens(input=tokens(asked, script).input, output=tokens(asked, script).output)
    usage = {
        "type": "tokens",
        "input_tokens": used.input,
        "input_token_details": {"text_tokens": 0, "audio_tokens": used.input},
        "output_tokens": used.output,
        "total_tokens": used.input + used.output,
    }
    return Answer(pieces=whole({"text": "Why?", "usage": usage}, Known(FINISHED, used)), charged=used)


def images(asked: Asked, script: Script) -> Answer:
    """One image, made or changed; it is billed by tokens."""
    used = Tokens(input=tokens(asked, script).input, output=tokens(asked, script).output)
    usage = {
        "input_tokens": used.input,
        "input_tokens_details": {"text_tokens": used.input, "image_tokens": 0},
        "output_tokens": used.output,
        "total_tokens": used.input + used.output,
    }
    body = {"created": 1795420000, "data": [{"b64_json": "iVBORw0KGgo="}], "usage": usage}
    return Answer(pieces=whole(body, Known(FINISHED, used)), charged=used)
