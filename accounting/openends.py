"""Open ends: what in a request can cost any amount, whatever its bytes and its max_tokens.

Found by one walk through the JSON, whatever the format: each name below means the same wherever it stands. Tools are
told the other way round: the few kinds that the caller runs himself are known, and all others are the provider's. What
is the caller's own data is not looked into: schemas, arguments of functions and what they gave back.

Source: the API references of OpenAI, Anthropic, Gemini, Vertex, Bedrock, Mistral, xAI, Perplexity, OpenRouter, Cohere,
DashScope, Groq and Ollama.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MOST_ITEMS = 200_000
"""Fields and elements that are looked at: some tens of milliseconds. A long conversation has a tenth of that."""

_REMOTE_IMAGE = "a remote image"
_REMOTE_FILE = "a remote file"
_FILE_BY_ID = "a file by its id"
_DOCUMENT = "a document"
_SOUND = "sound"
_VIDEO = "a video"
_HISTORY = "a conversation that the provider keeps"
_CONTEXT = "a context that the provider keeps"
_PROMPT = "a prompt that the provider keeps"
_WEB = "web search"
_FETCH = "web fetch"
_FILES = "file search"
_CODE = "code execution"
_COMPUTER = "computer use"
_MCP = "MCP servers"
_OTHER_MODEL = "another model to fall back to"


@dataclass(frozen=True, slots=True)
class OpenEnds:
    """What was found. `names` are for people, each once.

    `pictures` are those that the request has in itself: they cost by their size, whatever their bytes.
    """

    names: tuple[str, ...] = ()
    pictures: int = 0


NONE = OpenEnds()


def open_ends(fields: Mapping[str, Any]) -> OpenEnds:
    """Of a request's parsed JSON."""
    found = _Found()
    left = MOST_ITEMS
    waiting: list[Any] = [dict(fields)]
    while waiting:
        value = waiting.pop()
        left -= len(value) + 1
        if left < 0:
            found.name("more parts than are looked through")
            break
        if isinstance(value, dict):
            _look_at(value, found, waiting)
        else:
            _look_through(value, found, waiting)
    return OpenEnds(tuple(found.names), found.pictures)


class _Found:
    """What a walk has found so far."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.pictures = 0

    def name(self, name: str) -> None:
        self.names[name] = None

    def media(self, kind: str) -> None:
        """Something of a media type that the request has in itself. Text is as long as its bytes at most."""
        main = kind.partition("/")[0].lower()
        if main == "image":
            self.pictures += 1
        elif main != "text":
            self.name({"audio": _SOUND, "video": _VIDEO}.get(main, _DOCUMENT))


def _look_at(value: Mapping[str, Any], found: _Found, waiting: list[Any]) -> None:
    is_data = "toolUseId" in value or value.get("type") in _CALLS
    for key, each in value.items():
        if rule := _RULES.get(key):
            rule(each, value, found)
        if isinstance(each, str):
            if each.startswith("data:"):
                _data(each, found)
        elif isinstance(each, _HOLDERS) and key not in _NOT_LOOKED_INTO and not (is_data and key == "input"):
            waiting.append(each)


def _look_through(values: list[Any], found: _Found, waiting: list[Any]) -> None:
    for each in values:
        if isinstance(each, str):
            if each.startswith("data:"):
                _data(each, found)
        elif isinstance(each, _HOLDERS):
            waiting.append(each)


_HOLDERS = (dict, list)
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[;,]")


def _data(text: str, found: _Found) -> None:
    """A URL that is its own content."""
    if parts := _DATA.match(text):
        found.media(parts[1] or "text/plain")


_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_NOT_LOOKED_INTO = frozenset(
    {
        *("tools", "functions", "input_schema", "inputSchema", "json_schema", "schema", "guided_json", "format"),
        *("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"),
        *("args", "response", "json", "arguments", "metadata", "logit_bias"),
    }
)
"""Schemas, which may name a field anything; the model's own arguments; what a function gave back; labels. Tools have a
rule."""

_Rule = Callable[[Any, Mapping[str, Any], _Found], None]


def _filled(name: str) -> _Rule:
    """Named where there is anything."""

    def rule(value: Any, _: Mapping[str, Any], found: _Found) -> None:
        if value:
            found.name(name)

    return rule


def _told(name: str) -> _Rule:
    """Named where it is a text: an id or an address."""

    def rule(value: Any, _: Mapping[str, Any], found: _Found) -> None:
        if isinstance(value, str) and value and not value.startswith("data:"):
            found.name(name)

    return rule


def _url(name: str) -> _Rule:
    """Named where it is an address, or an object with one."""
    told = _told(name)

    def rule(value: Any, within: Mapping[str, Any], found: _Found) -> None:
        told(value.get("url") if isinstance(value, Mapping) else value, within, found)

    return rule


def _image(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    """By itself, or one of a list: an address, or the picture as base64."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and each and not each.startswith("data:"):
            if each[:8].lower().startswith(("http:", "https:", "gs:", "s3:")):
                found.name(_REMOTE_IMAGE)
            else:
                found.pictures += 1


