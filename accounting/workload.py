"""Some days of a small company's calls, made in seconds: several keys, projects and models, and all that goes wrong.

The same number of calls is the same workload each time.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from accounting.attribution import attribute
from accounting.httpx_clients import Client

THREADS = 4
CHAT, MESSAGES = "/v1/chat/completions", "/anthropic/v1/messages"


@dataclass(frozen=True, slots=True)
class Account:
    """An API key, and what it is used for."""

    key: str
    project: str
    models: tuple[str, ...]
    path: str = CHAT
    provider: str = "simulated"


ACCOUNTS = (
    Account("sk-demo-checkout-web-7f3a", "checkout", ("sim/chat", "sim/chat-mini")),
    Account("sk-demo-checkout-jobs-90bd", "checkout", ("z-ai/glm-5",), provider="wcode"),
    Account("sk-demo-search-11c8", "search", ("sim/chat-mini", "sim/reasoner", "sim/preview")),
    Account("sk-demo-support-e2d4", "support", ("sim/messages",), MESSAGES),
)

USUAL = {"": 50, "gzip": 12, "chunk=97": 2, "crlf; comments": 3, "status=429": 3, "status=500": 1}

# No cut at the end of an answer: the client would think the connection good, and its next request could be lost on
# the way, which is an unknown call in the books and none in the ledger.
UNUSUAL = {"cut=60%": 2, "cut=30%": 1, "drop": 1, "no-end": 1, "error": 1, "wait=0.02": 1}
ODD = {
    "usage=no-details": 2,
    "usage=null-details": 1,
    "usage=reasoning-over-output": 2,
    "usage=reasoning-apart": 1,
    "usage=hidden-output": 1,
    "usage=cached-over-input": 1,
    "usage=text-counts": 1,
    "usage=hit-and-miss": 2,
    "usage=cached-beside; place=choice": 1,
    "usage=with-cost": 2,
    "usage=null": 1,
    "place=finish": 2,
    "place=every": 1,
    "place=x-groq": 1,
    "place=before-moderation": 1,
    "error=usage": 1,
}
"""Answers of OpenAI's shape alone."""
WRITTEN = {"written=400; input=1500; cached=300": 30}
"""Answers of Anthropic's shape alone: what was written to the cache."""
_ENGLISH = (
    "which ",
    "order ",
    "was ",
    "not ",
    "delivered ",
    "to ",
    "the ",
    "customer ",
    "in ",
    "November ",
    "and ",
    "why ",
)
_CHINESE = ("订单", "没有", "送到", "客户", "十一月", "为什么", "请", "说明", "付款", "，", "的", "在")
_WRITTEN_WORDS = 1_100
"""Words of a question that is of 1,500 tokens."""

RECORDED = {"recorded": 30}
"""The real answer of z-ai/glm-5, whose reasoning is larger than the output it is part of."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call to make: with which account and for whom, what to ask, and how the provider is to answer it."""

    account: Account
    user: str
    body: dict[str, Any]
    script: str


def questions(count: int) -> Iterator[Question]:
    """That many questions, drawn in the same way each time."""
    draw = random.Random(20260212)  # noqa: S311 - not a secret
    for number in range(count):
        account = draw.choices(ACCOUNTS, weights=(5, 3, 4, 3))[0]
        scripts = _scripts(account)
        script = draw.choices(list(scripts), weights=list(scripts.values()))[0]
        body = _body(account, _text(number, account, script, draw), draw)
        yield Question(account, f"user-{draw.randrange(20)}", body, script)


def _scripts(account: Account) -> dict[str, int]:
    if account.path == MESSAGES:
        return USUAL | UNUSUAL | WRITTEN
    return USUAL | UNUSUAL | ODD | (RECORDED if account.models == ("z-ai/glm-5",) else {})


def _text(number: int, account: Account, script: str, draw: random.Random) -> str:
    """A question of some length; of the one that answers know beforehand, where they say what it takes."""
    if script in RECORDED:
        return f"Question {number}"
    length = _WRITTEN_WORDS if script in WRITTEN else draw.randrange(10, 400)
    return f"Question {number}: " + "".join(
        draw.choices(_CHINESE if account.provider == "wcode" else _ENGLISH, k=length)
    )


def _body(account: Account, text: str, draw: random.Random) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": draw.choice(account.models),
        "messages": [{"role": "user", "content": text}],
        "stream": draw.random() < 0.5,
    }
    if account.path == MESSAGES or draw.random() < 0.2:
        body["max_tokens"] = 1024
    if body["model"] == "sim/reasoner":
        body["reasoning_effort"] = draw.choice(("low", "high"))
    return body


def make(url: str, asked: Iterator[Question], made: Callable[[], object]) -> None:
    """Ask the provider at the URL all the questions, over several threads; `made` is called after each."""
    with _clients(url) as clients, ThreadPoolExecutor(THREADS) as pool:

        def ask(question: Question) -> None:
            _ask(clients[question.account], question)
            made()

        for _ in pool.map(ask, asked):
            pass  # raises what a thread raised


@contextmanager
def _clients(url: str) -> Iterator[dict[Account, Client]]:
    """A metered client for each account."""
    with ExitStack() as stack:
        yield {account: stack.enter_context(_client(url, account)) for account in ACCOUNTS}


def _client(url: str, account: Account) -> Client:
    header = "x-api-key" if account.path == MESSAGES else "authorization"
    key = account.key if account.path == MESSAGES else f"Bearer {account.key}"
    # trust_env off: a proxy of the environment must not get to see calls to loopback.
    return Client(
        project=account.project,
        provider=account.provider,
        base_url=url,
        headers={header: key},
        trust_env=False,
        timeout=30,
    )


def _ask(client: Client, question: Question) -> None:
    """Read the answer to its end, or to where it breaks off: that some do is part of the workload."""
    headers = {"x-simulate": f"{question.script}; fit"}
    try:
        with (
            attribute(user=question.user),
            client.stream("POST", question.account.path, json=question.body, headers=headers) as response,
        ):
            for _ in response.iter_bytes():
                pass
    except httpx.TransportError:
        return
