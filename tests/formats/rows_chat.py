"""Those who speak OpenAI's chat completions, each with what it makes of the usage block: the larger half."""

from tests.formats.catalogue import sse
from tests.formats.chats import UNKNOWN, cached, chunk, on_finish, reasoned, row, usage, usd, whole

_OPENAI = [
    row(
        "OpenAI chat: audio, images and predictions are parts",
        "openai",
        whole(
            usage(
                *(100, 50),
                **cached(10, audio_tokens=20, image_tokens=30, text_tokens=50, cache_write_tokens=5),
                **reasoned(9, audio_tokens=7, text_tokens=34, rejected_prediction_tokens=4),
            ),
            service_tier="Flex",
        ),
        (100, 50, 10, 9),
        more={
            **{"cache_write_tokens": 5, "audio_input_tokens": 20, "image_input_tokens": 30},
            "audio_output_tokens": 7,
        },
        service_tier="flex",
    ),
    row(
        "OpenAI chat: a chunk on moderation comes after the one on usage",
        "openai",
        sse(
            chunk(usage=None, service_tier=None),
            chunk(usage=None, service_tier="default"),
            chunk("", "stop", usage=None),
            {"id": "c1", "choices": [], "usage": usage(5, 7)},
            {"id": "c1", "choices": [], "moderation": {"input": {"type": "moderation_results"}}, "usage": None},
            "[DONE]",
        ),
        (5, 7),
        service_tier="default",
    ),
    row("OpenAI chat: a stream that was not asked for its usage", "openai", on_finish(None), (), source="missing"),
]

_AZURE = [
    row(
        "Azure OpenAI: older serverless models count beside the details",
        "azure",
        whole(
            usage(
                *(100, 50),
                **{"prompt_tokens_details": None, "completion_tokens_details": None},
                **{"reasoning_tokens": 20, "audio_prompt_tokens": 0},
            )
        ),
        (100, 50, UNKNOWN, 20),
        path="/openai/deployments/d/chat/completions?api-version=2024-10-21",
        more={"audio_input_tokens": 0},
    ),
    row(
        "Azure OpenAI: a stream begins with a filter's results",
        "azure",
        sse(
            {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]},
            chunk(),
            chunk("", "stop"),
            {"choices": [], "id": "c1", "model": "m-1", "usage": usage(5, 7, **cached(0), **reasoned(0))},
            "[DONE]",
        ),
        (5, 7, 0, 0),
        model="m-1",
    ),
]

_OPENROUTER = [
    row(
        "OpenRouter: leading lines of blanks, and its cost",
        "openrouter",
        b'\n         \n\n         \n{"id":"gen-1","provider":"Anthropic","model":"anthropic/claude","choices":[{'
        b'"index":0,"finish_reason":"stop","native_finish_reason":"end_turn"}],"usage":{"prompt_tokens":4100,"completion_'
        b'tokens":120,"total_tokens":4220,"cost":0.02854,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0,'
        b'"cache_write_tokens":4012,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":null},'
        b'"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":0}}}',
        (4100, 120, 0, 0),
        more={"cache_write_tokens": 4012, "audio_input_tokens": 0, "image_output_tokens": 0},
        cost=usd("0.02854"),
    ),
    row(
        "OpenRouter: what a key of one's own was charged for is no cost of OpenRouter's",
        "openrouter",
        whole(usage(19, 10, cost=0, is_byok=True, cost_details={"upstream_inference_cost": 0.0003253})),
        (19, 10),
        cost=usd("0"),
    ),
    row(
        "OpenRouter: reasoning of xAI's models is inside, and searches are counted",
        "openrouter",
        whole(usage(100, 50, **reasoned(30), server_tool_use_details={"web_search_requests": 2}, cost=0.0133)),
        (100, 50, UNKNOWN, 30),
        more={"web_searches": 2},
        cost=usd("0.0133"),
    ),
    row(
        "OpenRouter: comments, and an error with usage under a status of success",
        "openrouter",
        b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"
        + sse(
            chunk(),
            {
                "id": "c1",
                "error": {"code": 502, "message": "Provider disconnected"},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                "usage": usage(43, 10, **reasoned(11)),
            },
            "[DONE]",
        ).body,
        (43, 10, UNKNOWN, 10),
        "reasoning_exceeds_output",
        failed=True,
    ),
    row("OpenRouter: a video's prompt is not counted", "openrouter", whole(usage(0, 180)), (0, 180)),
]

_DEEPSEEK = [
    row(
        "DeepSeek: hits and misses are the prompt",
        "deepseek",
        on_finish(
            usage(*(100, 50), **cached(64), **reasoned(20), prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36)
        ),
        (100, 50, 64, 20),
    ),
    row(
        "DeepSeek: hits and misses that are not the prompt",
        "deepseek",
        whole(usage(100, 50, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=30)),
        (100, 50, 64),
        "cache_split_mismatch",
    ),
]

_ZHIPU = [
    row(
        "Zhipu GLM: more reasoning than the completion it is part of",
        "wcode",
        whole(usage(15, 210, **cached(0, audio_tokens=0), **reasoned(229, audio_tokens=0)), model="z-ai/glm-5"),
        (15, 210, 0, 210),
        "reasoning_exceeds_output",
        path="/api/gpt/v1/chat/completions",
        more={"audio_input_tokens": 0, "audio_output_tokens": 0},
        model="z-ai/glm-5",
    ),
    row(
        "Zhipu GLM: usage comes with the end",
        "zhipu",
        on_finish(usage(100, 50, **cached(43), **reasoned(20))),
        (100, 50, 43, 20),
        path="/api/paas/v4/chat/completions",
    ),
]

_QWEN = [
    row(
        "Qwen DashScope: reasoning is inside",
        "dashscope",
        whole(usage(24, 1379, completion_tokens_details={"reasoning_tokens": 1355, "text_tokens": 24})),
        (24, 1379, UNKNOWN, 1355),
        path="/compatible-mode/v1/chat/completions",
    ),
    row(
        "Qwen DashScope: what was written to the cache, by how long it lasts",
        "dashscope",
        on_finish(
            usage(
                *(2000, 50),
                **cached(
                    0,
                    cache_creation_input_tokens=1500,
                    cache_type="ephemeral",
                    cache_creation={"ephemeral_5m_input_tokens": 1500, "ephemeral_1h_input_tokens": 0},
                ),
            )
        ),
        (2000, 50, 0),
        more={"cache_write_tokens": 1500, "cache_write_1h_tokens": 0},
    ),
]

_MOONSHOT = [
    row(
        "Moonshot Kimi: a stream's usage is in its last choice",
        "moonshot",
        sse(
            chunk(),
            {
                "id": "c1",
                "model": "kimi-k3",
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(3007, 12, cached_tokens=2989)}
                ],
            },
            "[DONE]",
        ),
        (3007, 12, 2989),
    ),
    row(
        "Moonshot Kimi: a zero in the details does not hide what was cached",
        "moonshot",
        whole(usage(3007, 12, cached_tokens=2989, **cached(0))),
        (3007, 12, 2989),
    ),
]

ROWS = [*_OPENAI, *_AZURE, *_OPENROUTER, *_DEEPSEEK, *_ZHIPU, *_QWEN, *_MOONSHOT]
