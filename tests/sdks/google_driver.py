"""Runs in the environment of Google's SDK: calls what costs money in every way, and prints what it got as JSON.

python -m tests.sdks.google_driver URL [metered]

The SDK is imported by name, and so is `Any`: it is not installed where types are checked.
"""

import asyncio
import json
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import httpx
import httpx2

KEY = "AIza-not-a-key-9f3b"
MODEL = "gemini-x"


def client(url: str, metered: bool, library: Any) -> Any:
    sync, asynchronous = library.Client(trust_env=False), library.AsyncClient(trust_env=False)
    genai: Any = import_module("google.genai")
    options = genai.types.HttpOptions(base_url=url, httpx_client=sync, httpx_async_client=asynchronous)
    return wrapped(genai.Client(api_key=KEY, http_options=options), metered)


def own_client(url: str, metered: bool) -> Any:
    """One that makes its HTTP clients itself: the asynchronous ones for each event loop."""
    genai: Any = import_module("google.genai")
    return wrapped(genai.Client(api_key=KEY, http_options=genai.types.HttpOptions(base_url=url)), metered)


def wrapped(google: Any, metered: bool) -> Any:
    if metered:
        import accounting

        accounting.meter(google, project="sdks")
    return google


def sync_results(google: Any) -> dict[str, Any]:
    models, interactions = google.models, google.interactions
    parts = models.generate_content_stream(model=MODEL, contents="Why?")
    events = interactions.create(model=MODEL, input="Why?", stream=True)
    return {
        "whole": models.generate_content(model=MODEL, contents="Why?").text,
        "streamed": [part.text for part in parts],
        "embedded": [each.values for each in models.embed_content(model=MODEL, contents="Why?").embeddings or []],
        "interaction": interactions.create(model=MODEL, input="Why?").status,
        "interaction_streamed": [event.event_type for event in events],
    }


async def async_results(google: Any) -> dict[str, Any]:
    models, interactions = google.aio.models, google.aio.interactions
    parts = await models.generate_content_stream(model=MODEL, contents="Why?")
    events = await interactions.create(model=MODEL, input="Why?", stream=True)
    embedded = await models.embed_content(model=MODEL, contents="Why?")
    return {
        "whole": (await models.generate_content(model=MODEL, contents="Why?")).text,
        "streamed": [part.text async for part in parts],
        "embedded": [each.values for each in embedded.embeddings or []],
        "interaction": (await interactions.create(model=MODEL, input="Why?")).status,
        "interaction_streamed": [event.event_type async for event in events],
    }


def main(url: str, *words: str) -> None:
    results = {}
    metered = "metered" in words
    ways = {library.__name__: client(url, metered, library) for library in (httpx, httpx2)}
    for name, google in {**ways, "own": own_client(url, metered)}.items():
        results[f"{name}-sync"] = sync_results(google)
        results[f"{name}-async"] = asyncio.run(async_results(google))
    if metered:
        import accounting

        assert accounting.flush()
    print(json.dumps({"version": version("google-genai"), "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
