"""Chat completions for the catalogue's rows, said in few words."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from accounting.money import Money
from tests.formats.catalogue import Row, Sse, sse

PATH = "/v1/chat/completions"


def whole(usage: object, **fields: object) -> dict[str, object]:
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage, **fields}


def chunk(content: str = "Hi", finish: str | None = None, **fields: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **fields}


def usage(prompt: int, completion: int, total: int | None = None, /, **fields: object) -> dict[str, object]:
    total = prompt + completion if total is None else total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **fields}


def on_finish(usage: object, **fields: object) -> Sse:
    return sse(chunk(), chunk("", "stop", usage=usage, **fields), "[DONE]")


def usd(text: str) -> Money:
    return Money(Decimal(text), "USD")


def row(case: str, provider: str, sent: object, counts: tuple[int, ...], *anomalies: str, **fields: Any) -> Row:
    """`counts`: input, output, then cache read and reasoning where they are told; the others go into `more`."""
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
    more: Mapping[str, int] = fields.pop("more", {})
    known = {name: count for name, count in zip(names, counts, strict=False) if count >= 0}
    path = fields.pop("path", PATH)
    return Row(
        name=case, provider=provider, path=path, sent=sent, usage={**known, **more}, anomalies=anomalies, **fields
    )


def cached(count: int | None, **more: object) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": count, **more}}


def reasoned(count: int | None, **more: object) -> dict[str, Any]:
    return {"completion_tokens_details": {"reasoning_tokens": count, **more}}


UNKNOWN = -1
