"""Programs that each time one library, in an environment of its own, and are asked in turn."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO

Timed = Callable[[object], float]
"""Asks for one more measurement of what the question names; gives the microseconds that it took."""


@contextmanager
def served(module: str, pythons: Mapping[str, str]) -> Iterator[dict[str, Timed]]:
    """By library: `python -m module library`, which answers each line of its input by one."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_served([python, "-m", module, name])) for name, python in pythons.items()}


@contextmanager
def _served(command: list[str]) -> Iterator[Timed]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        questions, answers = _pipe(process.stdin), _pipe(process.stdout)

        def timed(question: object) -> float:
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            return float(answers.readline())

        yield timed
        questions.close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
