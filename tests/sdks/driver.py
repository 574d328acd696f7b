"""Runs in the environment of its SDKs: goes through all stories, and prints what their calls returned as JSON.

python -m tests.sdks.driver URL [metered]
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

from . import async_calls, sync_calls
from .bench import SDKS, Bench, Result, Sdk, failure

NAMES = [sdk.name for sdk in SDKS]


def bench(url: str, metered: bool, sdk: Sdk, model: str) -> Bench:
    if not metered:
        return Bench(sdk, model, url, lambda client: client, lambda **_: contextlib.nullcontext())
    import accounting

    meter = partial(accounting.meter, project="sdks", tags={"sdk": sdk.name})
    return Bench(sdk, model, url, meter, accounting.attribute)


def belongs(sdk: Sdk, story: str) -> bool:
    """A story that begins with an SDK's name is that one's alone."""
    owner = story.partition("_")[0]
    return owner == sdk.name or owner not in NAMES


def results(url: str, metered: bool) -> Iterator[tuple[str, Result]]:
    for sdk in SDKS:
        for name in filter(partial(belongs, sdk), sync_calls.STORIES):
            model = f"{sdk.name}-sync-{name}"
            yield model, _sync_result(sync_calls.STORIES[name], bench(url, metered, sdk, model))
        for name in filter(partial(belongs, sdk), async_calls.STORIES):
            model = f"{sdk.name}-async-{name}"
            yield model, asyncio.run(_async_result(async_calls.STORIES[name], bench(url, metered, sdk, model)))


def _sync_result(story: Any, at: Bench) -> Result:
    try:
        return story(at)
    except Exception as error:
        return failure(error)


async def _async_result(story: Any, at: Bench) -> Result:
    try:
        return await story(at)
    except Exception as error:
        return failure(error)


def main(url: str, *words: str) -> None:
    metered = "metered" in words
    got = dict(results(url, metered))
    delivered = True
    if metered:
        import accounting

        delivered = accounting.flush()
    print(json.dumps({"versions": {name: version(name) for name in NAMES}, "results": got, "delivered": delivered}))


if __name__ == "__main__":
    main(*sys.argv[1:])
