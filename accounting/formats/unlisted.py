"""Whether a request at a host that nobody lists is to a model API, where its path alone could be anybody's.

Chats have their `POST …/messages` too, surveys their `…/responses`, and a client may be metered that calls them as
well. At a provider's host, or with `meter(provider=…)`, there is no such doubt.
"""

import re
from collections.abc import Mapping

_UNMISTAKABLE = frozenset(
    {"multimodalembeddings", "contextualizedembeddings", "t2a_v2", "async-invoke", "model-invocation-job"}
)
"""Endings of one segment that nobody else has."""

_TELLING = re.compile(r"/v\d{1,3}(?:[a-z]\w{0,15})?/[^/]+/?\Z|/(?:openai|anthropic)/", re.IGNORECASE)
"""A version right before the ending, or the name of the API in which a gateway answers."""

_SDK = re.compile(r"(?:Async)?(?:Azure)?(?:OpenAI|Anthropic)\w*/")
"""How the SDKs of OpenAI and Anthropic name themselves, at whatever path."""


def is_a_model_s(endpoint: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether the path says enough, or what sent it does. An ending of more than one segment always says enough."""
    if not endpoint.isidentifier() or endpoint in _UNMISTAKABLE:
        return True
    if _TELLING.search(path.partition("?")[0]) or "anthropic-version" in headers:
        return True
    return _SDK.match(headers.get("user-agent", "")) is not None