def _source(value: Any, within: Mapping[str, Any], found: _Found) -> None:
    """Anthropic's, of an image or a document; Bedrock's, in which bytes are of the format beside it."""
    if not isinstance(value, Mapping):
        return
    if value.get("type") == "url":
        found.name(_REMOTE_IMAGE if within.get("type") == "image" else _REMOTE_FILE)
    elif value.get("type") == "base64":
        found.media(str(value.get("media_type")))
    elif "bytes" in value:
        found.media(_OF_FORMATS.get(str(within.get("format")), "application/octet-stream"))


_OF_FORMATS = {
    **dict.fromkeys(("png", "jpeg", "jpg", "gif", "webp"), "image/any"),
    **dict.fromkeys(("txt", "md", "csv", "html"), "text/plain"),
}


def _inline(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    """Gemini's."""
    if isinstance(value, Mapping):
        found.media(str(value.get("mimeType") or value.get("mime_type")))


def _prompt(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    if isinstance(value, Mapping) and value.get("id"):
        found.name(_PROMPT)


def _search(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    is_off = isinstance(value, Mapping) and value.get("mode") == "off"
    if value is not None and value is not False and not is_off:
        found.name(_WEB)


def _modalities(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    asked = {str(each).lower() for each in value} if isinstance(value, list) else set()
    if "audio" in asked:
        found.name("an answer in sound")
    if "image" in asked:
        found.name("pictures in the answer")


def _type(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    if isinstance(value, str):
        if name := _TYPES.get(value):
            found.name(name)
        elif value.startswith("compact_") or value == "compaction":
            found.name("a summary of the conversation that the provider makes")


_TYPES = {
    "item_reference": _HISTORY,
    "image_generation_call": "a picture that the provider keeps",
    "container_upload": _FILE_BY_ID,
}


def _tier(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    tier = value.get("type") if isinstance(value, Mapping) else value
    if isinstance(tier, str) and tier and tier.lower().removeprefix("service_tier_") not in _NO_DEARER:
        found.name(f"the service tier {_shown(tier)}")


_NO_DEARER = frozenset({"auto", "default", "standard", "standard_only", "flex", "batch", "on_demand", "unspecified"})


def _is(text: str, name: str) -> _Rule:
    """Named where it is the text."""

    def rule(value: Any, _: Mapping[str, Any], found: _Found) -> None:
        if value == text:
            found.name(name)

    return rule


def _latency(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    if isinstance(value, Mapping) and value.get("latency") == "optimized":
        found.name("optimized latency")


def _tools(value: Any, _: Mapping[str, Any], found: _Found) -> None:
    for tool in value if isinstance(value, list) else [value] if value else []:
        for name in _provider_s(tool):
            found.name(name)


def _provider_s(tool: Any) -> Iterator[str]:
    """What of the tool the provider runs himself, by name; nothing of one that the caller runs."""
    if not isinstance(tool, Mapping):
        yield "a tool of no known form"
        return
    kind = tool.get("type")
    if kind is None:
        yield from (_named(key) for key in tool if key not in _CALLER_S_FIELDS) if "name" not in tool else ()
    elif kind == "namespace":
        inner = tool.get("tools")
        yield from (name for each in (inner if isinstance(inner, list) else []) for name in _provider_s(each))
    elif not _is_caller_s(str(kind), tool):
        yield _named(str(kind))


def _is_caller_s(kind: str, tool: Mapping[str, Any]) -> bool:
    if kind in ("shell", "local_shell"):
        place = tool.get("environment")
        return kind == "local_shell" or (isinstance(place, Mapping) and place.get("type") == "local")
    return kind in _CALLER_S_TYPES or kind.startswith(_CALLER_S_KINDS)


_CALLER_S_TYPES = frozenset({"function", "custom", "apply_patch"})
_CALLER_S_KINDS = ("bash_", "text_editor_", "memory_")  # Anthropic's, each with the day of its form behind
_CALLER_S_FIELDS = frozenset(
    {
        *("function", "description", "input_schema", "parameter_definitions", "cache_control", "cachePoint"),
        *("toolSpec", "tool_spec", "functionDeclarations", "function_declarations"),
    }
)

_TOOLS = {
    **dict.fromkeys(("websearch", "googlesearch", "xsearch", "browsersearch", "enterprisewebsearch"), _WEB),
    **dict.fromkeys(("webfetch", "urlcontext", "visitwebsite"), _FETCH),
    **dict.fromkeys(("filesearch", "collectionssearch", "retrieval", "documentlibrary"), _FILES),
    **dict.fromkeys(("codeinterpreter", "codeexecution"), _CODE),
    "computer": _COMPUTER,
    "mcp": _MCP,
    "imagegeneration": "image generation",
    "toolsearch": "tool search",
    "googlemaps": "maps",
}


def _named(kind: str) -> str:
    """The kind in words, whichever way it is written."""
    plain = kind.replace("_", "").lower()
    return next((name for start, name in _TOOLS.items() if plain.startswith(start)), f"the tool {_shown(kind)}")


def _shown(text: str) -> str:
    return re.sub(r"[^\w.:-]", " ", text)[:40]


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("file_id", "fileId"), _told(_FILE_BY_ID)),
    **dict.fromkeys(("file_ids", "fileIds"), _filled(_FILE_BY_ID)),
    **dict.fromkeys(("file_url", "fileUri", "file_uri", "gcsUri", "gcs_uri"), _told(_REMOTE_FILE)),
    **dict.fromkeys(("s3Location", "s3_location"), _filled(_REMOTE_FILE)),
    **dict.fromkeys(("image_url", "imageUrl"), _url(_REMOTE_IMAGE)),
    "document_url": _url(_REMOTE_FILE),
    **dict.fromkeys(("image", "images", "image_base64"), _image),
    **dict.fromkeys(("video", "video_url", "video_base64"), _filled(_VIDEO)),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), _filled(_SOUND)),
    **dict.fromkeys(("inlineData", "inline_data"), _inline),
    "file_data": _told(_DOCUMENT),
    "source": _source,
    **dict.fromkeys(("previous_response_id", "previous_interaction_id", "conversation"), _filled(_HISTORY)),
    **dict.fromkeys(("conversation_id", "thread_id", "assistant_id"), _told(_HISTORY)),
    **dict.fromkeys(("cachedContent", "cached_content"), _told(_CONTEXT)),
    "prompt": _prompt,
    "preset": _told(_PROMPT),
    **dict.fromkeys(("agent", "agent_id"), _told("an agent")),
    "container": _filled("a container"),
    **dict.fromkeys(("mcp_servers", "mcpServers"), _filled(_MCP)),
    "plugins": _filled("plugins"),
    "connectors": _filled("connectors"),
    **dict.fromkeys(("data_sources", "dataSources"), _filled("a search of the caller's index")),
    **dict.fromkeys(("web_search_options", "search_parameters", "enable_search", "search_settings"), _search),
    "enable_code_interpreter": _filled(_CODE),
    **dict.fromkeys(("models", "fallbacks"), _filled(_OTHER_MODEL)),
    "prediction": _filled("a predicted output"),
    **dict.fromkeys(("modalities", "responseModalities", "response_modalities"), _modalities),
    "type": _type,
    **dict.fromkeys(("service_tier", "serviceTier"), _tier),
    "speed": _is("fast", "fast mode"),
    "inference_geo": _is("us", "a place where it must run"),
    "performanceConfig": _latency,
    "tools": _tools,
}
