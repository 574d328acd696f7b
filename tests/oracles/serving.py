"""What an oracle's program does with its questions: JSON lines in, JSON lines out, and never a word to the network.

Of the standard library alone: it runs in the oracle's environment.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

Question = dict[str, Any]
Reply = dict[str, Any]


def serve(oracle: Callable[[], Callable[[Question], Reply]]) -> None:
    """Answer each line of stdin by one of stdout; what the oracle raises is its answer.

    `oracle` imports it, which is done after the network is closed, and gives back how it reads.
    """
    sys.addaudithook(_stay_here)
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    read = oracle()
    for line in sys.stdin:
        out.write(json.dumps(_reply(read, json.loads(line))) + "\n")


def _reply(read: Callable[[Question], Reply], question: Question) -> Reply:
    try:
        return read(question)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return {"error": said if len(said) < 600 else f"{said[:200]} … {said[-400:]}"}


def _stay_here(event: str, _: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError(f"{event}: an oracle is asked about bodies, and asks nobody")
