"""Asks litellm, in its environment: what does a body say was used, and what does that cost?

python -m tests.oracles.lite
"""

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.oracles.serving import Question, Reply, serve


class _Log:
    """Takes the place of its log of a call, for those readers that write to it."""

    def __init__(self) -> None:
        self.optional_params: dict[str, Any] = {}
        self.model_call_details: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def oracle() -> Callable[[Question], Reply]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True

    def read(question: Question) -> Reply:
        reader, provider = question["litellm"]
        usage = READERS[reader](provider, question["body"])
        return _counts(usage) | (_priced(usage, question["model"], provider) if question["price"] else {})

    return read


def _chat(provider: str, body: dict[str, Any]) -> Any:
    from litellm.types.utils import LlmProviders
    from litellm.utils import ProviderConfigManager

    config = ProviderConfigManager.get_provider_chat_config(_model(body), LlmProviders(provider))
    return _transformed(config, body).usage


def _converse(_: str, body: dict[str, Any]) -> Any:
    from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig

    return _transformed(AmazonConverseConfig(), body).usage


def _transformed(config: Any, body: dict[str, Any]) -> Any:
    from litellm.types.utils import ModelResponse

    return config.transform_response(
        model=_model(body),
        raw_response=_response(body),
        model_response=ModelResponse(),
        logging_obj=_Log(),
        request_data={},
        messages=[],
        optional_params={},
        litellm_params={},
        encoding=None,
        api_key="",
        json_mode=False,
    )


def _responses(provider: str, body: dict[str, Any]) -> Any:
    from litellm.responses.utils import ResponseAPILoggingUtils
    from litellm.types.utils import LlmProviders
    from litellm.utils import ProviderConfigManager

    model = _model(body)
    config = ProviderConfigManager.get_provider_responses_api_config(LlmProviders(provider), model)
    found = config.transform_response_api_response(model=model, raw_response=_response(body), logging_obj=_Log())
    return ResponseAPILoggingUtils.transform_response_api_usage_to_chat_usage(found.usage)


def _embeddings(_: str, body: dict[str, Any]) -> Any:
    from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import convert_to_model_response_object
    from litellm.types.utils import EmbeddingResponse

    found = convert_to_model_response_object(
        response_object=body, model_response_object=EmbeddingResponse(), response_type="embedding"
    )
    return found.usage


READERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "chat": _chat,
    "converse": _converse,
    "responses": _responses,
    "embeddings": _embeddings,
}


def _model(body: dict[str, Any]) -> str:
    named = body.get("model") or body.get("modelVersion")
    return named if isinstance(named, str) else "model"


def _response(body: dict[str, Any]) -> Any:
    import httpx

    return httpx.Response(200, content=json.dumps(body), request=httpx.Request("POST", "https://provider.invalid/"))


def _counts(usage: Any) -> Reply:
    """Its `prompt_tokens` include what was read from and written to the cache, as its cost calculation has it."""
    into, out = usage.prompt_tokens_details, usage.completion_tokens_details
    written = getattr(into, "cache_creation_token_details", None)
    return {
        "input": usage.prompt_tokens,
        "cache_read": getattr(into, "cached_tokens", None),
        "cache_write": getattr(into, "cache_creation_tokens", None) or getattr(into, "cache_write_tokens", None),
        "cache_write_1h": getattr(written, "ephemeral_1h_input_tokens", None),
        "output": usage.completion_tokens,
        "reasoning": getattr(out, "reasoning_tokens", None),
    }


def _priced(usage: Any, model: str, provider: str) -> Reply:
    """The cost in dollars, and the prices of one token, as text; neither where the model has no price."""
    from litellm.cost_calculator import cost_per_token

    prices = _prices(model, provider)
    if not prices:
        return {}
    try:
        into, out = cost_per_token(model=model, custom_llm_provider=provider, usage_object=usage)
    except Exception as error:  # of whatever kind: it is the answer
        return {"unpriced": str(error)[:300]}
    return {"cost": repr(into + out), "prices": prices}


@cache
def _prices(model: str, provider: str) -> dict[str, str]:
    import litellm

    found = litellm.model_cost.get(f"{provider}/{model}") or litellm.model_cost.get(model) or {}
    return {
        name: repr(price)
        for name, price in found.items()
        if "cost" in name and isinstance(price, float | int) and not isinstance(price, bool)
    }


if __name__ == "__main__":
    serve(oracle)
