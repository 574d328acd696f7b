"""What it takes to read a call's usage from its answer, and to price it.

    python -m tests.benchmarks.extracting

Yardsticks: genai-prices and litellm, each in an environment of its own, asked in turn about the same answers. All get
the parsed JSON (and then its bytes, too), and give back counts and a price; ours also what is odd about them, the
provider's block as text, and what else the answer says of itself. The aim: at least 10 × faster than either.

Times are of the processor, so that what else runs on the machine tells least: the median of `ROUNDS`, and the least.
"""

import json
import os
import sys
import timeit
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import process_time
from typing import Any

AIM = 10
ROUNDS = 9
SECONDS = 0.05
"""How long one measurement takes, about."""
AT = datetime(2026, 11, 4, 12, tzinfo=UTC)
TEXT = "It depends on what is meant by a token. " * 50

_CHAT_USAGE = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {
        **{"reasoning_tokens": 192, "audio_tokens": 0},
        **{"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    },
}
_ANTHROPIC_USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 2048,
    "cache_read_input_tokens": 18000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2048, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 503,
    "service_tier": "standard",
}
_GEMINI_USAGE = {
    "promptTokenCount": 2152,
    "candidatesTokenCount": 710,
    "totalTokenCount": 4065,
    "cachedContentTokenCount": 1024,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2152}],
    "thoughtsTokenCount": 1203,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, by the names under which each library knows its provider."""

    provider: str
    path: str
    genai: tuple[str, str]
    litellm: str
    model: str
    body: Mapping[str, Any]


def _choice(**fields: object) -> dict[str, object]:
    return {"index": 0, "finish_reason": "stop", **fields}


ANSWERS = {
    "OpenAI chat": Answer(
        *("openai", "/v1/chat/completions", ("openai", "chat"), "openai", "gpt-5"),
        {
            **{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5"},
            "choices": [_choice(message={"role": "assistant", "content": TEXT})],
            **{"usage": _CHAT_USAGE, "service_tier": "default"},
        },
    ),
    "OpenAI chat, a stream's last chunk": Answer(
        *("openai", "/v1/chat/completions", ("openai", "chat"), "openai", "gpt-5"),
        {
            **{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5"},
            **{"choices": [], "usage": _CHAT_USAGE},
        },
    ),
    "Anthropic": Answer(
        *("anthropic", "/v1/messages", ("anthropic", "default"), "anthropic", "claude-opus-4-5"),
        {
            **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5"},
            **{"content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "usage": _ANTHROPIC_USAGE},
        },
    ),
    "Gemini": Answer(
        *("gemini", "/v1beta/models/gemini-2.5-flash:generateContent", ("google", "default")),
        *("gemini", "gemini-2.5-flash"),
        {
            "candidates": [_choice(content={"role": "model", "parts": [{"text": TEXT}]}, finishReason="STOP")],
            **{"modelVersion": "gemini-2.5-flash", "responseId": "r-1", "usageMetadata": _GEMINI_USAGE},
        },
    ),
}

Priced = Callable[[], object]
"""Reads one answer and prices it."""


def _ours(answer: Answer) -> tuple[Priced, Priced]:
    from accounting.extraction import read
    from accounting.rates import price
    from accounting.resolution import RateBook

    book, encoded = RateBook(_rates()), json.dumps(answer.body).encode()

    def priced(body: object) -> object:
        found = read(body, provider=answer.provider, path=answer.path)
        rate = book.find(answer.provider, found.model or "", AT)
        assert rate is not None
        return price(found.usage.quantities, rate).amount

    return lambda: priced(answer.body), lambda: priced(encoded)


def _rates() -> Iterator[Any]:
    """Of thousands of models, as a full book has them."""
    from decimal import Decimal

    from accounting.periods import Period
    from accounting.rates import Rate

    models = {(answer.provider, answer.model) for answer in ANSWERS.values()}
    for provider, model in [*models, *(("wcode", f"m-{number}") for number in range(2_000))]:
        yield Rate(
            provider=provider,
            model=model,
            currency="USD",
            period=Period(datetime(2026, 1, 1, tzinfo=UTC), None),
            input_per_1k=Decimal("0.005"),
            cache_read_per_1k=Decimal("0.0005"),
            cache_write_per_1k=Decimal("0.00625"),
            output_per_1k=Decimal("0.025"),
        )


def _genai(answer: Answer) -> tuple[Priced, Priced]:
    from genai_prices.data_snapshot import get_snapshot

    snapshot, (provider, flavour), encoded = get_snapshot(), answer.genai, json.dumps(answer.body).encode()

    def priced(body: object) -> object:
        found = snapshot.extract_usage(body, provider, None, flavour)
        return found.calc_price(genai_request_timestamp=AT).total_price

    return lambda: priced(answer.body), lambda: priced(json.loads(encoded))


def _litellm(answer: Answer) -> tuple[Priced, Priced]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm import completion_cost

    response, encoded = _litellm_response(answer), json.dumps(answer.body).encode()

    def priced(body: Any) -> object:
        return completion_cost(completion_response=response(body), custom_llm_provider=answer.litellm)

    return lambda: priced(answer.body), lambda: priced(json.loads(encoded))


def _litellm_response(answer: Answer) -> Callable[[Any], Any]:
    """What its `completion_cost` takes: OpenAI's answers as they are, of others their usage in OpenAI's form."""
    from litellm import ModelResponse

    if answer.litellm == "anthropic":
        from litellm.llms.anthropic.chat.transformation import AnthropicConfig

        config = AnthropicConfig()
        return lambda body: ModelResponse(model=body["model"], usage=config.calculate_usage(body["usage"], None))
    if answer.litellm == "gemini":
        from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

        read = VertexGeminiConfig.calculate_usage
        return lambda body: ModelResponse(model=body["modelVersion"], usage=read(body))
    return lambda body: body


LIBRARIES = {"ours": _ours, "genai": _genai, "litellm": _litellm}


def serve(library: str) -> None:
    """Time what each line of stdin names; write the microseconds that one took."""
    out, sys.stdout = sys.stdout, sys.stderr
    prepared = {name: LIBRARIES[library](answer) for name, answer in ANSWERS.items()}
    repeats: dict[tuple[str, bool], int] = {}
    for line in sys.stdin:
        name, parsing = json.loads(line)
        timer = timeit.Timer(prepared[name][parsing], timer=process_time)
        if (name, parsing) not in repeats:
            repeats[name, parsing] = max(1, int(SECONDS / (min(timer.repeat(5, 20)) / 20)))
        number = repeats[name, parsing]
        out.write(f"{timer.timeit(number) / number * 1e6}\n")
        out.flush()


def main() -> None:
    from tests.benchmarks.serving import served
    from tests.oracles.asking import ORACLES
    from tests.sdks.environments import python_for

    pythons = {"ours": sys.executable} | {name: str(python_for(oracle)) for name, oracle in ORACLES.items()}
    worst = float("inf")
    with served("tests.benchmarks.extracting", pythons) as timed:
        for parsing in (False, True):
            print("from its bytes:" if parsing else "from its parsed JSON:")
            for answer in ANSWERS:
                rounds = [{name: measure([answer, parsing]) for name, measure in timed.items()} for _ in range(ROUNDS)]
                taken = {name: median(each[name] for each in rounds) for name in timed}
                least = {name: min(each[name] for each in rounds) for name in timed}
                worst = worst if parsing else min([worst, *(least[name] / least["ours"] for name in ORACLES)])
                print(f"  {answer}: ours {taken['ours']:.1f} µs (least {least['ours']:.1f})")
                for name in ORACLES:
                    times = f"{taken[name] / taken['ours']:.1f} × (of the least {least[name] / least['ours']:.1f} ×)"
                    print(f"    {name} {taken[name]:.0f} µs (least {least[name]:.0f}): {times}")
    print(f"from parsed JSON at least {worst:.1f} × faster, by the least times (the aim: {AIM} ×)")


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else main()
