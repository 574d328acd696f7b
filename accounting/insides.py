"""The HTTP clients inside an SDK's client, wherever it keeps them.

Each SDK has another place, and moves it: so all its attributes are looked at, a few steps deep. Nothing is called, and
no property asked.
"""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from accounting.errors import UnsupportedClient
from accounting.transports import library_of

log = logging.getLogger("accounting")

DEEPEST = 4
MOST_LOOKED_AT = 1000
_PLAIN = (str, bytes, int, float, bool, list, tuple, dict, set, frozenset, type(None), type)


def http_clients(client: Any) -> list[Any]:
    """The client itself, if it is one of httpx or httpx2, else all that are in it. Raises `UnsupportedClient`."""
    found = [client] if hasattr(client, "_transport") or _is_client(client) else list(_inside(client))
    if not found:
        library_of(client)  # raises
    for http in found:
        library_of(http)
        if not hasattr(http, "_transport") or not hasattr(http, "_mounts"):
            raise UnsupportedClient(
                f"{type(http).__module__}.{type(http).__qualname__} keeps its transport somewhere else than the "
                "versions this program knows. Give it MeteredTransport(...) as its transport instead."
            )
    return found


def _inside(client: Any) -> Iterator[Any]:
    seen, waiting = {id(client)}, deque([(client, 0)])
    while waiting and len(seen) < MOST_LOOKED_AT:
        holder, depth = waiting.popleft()
        if _is_client(holder):
            yield holder
            continue
        _tell_of_aiohttp(holder)
        for each in _attributes(holder) if depth < DEEPEST else ():
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append((each, depth + 1))


def _attributes(holder: Any) -> list[Any]:
    """Those of the object itself: what its class has is everybody's."""
    kept = getattr(holder, "__dict__", None)
    return [each for each in kept.values() if not isinstance(each, _PLAIN)] if isinstance(kept, dict) else []


def _is_client(thing: Any) -> bool:
    """Whether it is a client of httpx or httpx2, sync or async."""
    try:
        library = library_of(thing)
    except UnsupportedClient:
        return False
    return isinstance(thing, library.Client | library.AsyncClient)


def _tell_of_aiohttp(holder: Any) -> None:
    """google-genai says by itself whether its asynchronous calls go another way."""
    asked = getattr(type(holder), "_use_aiohttp", None)
    goes_there = False
    with suppress(Exception):  # another version's, of which nothing is known
        goes_there = callable(asked) and bool(asked(holder))
    if goes_there:
        log.warning(
            "Asynchronous calls of this %s go through aiohttp and are not metered. Have it use httpx: "
            "http_options=HttpOptions(httpx_async_client=…).",
            type(holder).__module__.partition("._")[0],
        )
