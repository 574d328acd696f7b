"""OpenAI's other endpoints, and those of others who follow it: completions, embeddings, images and audio."""

from tests.formats.catalogue import Row, named, sse
from tests.formats.chats import usage, usd

_COMPLETION = {"id": "cmpl-1", "object": "text_completion", "model": "gpt-3.5-turbo-instruct"}


def _completion(text: str, finish: str | None = None) -> dict[str, object]:
    return {**_COMPLETION, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}


_COMPLETIONS = [
    Row(
        name="OpenAI completions: a whole answer",
        provider="openai",
        path="/v1/completions",
        sent={**_completion("Hi", "stop"), "usage": usage(14, 16)},
        usage={"input_tokens": 14, "output_tokens": 16},
        model="gpt-3.5-turbo-instruct",
    ),
    Row(
        name="OpenAI completions: a stream",
        provider="openai",
        path="/v1/completions",
        sent=sse(
            _completion("H"),
            _completion("i", "stop"),
            {**_COMPLETION, "choices": [], "usage": usage(14, 16)},
            "[DONE]",
        ),
        usage={"input_tokens": 14, "output_tokens": 16},
        model="gpt-3.5-turbo-instruct",
    ),
    Row(
        name="OpenAI completions: cached tokens, to fill in the middle",
        provider="deepseek",
        path="/beta/completions",
        sent={
            **_completion("Hi", "stop"),
            "usage": usage(100, 16, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36),
        },
        usage={"input_tokens": 100, "output_tokens": 16, "cache_read_tokens": 64},
    ),
]


