"""Those who speak OpenAI's chat completions, each with what it makes of the usage block: the rest, and the dialects."""

from typing import Any

from tests.formats.catalogue import sse
from tests.formats.chats import UNKNOWN, cached, chunk, on_finish, reasoned, row, usage, usd, whole

_MISTRAL = [
    row(
        "Mistral: cached tokens under an older name",
        "mistral",
        whole(usage(100, 50, num_cached_tokens=64, prompt_audio_seconds={})),
        (100, 50, 64),
    ),
    row(
        "Mistral: cached tokens under newer names, one of them misspelt",
        "mistral",
        on_finish(usage(100, 50, num_cached_tokens=0, prompt_token_details={"cached_tokens": 64}, **cached(64))),
        (100, 50, 64),
    ),
    row(
        "Mistral: what was heard stands beside the prompt, and seconds are counted",
        "mistral",
        whole(usage(3, 41, 419, prompt_audio_seconds=12, **cached(0, audio_tokens=375))),
        (378, 41, 0),
        "audio_beside_input",
        more={"audio_input_tokens": 375, "audio_seconds": 12},
    ),
    row(
        "Mistral: the tier is told with the usage",
        "mistral",
        on_finish(usage(5, 7, service_tier="priority")),
        (5, 7),
        service_tier="priority",
    ),
]

_TIMES: dict[str, Any] = {"queue_time": 0.0174, "prompt_time": 0.0021, "completion_time": 0.11, "total_time": 0.1121}

_GROQ = [
    row(
        "Groq: times beside the counts",
        "groq",
        whole(usage(100, 50, **cached(64), **_TIMES), x_groq={"id": "req_1"}, service_tier="on_demand"),
        (100, 50, 64),
        path="/openai/v1/chat/completions",
        service_tier="on_demand",
    ),
    row(
        "Groq: a stream that was not asked states its usage apart",
        "groq",
        on_finish(None, x_groq={"id": "req_1", "usage": usage(100, 50, **_TIMES)}),
        (100, 50),
    ),
    row(
        "Groq: an error in a stream",
        "groq",
        sse(chunk(), ("error", {"error": {"message": "tool call failed", "type": "invalid_request_error"}})),
        (),
        source="missing",
        failed=True,
    ),
]

_TOGETHER = [
    row("Cerebras", "cerebras", whole(usage(100, 50, **cached(64)), time_info={"total_time": 0.1}), (100, 50, 64)),
    row("Crusoe", "crusoe", whole(usage(100, 50, **cached(None, multimodal_tokens=None))), (100, 50)),
    row(
        "Hugging Face: null details",
        "huggingface",
        whole(usage(100, 50, prompt_tokens_details=None, completion_tokens_details=None)),
        (100, 50),
    ),
    row("Hugging Face: cached tokens alone", "huggingface", whole(usage(100, 50, cached_tokens=64)), (100, 50, 64)),
    row("Ollama", "localhost:11434", on_finish(usage(100, 50)), (100, 50)),
    row("Heroku", "heroku", whole(usage(100, 50)), (100, 50)),
    row("Together", "together", on_finish(usage(100, 50, cached_tokens=0)), (100, 50, 0)),
    row("Fireworks", "fireworks", on_finish(usage(100, 50, **cached(64))), (100, 50, 64)),
    row(
        "Snowflake: a stream's chunks begin with empty usage",
        "snowflake",
        sse(chunk(usage={}), chunk("", "stop", usage=usage(100, 50)), chunk("", usage={}), "[DONE]"),
        (100, 50),
        path="/api/v2/cortex/inference:complete",
    ),
    row(
        "Databricks: an endpoint of one's own",
        "databricks",
        whole(usage(100, 50)),
        (100, 50),
        path="/serving-endpoints/ours/invocations",
    ),
    row(
        "vLLM and SGLang: cumulative usage in every chunk",
        "gpu.internal",
        sse(*(chunk(usage=usage(100, n)) for n in (1, 2, 3)), chunk("", "stop", usage=usage(100, 4)), "[DONE]"),
        (100, 4),
    ),
    row(
        "vLLM and SGLang: a stream that was cut",
        "gpu.internal",
        sse(*(chunk(usage=usage(100, n)) for n in (1, 2, 3))),
        (100, 3),
        source="partial",
    ),
    row(
        "vLLM and SGLang: counts that fall",
        "gpu.internal",
        sse(chunk(usage=usage(100, 3)), chunk("", "stop", usage=usage(100, 0)), "[DONE]"),
        (100, 0),
        "usage_fell",
    ),
    row(
        "Baseten: reasoning of one more than the completion, and so the total",
        "baseten",
        sse(
            chunk(usage=usage(951, 10)),
            chunk("", "length", usage=usage(951, 6000, 6952, **reasoned(6001))),
            "[DONE]",
        ),
        (951, 6001, UNKNOWN, 6001),
        "hidden_output",
    ),
]

