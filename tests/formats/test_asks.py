"""What a request bounds its answer to, in every format that has a name for it."""

import pytest

from accounting import formats

LIMITED: dict[str, tuple[str, str, dict[str, object]]] = {
    "OpenAI chat": ("openai", "/v1/chat/completions", {"max_completion_tokens": 9}),
    "older OpenAI chat": ("mistral", "/v1/chat/completions", {"max_tokens": 9}),
    "xAI chat": ("xai", "/v1/chat/completions", {"max_completion_tokens": 9}),
    "Perplexity": ("perplexity", "/chat/completions", {"max_tokens": 9}),
    "Perplexity, for later": ("perplexity", "/async/chat/completions", {"request": {"max_tokens": 9}}),
    "completions": ("openai", "/v1/completions", {"max_tokens": 9}),
    "Responses": ("openai", "/v1/responses", {"max_output_tokens": 9}),
    "Anthropic": ("anthropic", "/v1/messages", {"max_tokens": 9}),
    "Claude at Vertex": ("vertex", "/v1/publishers/anthropic/models/c:rawPredict", {"max_tokens": 9}),
    "others at Vertex": ("vertex", "/v1/publishers/mistralai/models/m:rawPredict", {"max_tokens": 9}),
    "Anthropic's old completions": ("anthropic", "/v1/complete", {"max_tokens_to_sample": 9}),
    "Gemini": ("gemini", "/v1beta/models/g:generateContent", {"generationConfig": {"maxOutputTokens": 9}}),
    "Gemini in snake case": ("gemini", "/v1/models/g:generateContent", {"generation_config": {"max_output_tokens": 9}}),
    "Gemini Interactions": ("gemini", "/v1beta/interactions", {"generation_config": {"max_output_tokens": 9}}),
    "Vertex predict": ("vertex", "/v1/publishers/google/models/p:predict", {"parameters": {"maxOutputTokens": 9}}),
    "Converse": ("bedrock", "/model/m/converse", {"inferenceConfig": {"maxTokens": 9}}),
    "InvokeModel": ("bedrock", "/model/m/invoke", {"max_gen_len": 9}),
    "Cohere": ("cohere", "/v2/chat", {"max_tokens": 9}),
    "Cohere's older": ("cohere", "/v1/generate", {"max_tokens": 9}),
    "Ollama": ("ollama", "/api/chat", {"options": {"num_predict": 9}}),
}


@pytest.mark.parametrize("name", LIMITED)
def test_the_longest_answer_is_read_in_every_format_that_bounds_it(name: str) -> None:
    provider, path, body = LIMITED[name]
    found = formats.find("POST", path, provider)
    assert found is not None
    assert found.format.ask(body, path).max_tokens == 9


@pytest.mark.parametrize("limit", [0, -1, -2])
def test_ollamas_ways_to_say_without_end_are_no_limit(limit: int) -> None:
    found = formats.find("POST", "/api/chat", "ollama")
    assert found is not None
    assert found.format.ask({"options": {"num_predict": limit}}, "/api/chat").max_tokens is None
