"""The shapes in which providers state usage, and where each of the readers under test is asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """One provider's answers of one endpoint.

    `provider` and `path` are what our formats are found by. `genai`: genai-prices' provider and API flavour;
    `litellm`: the reader in `lite.READERS` and litellm's provider; None where it has none for the shape.
    `models` are those that both can price.
    """

    name: str
    provider: str
    path: str
    genai: tuple[str, str] | None
    litellm: tuple[str, str] | None
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A body that all readers are given. `twist` names what is odd about it; empty where nothing is.

    `sent` are the bytes that we read; of a stream, the oracles are given what it comes to in `body`.
    """

    name: str
    shape: Shape
    body: Mapping[str, Any]
    twist: str = ""
    sent: bytes | None = None

    @property
    def block(self) -> Mapping[str, Any]:
        """The usage block, empty where there is none."""
        found = self.body.get("usageMetadata") if "usageMetadata" in self.body else self.body.get("usage")
        return found if isinstance(found, Mapping) else {}


_CHAT = "/v1/chat/completions"

_ALL = (
    Shape("openai chat", "openai", _CHAT, ("openai", "chat"), ("chat", "openai"), ("gpt-4o", "gpt-5", "o4-mini")),
    Shape("azure chat", "azure", "/openai/v1/chat/completions", ("azure", "chat"), ("chat", "openai"), ("gpt-5",)),
    Shape(
        *("openai responses", "openai", "/v1/responses", ("openai", "responses"), ("responses", "openai")),
        ("gpt-4o", "gpt-5", "o4-mini"),
    ),
    Shape(
        *("openai embeddings", "openai", "/v1/embeddings", ("openai", "embeddings"), ("embeddings", "openai")),
        ("text-embedding-3-small", "text-embedding-3-large"),
    ),
    Shape(
        *("anthropic messages", "anthropic", "/v1/messages", ("anthropic", "default"), ("chat", "anthropic")),
        ("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5"),
    ),
    Shape(
        *("gemini", "gemini", "/v1beta/models/gemini-2.5-pro:generateContent"),
        *(("google", "default"), ("chat", "gemini"), ("gemini-2.5-pro", "gemini-2.5-flash")),
    ),
    Shape(
        *("gemini compat", "gemini", "/v1beta/openai/chat/completions", ("google", "chat"), ("chat", "openai")),
        ("gemini-2.5-flash",),
    ),
    Shape("deepseek", "deepseek", _CHAT, ("deepseek", "chat"), ("chat", "deepseek"), ("deepseek-reasoner",)),
    Shape("xai chat", "xai", _CHAT, ("x-ai", "chat"), ("chat", "xai"), ("grok-4.5", "grok-code-fast-1")),
    Shape(
        "xai responses",
        "xai",
        "/v1/responses",
        ("x-ai", "responses"),
        ("responses", "xai"),
        ("grok-code-fast-1", "grok-4-1-fast-reasoning"),
    ),
    Shape("mistral", "mistral", _CHAT, ("mistral", "default"), ("chat", "mistral"), ("mistral-large-latest",)),
    Shape(
        *("groq", "groq", "/openai/v1/chat/completions", ("groq", "default"), ("chat", "groq")),
        ("openai/gpt-oss-120b", "openai/gpt-oss-20b"),
    ),
    Shape(
        *("openrouter", "openrouter", "/api/v1/chat/completions", ("openrouter", "chat"), ("chat", "openrouter")),
        ("anthropic/claude-sonnet-4.5", "openai/gpt-5"),
    ),
    Shape("moonshot", "moonshot", _CHAT, ("moonshotai", "chat"), ("chat", "moonshot"), ("kimi-k2.5",)),
    Shape("zai", "zai", "/api/paas/v4/chat/completions", ("zai", "chat"), ("chat", "zai"), ("glm-4.6",)),
    Shape("qwen", "dashscope", "/compatible-mode/v1/chat/completions", None, ("chat", "dashscope"), ("qwen-turbo",)),
    Shape(
        "perplexity",
        "perplexity",
        "/chat/completions",
        ("perplexity", "default"),
        ("chat", "perplexity"),
        ("sonar-pro",),
    ),
    Shape("cerebras", "cerebras", _CHAT, ("cerebras", "chat"), ("chat", "cerebras"), ("gpt-oss-120b",)),
    Shape(
        *("huggingface", "huggingface", _CHAT, ("huggingface_together", "chat"), ("chat", "huggingface")),
        ("openai/gpt-oss-120b",),
    ),
    Shape("cohere", "cohere", "/v2/chat", ("cohere", "default"), ("chat", "cohere_chat"), ("command-r-08-2024",)),
    Shape(
        *("bedrock converse", "bedrock", "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse"),
        *(("aws", "default"), ("converse", "bedrock"), ()),
    ),
)

SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in _ALL}