def _embeddings(stated: object) -> dict[str, object]:
    vector = {"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}
    return {"object": "list", "data": [vector], "model": "embed-1", "usage": stated}


_EMBEDDINGS = [
    Row(
        name="OpenAI embeddings: nothing is put out",
        provider="openai",
        path="/v1/embeddings",
        sent=_embeddings({"prompt_tokens": 8, "total_tokens": 8}),
        usage={"input_tokens": 8, "output_tokens": 0},
        model="embed-1",
    ),
    Row(
        name="OpenAI embeddings: with a completion of zero, as Mistral's",
        provider="mistral",
        path="/v1/embeddings",
        sent=_embeddings(usage(15, 0, prompt_audio_seconds=None)),
        usage={"input_tokens": 15, "output_tokens": 0},
    ),
    Row(
        name="OpenAI embeddings: a total that is another",
        provider="gpu.internal",
        path="/v1/embeddings",
        sent=_embeddings({"prompt_tokens": 8, "total_tokens": 9}),
        usage={"input_tokens": 8, "output_tokens": 0},
        anomalies=("total_mismatch",),
    ),
    Row(
        name="OpenAI embeddings: without usage",
        provider="gpu.internal",
        path="/v1/embeddings",
        sent=_embeddings(None),
        usage={},
        source="missing",
    ),
    Row(
        name="Voyage: the total alone",
        provider="voyage",
        path="/v1/embeddings",
        sent=_embeddings({"total_tokens": 10}),
        usage={"input_tokens": 10, "output_tokens": 0},
    ),
    Row(
        name="Voyage: pixels beside the total",
        provider="voyage",
        path="/v1/multimodalembeddings",
        sent=_embeddings({"text_tokens": 5, "image_pixels": 2_000_000, "total_tokens": 3576}),
        usage={"input_tokens": 3576, "output_tokens": 0},
    ),
]

_IMAGE_USAGE = {
    "input_tokens": 50,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    "output_tokens": 1056,
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
    "total_tokens": 1106,
}
_IMAGE_COUNTS = {"input_tokens": 50, "image_input_tokens": 40, "output_tokens": 1056, "image_output_tokens": 1056}


def _images(count: int, **fields: object) -> dict[str, object]:
    return {"created": 1713833628, "data": [{"b64_json": "iVBORw0KGgo="}] * count, **fields}


def _streamed(kind: str, **fields: object) -> dict[str, object]:
    return {"type": kind, "b64_json": "iVBORw0KGgo=", "created_at": 1, "size": "1024x1024", **fields}


_IMAGES = [
    Row(
        name="OpenAI images: tokens of text and of images",
        provider="openai",
        path="/v1/images/edits",
        sent=_images(2, usage=_IMAGE_USAGE),
        usage=_IMAGE_COUNTS,
    ),
    Row(
        name="OpenAI images: a drawing's model is billed beside",
        provider="openai",
        path="/v1/images/generations",
        sent=_images(
            1,
            usage=_IMAGE_USAGE,
            svg_usage={
                **{"model": "gpt-5.4", "input_tokens": 700, "output_tokens": 900, "reasoning_tokens": 300},
                "total_tokens": 1600,
            },
        ),
        usage=_IMAGE_COUNTS,
        sub_calls=(("gpt-5.4", {"input_tokens": 700, "output_tokens": 900, "reasoning_tokens": 300}),),
    ),
    Row(
        name="OpenAI images: a stream with previews",
        provider="openai",
        path="/v1/images/generations",
        sent=named(
            _streamed("image_generation.partial_image", partial_image_index=0),
            _streamed("image_generation.partial_image", partial_image_index=1),
            _streamed("image_generation.completed", usage=_IMAGE_USAGE),
        ),
        usage=_IMAGE_COUNTS,
    ),
    Row(
        name="OpenAI images: a stream whose events have no names",
        provider="azure",
        path="/openai/deployments/ours/images/edits",
        sent=sse(
            _streamed("image_edit.partial_image", partial_image_index=0),
            _streamed("image_edit.completed", usage=_IMAGE_USAGE),
            "[DONE]",
        ),
        usage=_IMAGE_COUNTS,
    ),
    Row(
        name="OpenAI images: an error in a stream",
        provider="openai",
        path="/v1/images/generations",
        sent=named(
            _streamed("image_generation.partial_image", partial_image_index=0),
            {"type": "error", "error": {"code": "moderation_blocked"}},
        ),
        usage={},
        source="missing",
        failed=True,
    ),
    Row(
        name="OpenAI images: without usage the images are what is known",
        provider="together",
        path="/v1/images/generations",
        sent={"created": 1, "data": [{"url": "https://i.example/1"}, {"url": "https://i.example/2"}]},
        usage={"images": 2},
    ),
    Row(
        name="OpenAI images: a stream without usage",
        provider="gpu.internal",
        path="/v1/images/generations",
        sent=named(
            _streamed("image_generation.partial_image", partial_image_index=0), _streamed("image_generation.completed")
        ),
        usage={"images": 1},
    ),
    Row(
        name="OpenAI images: a cost in ticks and no tokens, as xAI's",
        provider="xai",
        path="/v1/images/generations",
        sent=_images(1, usage={"cost_in_usd_ticks": 700_000_000}),
        usage={"images": 1},
        cost=usd("0.07"),
    ),
]

_HEARD = {
    "type": "tokens",
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    "output_tokens": 45,
    "total_tokens": 59,
}
_HEARD_COUNTS = {"input_tokens": 14, "audio_input_tokens": 10, "output_tokens": 45}
_AUDIO = [
    Row(
        name="OpenAI audio: a transcript in tokens",
        provider="openai",
        path="/v1/audio/transcriptions",
        sent={"text": "Imagine", "usage": _HEARD},
        usage=_HEARD_COUNTS,
    ),
    Row(
        name="OpenAI audio: a transcript in seconds",
        provider="openai",
        path="/v1/audio/transcriptions",
        sent={
            "task": "transcribe",
            "duration": 8.47,
            "text": "Hi",
            "segments": [],
            "usage": {"type": "duration", "seconds": 8.6},
        },
        usage={"audio_seconds": 9},
    ),
    Row(
        name="OpenAI audio: an older transcript says only how long it is",
        provider="groq",
        path="/openai/v1/audio/translations",
        sent={"task": "translate", "language": "german", "duration": 8.47, "text": "Hi", "x_groq": {"id": "req_1"}},
        usage={"audio_seconds": 9},
        anomalies=("duration_taken_for_usage",),
    ),
    Row(
        name="OpenAI audio: a transcript that says nothing of usage",
        provider="openai",
        path="/v1/audio/transcriptions",
        sent={"text": "Hi"},
        usage={},
        source="missing",
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
    Row(
        name="OpenAI audio: a streamed transcript",
        provider="openai",
        path="/v1/audio/transcriptions",
        sent=sse(
            {"type": "transcript.text.delta", "delta": "I"},
            {"type": "transcript.text.delta", "delta": 'magine {"type": "transcript.text.done"}'},
            {"type": "transcript.text.done", "text": "Imagine", "usage": _HEARD},
            "[DONE]",
        ),
        usage=_HEARD_COUNTS,
    ),
    Row(
        name="OpenAI audio: streamed speech",
        provider="openai",
        path="/v1/audio/speech",
        sent=sse(
            {"type": "speech.audio.delta", "audio": "SUQz"},
            {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}},
        ),
        usage={"input_tokens": 14, "output_tokens": 101},
    ),
    Row(
        name="OpenAI audio: a transcript of Mistral's, in tokens and seconds",
        provider="mistral",
        path="/v1/audio/transcriptions",
        sent={
            "model": "voxtral-mini-latest",
            "text": "Ja.",
            "segments": [],
            "usage": usage(3, 41, 419, prompt_audio_seconds=12, prompt_tokens_details={"audio_tokens": 375}),
        },
        usage={"input_tokens": 378, "audio_input_tokens": 375, "output_tokens": 41, "audio_seconds": 12},
        anomalies=("audio_beside_input",),
        model="voxtral-mini-latest",
    ),
    Row(
        name="OpenAI audio: a transcript of Mistral's, streamed",
        provider="mistral",
        path="/v1/audio/transcriptions",
        sent=named(
            {"type": "transcription.text.delta", "text": "Ja."},
            {
                "type": "transcription.done",
                "model": "voxtral-mini-latest",
                "text": "Ja.",
                "usage": {"prompt_tokens": 8, "completion_tokens": 4, "prompt_audio_seconds": 3},
            },
        ),
        usage={"input_tokens": 8, "output_tokens": 4, "audio_seconds": 3},
        model="voxtral-mini-latest",
    ),
]

ROWS = [*_COMPLETIONS, *_EMBEDDINGS, *_IMAGES, *_AUDIO]
