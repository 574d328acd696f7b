"""Answers as providers really send them, and what is to be read of each: one row a case.

The rows of a vendor group are in a `rows_<group>.py`. A row's name is "source: case", its source one of `SOURCES`.
"""

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from accounting.formats import Answer, Format, find
from accounting.money import Money
from accounting.usage import COUNTED, Usage

SOURCES = (
    *("OpenAI chat", "OpenAI Responses", "OpenAI completions", "OpenAI embeddings", "OpenAI images", "OpenAI audio"),
    *("OpenAI Realtime", "OpenAI batches", "Azure OpenAI", "Azure Responses", "Anthropic Messages"),
    *("Bedrock Converse", "Bedrock InvokeModel"),
    *("Gemini native", "Gemini Interactions", "Gemini OpenAI-compatible", "Gemini embeddings", "Vertex predict"),
    *("xAI chat", "xAI Responses", "OpenRouter", "OpenRouter Responses", "DeepSeek", "Zhipu GLM", "Qwen DashScope"),
    *("Moonshot Kimi", "MiniMax", "Mistral", "Groq", "Cerebras", "Crusoe", "Snowflake", "Databricks", "Hugging Face"),
    *("Ollama", "vLLM and SGLang", "Heroku", "Together", "Fireworks", "Baseten", "Perplexity", "Cohere", "Voyage"),
)
"""Whose answers there are, as vendors call their APIs: each has rows, and each row is of one of them."""


@dataclass(frozen=True)
class Sse:
    """A stream of server-sent events, each with its blank line."""

    events: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.events)


def sse(*events: object) -> Sse:
    """A stream: each event is its data (JSON, or text that is none), or a pair of its name and its data."""
    return Sse(tuple(_event(*event) if isinstance(event, tuple) else _event("", event) for event in events))


def named(*events: Mapping[str, object]) -> Sse:
    """A stream whose events are named by their own `type`, as Anthropic's and the Responses API's are."""
    return sse(*((str(event["type"]), event) for event in events))


def _event(name: str, data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer. `provider` and `path`: of the request. `sent`: JSON, a stream, or the bytes of either.

    `usage` has each count that is known, by its name in `Usage`; `requests` is 1 where left out and anything else is
    known. `model`, `service_tier` None: not looked at. `told_by_shape`: whether the same is read without knowing the
    request, with the provider alone; `told_by_shape_alone`, without that too.
    """

    name: str
    provider: str
    path: str
    sent: object
    usage: Mapping[str, int]
    source: str = "provider"
    anomalies: tuple[str, ...] = ()
    model: str | None = None
    service_tier: str | None = None
    cost: Money | None = None
    sub_calls: tuple[tuple[str, Mapping[str, int]], ...] = ()
    failed: bool = False
    pending: bool = False
    content_type: str = ""
    told_by_shape: bool = True
    told_by_shape_alone: bool = True

    @property
    def body(self) -> bytes:
        if isinstance(self.sent, bytes):
            return self.sent
        return self.sent.body if isinstance(self.sent, Sse) else json.dumps(self.sent).encode()

    @property
    def counts(self) -> dict[str, int]:
        return counted(self.usage)


def counted(usage: Mapping[str, int]) -> dict[str, int]:
    """The counts, with the one request that every answer with counts is."""
    return {"requests": 1, **usage} if usage else {}


def rows() -> list[Row]:
    """Those of all `rows_*.py` beside this file."""
    found = []
    for file in sorted(Path(__file__).parent.glob("rows_*.py")):
        found += importlib.import_module(f"tests.formats.{file.stem}").ROWS
    return found


def counts(usage: Usage) -> dict[str, int]:
    return {name: count for name in COUNTED if (count := getattr(usage, name)) is not None}


def holds(row: Row, answer: Answer) -> None:
    """The answer is the row's."""
    usage = answer.usage
    assert counts(usage) == row.counts
    # That none is stated is told of an answer that was read, not by its format.
    anomalies = tuple(name for name in usage.anomalies if name != "usage_absent")
    assert (usage.source, anomalies, usage.provider_cost) == (row.source, row.anomalies, row.cost)
    assert (answer.failed, answer.pending) == (row.failed, row.pending)
    assert row.model in (None, answer.model)
    assert row.service_tier in (None, answer.service_tier)
    sub_calls = [(each.model, counts(each.usage)) for each in answer.sub_calls]
    assert sub_calls == [(model, stated) for model, stated in row.sub_calls]


def format_of(row: Row) -> Format:
    """As its request tells it."""
    match = find("POST", row.path, row.provider)
    assert match is not None, row.path
    return match.format


def cut(body: bytes, borders: Iterable[int]) -> list[bytes]:
    """The bytes in pieces that end at the borders, some of them empty."""
    places = [0, *sorted(borders), len(body)]
    return [body[begin:end] for begin, end in pairwise(places)]
