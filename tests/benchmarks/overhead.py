"""What metering adds to a call.

    python -m tests.benchmarks.overhead

Yardstick: the same httpx transport without ours, called in turn. The transport answers from memory, so the
difference is ours alone, with delivery to the store going on beside. The aim: median 0.1 ms, p99 5 ms with 32
threads calling.
"""

import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

import accounting
from accounting import recorder

CALLS = 3_200
THREADS = 32
PAUSE = 0.2
"""Seconds a provider takes, give or take a half: callers that move in step would wait for each other."""
BODY = (
    b'{"id":"chatcmpl-1","model":"z-ai/glm-5","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant",'
    b'"content":"hi"}}],"usage":{"prompt_tokens":15,"completion_tokens":210,"total_tokens":225}}'
)
ASK = {"model": "z-ai/glm-5", "messages": [{"role": "user", "content": "x" * 2_000}]}


class Memory(httpx.BaseTransport):
    """Answers after as many seconds as the request says."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if pause := float(request.headers["x-pause"]):
            time.sleep(pause)
        headers = {"content-type": "application/json", "content-length": str(len(BODY))}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(BODY))


def timed(transport: Any, pause: float) -> float:
    """Seconds that a call takes beyond its provider's."""
    pause *= random.uniform(0.5, 1.5)
    headers = {"x-pause": str(pause), "authorization": "Bearer sk-0123456789abcdef"}
    request = httpx.Request("POST", "https://wcode.net/api/gpt/v1/chat/completions", json=ASK, headers=headers)
    begin = time.perf_counter()
    response = transport.handle_request(request)
    b"".join(response.stream)
    return time.perf_counter() - begin - pause


def compare(name: str, threads: int, pause: float) -> None:
    bare, metered = Memory(), accounting.MeteredTransport(Memory(), project="benchmark")
    timed(metered, pause)
    time.sleep(1.5)  # the start of delivery is apart
    with ThreadPoolExecutor(threads) as pool:
        plain = list(pool.map(lambda _: timed(bare, pause), range(CALLS)))
        ours = list(pool.map(lambda _: timed(metered, pause), range(CALLS)))
    p99, plain_p99 = quantiles(ours, n=100)[98], quantiles(plain, n=100)[98]
    print(
        f"{name}: median {(median(ours) - median(plain)) * 1000:.3f} ms added "
        f"({median(plain) * 1000:.3f} -> {median(ours) * 1000:.3f}), p99 {(p99 - plain_p99) * 1000:.3f} ms added"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ACCOUNTING_DATA_DIR"] = folder
        os.environ["ACCOUNTING_STORE_URL"] = f"sqlite:///{Path(folder).as_posix()}/books.sqlite3"
        compare("one thread", 1, 0.0)
        compare(f"{THREADS} threads, a provider of about {PAUSE * 1000:.0f} ms", THREADS, PAUSE)
        recorder.close()


if __name__ == "__main__":
    main()
