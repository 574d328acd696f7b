"""A metered program that makes many calls at once. A line of its input names the project of a round, and how the
provider is to answer; for each it prints how many calls passed, how many a budget refused, and what those asked for.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx

import accounting
from accounting import gate
from accounting.errors import BudgetExceeded
from accounting.ports import Gate, open_gate

MAX_TOKENS = 100
BODY = json.dumps(
    {"model": "plain", "messages": [{"role": "user", "content": "hi"}], "max_tokens": MAX_TOKENS}
).encode()
_SETTINGS: dict[str, Any] = {"provider": "wcode", "trust_env": False, "timeout": 60}


def asked(url: str, project: str, script: str) -> dict[str, Any]:
    """What a request is made of."""
    headers = {"authorization": f"Bearer sk-{project}", "content-type": "application/json", "x-simulate": script}
    return {"method": "POST", "url": f"{url}/v1/chat/completions", "content": BODY, "headers": headers}


def on_threads(request: dict[str, Any], project: str, calls: int) -> list[str]:
    start = Barrier(calls)
    with accounting.Client(**_SETTINGS, project=project) as client, ThreadPoolExecutor(calls) as threads:

        def call() -> str:
            start.wait(60)
            try:
                return _said(client.request(**request))
            except BudgetExceeded as error:
                return _refused(error)

        return [future.result() for future in [threads.submit(call) for _ in range(calls)]]


def in_tasks(request: dict[str, Any], project: str, calls: int) -> list[str]:
    async def call(client: httpx.AsyncClient) -> str:
        try:
            return _said(await client.request(**request))
        except BudgetExceeded as error:
            return _refused(error)

    async def all_() -> list[str]:
        async with accounting.AsyncClient(**_SETTINGS, project=project) as client:
            return await asyncio.gather(*(call(client) for _ in range(calls)))

    return asyncio.run(all_())


def _said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return "passed"


def _refused(error: BudgetExceeded) -> str:
    return f"{error.why} {error.asked}"


RACES: dict[str, Callable[[dict[str, Any], str, int], list[str]]] = {"threads": on_threads, "tasks": in_tasks}


def _begin_late(seconds: float) -> None:
    """As on a host that is so busy that loading what asks budgets takes so long."""

    def open_late(url: str) -> Gate:
        time.sleep(seconds)
        return open_gate(url)

    gate.open_gate = open_late  # type: ignore[attr-defined]


def main() -> None:
    _begin_late(float(os.environ.get("RACING_LATE", "0")))
    url, colour, calls = sys.argv[1:]
    for line in sys.stdin:
        project, script = json.loads(line)
        print(json.dumps(RACES[colour](asked(url, project, script), project, int(calls))), flush=True)


if __name__ == "__main__":
    main()
