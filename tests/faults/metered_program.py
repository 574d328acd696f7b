"""A metered program that is killed while it works: it asks on several threads, or in several tasks of a loop.

What it has received whole it notes in a log, on the disk before it does anything else. Every question has a key of
its own, by which log, ledger and books can be held against each other. Told so, it kills itself where a function is
entered or left; the function knows nothing of that.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce, wraps
from importlib import import_module
from itertools import count
from json import loads
from typing import Any

import httpx

import accounting
from accounting import reservations
from accounting.delivery import deliver_orphans
from accounting.places import store_url
from accounting.store import open_engine, transact

WORKERS = 4
ROUNDS = 4
MODELS = {"/v1/chat/completions": "z-ai/glm-5", "/anthropic/v1/messages": "sim/messages"}
SCRIPTS = ("", "gzip", "chunk=9", "pause=0.002", "status=429", "cut=60%", "wait=0.01")
_SETTINGS: dict[str, Any] = {"project": "checkout", "provider": "wcode", "trust_env": False, "timeout": 60}
ENDS = (b"data: [DONE]\n\n", b'"type":"message_stop"}\n\n')


@dataclass(frozen=True, slots=True)
class Question:
    key: str
    path: str
    stream: bool
    script: str

    @property
    def asked(self) -> dict[str, Any]:
        """What the request is made of."""
        messages = [{"role": "user", "content": self.key}]
        body = {"model": MODELS[self.path], "messages": messages, "max_tokens": 500, "stream": self.stream}
        headers = {"authorization": f"Bearer {self.key}", "x-simulate": self.script}
        return {"method": "POST", "url": self.path, "json": body, "headers": headers}


class Answer:
    """What has been received of an answer so far."""

    def __init__(self, question: Question, log: int) -> None:
        self._question = question
        self._log = log
        self._received = b""

    def take(self, piece: bytes) -> None:
        """Note the answer with its last piece: before the client, or we, could learn that there is no more."""
        self._received += piece
        if piece and self._is_whole():
            note(self._log, self._question.key)

    def _is_whole(self) -> bool:
        if self._received.endswith(ENDS):
            return True
        try:
            return bool(loads(self._received))
        except ValueError:
            return False


def note(log: int, key: str) -> None:
    os.write(log, f"{key}\n".encode())
    os.fsync(log)


def questions(name: str, calls: int, script: str | None) -> Iterator[Question]:
    for number in range(calls):
        path = list(MODELS)[number % 3 == 2]
        chosen = SCRIPTS[number % len(SCRIPTS)] if script is None else script
        yield Question(f"sk-{name}-{number:06}", path, number % 2 == 0, chosen)


def ask_on_threads(url: str, asked: list[Question], log: int) -> None:
    with accounting.Client(**_SETTINGS, base_url=url) as client, ThreadPoolExecutor(WORKERS) as threads:
        for _ in threads.map(lambda worker: _ask_all(client, asked[worker::WORKERS], log), range(WORKERS)):
            pass  # raises what a thread raised


def _ask_all(client: httpx.Client, asked: list[Question], log: int) -> None:
    for question in asked:
        answer = Answer(question, log)
        with suppress(httpx.TransportError), client.stream(**question.asked) as response:
            for piece in response.iter_bytes():
                answer.take(piece)


def ask_in_tasks(url: str, asked: list[Question], log: int) -> None:
    asyncio.run(_ask_in_tasks(url, asked, log))


async def _ask_in_tasks(url: str, asked: list[Question], log: int) -> None:
    async with accounting.AsyncClient(**_SETTINGS, base_url=url) as client:
        await asyncio.gather(*(_ask_each(client, asked[worker::WORKERS], log) for worker in range(WORKERS)))


async def _ask_each(client: httpx.AsyncClient, asked: list[Question], log: int) -> None:
    for question in asked:
        answer = Answer(question, log)
        with suppress(httpx.TransportError):
            async with client.stream(**question.asked) as response:
                async for piece in response.aiter_bytes():
                    answer.take(piece)


ASK = {"threads": ask_on_threads, "tasks": ask_in_tasks}


def kill_at(function: str, when: str, turn: str) -> None:
    """Die where the function, `module:name`, is entered or left for that time."""
    module, _, path = function.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, import_module(module))
    original, turns = getattr(owner, name), count(1)

    def strike(at: str) -> None:
        if at == when and next(turns) == int(turn):
            os.kill(os.getpid(), signal.SIGKILL)

    @wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        strike("entering")
        result = original(*args, **kwargs)
        strike("leaving")
        return result

    setattr(owner, name, deadly)


def work(orders: argparse.Namespace) -> None:
    """Ask in rounds. Calls are delivered while others run, and of the last round what is left at exit."""
    log = os.open(orders.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with ThreadPoolExecutor(1) as thread:
        for left in reversed(range(ROUNDS)):
            asked = list(questions(f"{orders.name}-{left}", orders.calls, orders.script))
            asking = thread.submit(ASK[orders.colour], orders.provider, asked, log)
            while left and not asking.done():
                accounting.flush(0.5)
                time.sleep(0.02)
            asking.result()
            if left:
                accounting.flush(2.0)


def main() -> None:
    read = argparse.ArgumentParser()
    for name in ("provider", "log", "name"):
        read.add_argument(name)
    read.add_argument("colour", choices=[*ASK, "deliver", "lapse"])
    read.add_argument("--calls", type=int, default=15)
    read.add_argument("--script")
    for moment in ("--kill", "--kill-at-exit"):
        read.add_argument(moment, nargs=3, metavar=("FUNCTION", "WHEN", "TURN"))
    orders = read.parse_args()
    if orders.kill:
        kill_at(*orders.kill)
    if orders.colour == "deliver":
        deliver_orphans(store_url())
    elif orders.colour == "lapse":
        transact(open_engine(store_url()), lambda conn: reservations.lapse(conn))
    else:
        work(orders)
    if orders.kill_at_exit:
        kill_at(*orders.kill_at_exit)


if __name__ == "__main__":
    main()