_MINIMAX = [
    row(
        "MiniMax: an error in a chunk, with more reasoning than completion",
        "minimax",
        sse(chunk(), {"error": {"message": "overloaded"}, "usage": usage(43, 10, **reasoned(11))}),
        (43, 10, UNKNOWN, 10),
        "reasoning_exceeds_output",
        failed=True,
    ),
    row(
        "MiniMax: an error by a status of its own",
        "minimax",
        {"choices": None, "usage": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        (),
        source="missing",
        failed=True,
        path="/v1/text/chatcompletion_v2",
    ),
    row(
        "MiniMax: characters beside the tokens",
        "minimax",
        whole(usage(43, 10, total_characters=0), base_resp={"status_code": 0, "status_msg": ""}),
        (43, 10),
        path="/v1/text/chatcompletion_v2",
    ),
]

_GEMINI_PATH = "/v1beta/openai/chat/completions"
_GEMINI = [
    row(
        "Gemini OpenAI-compatible: thinking shows in the total alone",
        "gemini",
        whole(usage(35, 12, 109)),
        (35, 74),
        "hidden_output",
        path=_GEMINI_PATH,
    ),
    row(
        "Gemini OpenAI-compatible: thinking is inside, as later",
        "gemini",
        whole(usage(12, 1994, **reasoned(1269))),
        (12, 1994, UNKNOWN, 1269),
        path=_GEMINI_PATH,
    ),
    row(
        "Gemini OpenAI-compatible: thinking and no completion",
        "gemini",
        whole(usage(21, 0, 81, **reasoned(60))),
        (21, 60, UNKNOWN, 60),
        path=_GEMINI_PATH,
    ),
]

_XAI = [
    row(
        "xAI chat: reasoning stands beside",
        "xai",
        whole(
            usage(
                *(31721, 761, 32929),
                **cached(128, text_tokens=31721, audio_tokens=0, image_tokens=0),
                **reasoned(447, audio_tokens=0, accepted_prediction_tokens=0, rejected_prediction_tokens=0),
                num_sources_used=0,
                cost_in_usd_ticks=425_368_500,
            )
        ),
        (31721, 1208, 128, 447),
        more={"audio_input_tokens": 0, "image_input_tokens": 0, "audio_output_tokens": 0},
        cost=usd("0.04253685"),
    ),
    row(
        "xAI chat: reasoning stands beside where there is no total, too",
        "xai",
        on_finish(
            {"prompt_tokens": 279, "completion_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 89}}
        ),
        (279, 95, UNKNOWN, 89),
        told_by_shape_alone=False,
    ),
    row(
        "xAI chat: reasoning stands beside where the total is too short to tell",
        "xai",
        whole(usage(279, 6, 200, **reasoned(89))),
        (279, 95, UNKNOWN, 89),
        "total_mismatch",
        told_by_shape_alone=False,
    ),
    row(
        "xAI chat: reasoning is inside where the total proves it",
        "xai",
        whole(usage(279, 95, 374, **reasoned(89))),
        (279, 95, UNKNOWN, 89),
    ),
    row(
        "xAI chat: reasoning beside, of more than the completion",
        "xai",
        on_finish(usage(279, 6, 374, **reasoned(89), num_sources_used=3)),
        (279, 95, UNKNOWN, 89),
    ),
]

_RESEARCH_COST = {
    "input_tokens_cost": 0.00046,
    "output_tokens_cost": 0.10798,
    "citation_tokens_cost": 0.04094,
    "reasoning_tokens_cost": 0.43766,
    "search_queries_cost": 0.25,
    "total_cost": 0.83704,
}
_NO_COST = {"input_tokens_cost": 0, "output_tokens_cost": 0, "total_cost": 0}
_SONAR_COST = {
    **{"input_tokens_cost": 7e-05, "output_tokens_cost": 0.04022, "total_cost": 0.04629, "request_cost": 0.006},
    **{"citation_tokens_cost": None, "reasoning_tokens_cost": None, "search_queries_cost": None},
}
_RESEARCH: dict[str, Any] = {"citation_tokens": 20470, "num_search_queries": 50, "reasoning_tokens": 145885}

_PERPLEXITY = [
    row(
        "Perplexity: research bills its sources and its reasoning beside",
        "perplexity",
        whole(usage(230, 13498, **_RESEARCH, cost=_RESEARCH_COST), model="sonar-deep-research"),
        (20700, 159383, UNKNOWN, 145885),
        more={"web_searches": 50},
        cost=usd("0.83704"),
        path="/chat/completions",
        told_by_shape_alone=False,
    ),
    row(
        "Perplexity: research that is asked for later",
        "perplexity",
        {"id": "a1", "model": "sonar-deep-research", "created_at": 1, "status": "CREATED", "response": None},
        (),
        source="missing",
        pending=True,
        path="/v1/async/sonar",
        model="sonar-deep-research",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    row(
        "Perplexity: research that was asked for before",
        "perplexity",
        {
            **{"id": "a1", "model": "sonar-deep-research", "created_at": 1, "status": "COMPLETED"},
            "response": whole(usage(230, 13498, **_RESEARCH, cost=_RESEARCH_COST), model="sonar-deep-research"),
        },
        (20700, 159383, UNKNOWN, 145885),
        more={"web_searches": 50},
        cost=usd("0.83704"),
        path="/async/chat/completions",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    row(
        "Perplexity: research that failed",
        "perplexity",
        {"id": "a1", "status": "FAILED", "error_message": "timed out", "response": None},
        (),
        source="missing",
        failed=True,
        path="/async/chat/completions",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    row(
        "Perplexity: research without a list of what it bills",
        "perplexity",
        whole(usage(230, 13498, **_RESEARCH)),
        (20700, 159383, UNKNOWN, 145885),
        more={"web_searches": 50},
        told_by_shape_alone=False,
    ),
    row(
        "Perplexity: cumulative usage in every chunk, the last one twice",
        "perplexity",
        sse(
            chunk(usage=usage(24, 1, search_context_size="low", cost=_NO_COST)),
            chunk(usage=usage(24, 1800, search_context_size="low", cost=_NO_COST)),
            chunk("", "stop", usage=usage(24, 2681, search_context_size="low", cost=_SONAR_COST)),
            chunk("", "stop", usage=usage(24, 2681, search_context_size="low", cost=_SONAR_COST)),
            "[DONE]",
        ),
        (24, 2681),
        cost=usd("0.04629"),
        path="/v1/sonar",
    ),
    row(
        "Perplexity: sources that are shown and not billed",
        "perplexity",
        whole(usage(100, 50, citation_tokens=20, num_search_queries=3, cost=_SONAR_COST)),
        (100, 50),
        more={"web_searches": 3},
        cost=usd("0.04629"),
    ),
]

ROWS = [*_MISTRAL, *_GROQ, *_TOGETHER, *_MINIMAX, *_GEMINI, *_XAI, *_PERPLEXITY]
