"""Asks litellm, in its environment, what a call costs by its own price map.

python -m tests.oracles.lite_sums
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.oracles.serving import Question, Reply, serve

COUNTS = (
    *("input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "image_input"),
    *("output", "reasoning", "audio_output", "image_output"),
)
"""What a usage says, by our names."""

MAP = "model_prices_and_context_window_backup.json"


def oracle() -> Callable[[Question], Reply]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm._internal_context import pinned_billing_time
    from litellm.cost_calculator import cost_per_token
    from litellm.types.utils import Usage

    litellm.telemetry = False
    litellm.suppress_debug_info = True

    def answer(question: Question) -> Reply:
        if "list" in question:
            return {"map": (Path(litellm.__file__).parent / MAP).read_text("utf-8")}
        used, tier = question["used"], question["tier"]
        if used["images"]:
            return {"cost": repr(_images(question["model"], question["provider"], used["images"]))}
        seconds = float(used["audio_seconds"])
        with pinned_billing_time(datetime.fromisoformat(question["at"])):
            into, out = cost_per_token(
                model=question["model"],
                custom_llm_provider=question["provider"],
                usage_object=Usage(**usage(used)),
                service_tier=tier or None,
                call_type=_call_type(tier, seconds),
                audio_transcription_file_duration=seconds,
            )
        return {"cost": repr(into + out)}

    return answer


def _images(model: str, provider: str, number: int) -> float:
    """What it makes of an answer with so many."""
    from litellm import completion_cost
    from litellm.types.utils import ImageObject, ImageResponse

    made = ImageResponse(created=1, data=[ImageObject(url="https://pictures.invalid/1")] * number)
    return float(
        completion_cost(
            completion_response=made, model=model, custom_llm_provider=provider, call_type="image_generation"
        )
    )


def _call_type(tier: str, seconds: float) -> Any:
    """What a batch costs it tells of the whole batch alone."""
    if tier == "batch":
        return "retrieve_batch"
    return "transcription" if seconds else "completion"


def usage(used: dict[str, int]) -> dict[str, Any]:
    """As its readers of providers' answers have it: tokens that were cached are within the prompt."""
    for_an_hour = used["cache_write_1h"]
    written = {
        "ephemeral_5m_input_tokens": used["cache_write"] - for_an_hour,
        "ephemeral_1h_input_tokens": for_an_hour,
    }
    into = {
        "cached_tokens": used["cache_read"],
        "cache_creation_tokens": used["cache_write"],
        **({"cache_creation_token_details": written} if used["cache_write"] else {}),
        "audio_tokens": used["audio_input"],
        "image_tokens": used["image_input"],
    }
    out = {
        "reasoning_tokens": used["reasoning"],
        "audio_tokens": used["audio_output"],
        "image_tokens": used["image_output"],
    }
    return {
        "prompt_tokens": used["input"],
        "completion_tokens": used["output"],
        "total_tokens": used["input"] + used["output"],
        **({"prompt_tokens_details": into} if any(into.values()) else {}),
        **({"completion_tokens_details": out} if any(out.values()) else {}),
    }


if __name__ == "__main__":
    serve(oracle)
