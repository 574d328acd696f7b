"""Asks an oracle, in its environment, and ourselves."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from accounting.extraction import extract
from accounting.usage import Usage

from ..sdks.environments import CHECKOUT, Generation, python_for
from .shapes import Case

ORACLES: Mapping[str, Generation] = {
    "genai": Generation("oracle-genai-prices", ("genai-prices==0.2.3",)),  # its prices are imported there, too
    "litellm": Generation("oracle-litellm", ("litellm==1.106.2",), runs_us=False),
}
MODULES = {"genai": "tests.oracles.genai", "litellm": "tests.oracles.lite"}
FIELDS = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
AT = datetime(2026, 11, 4, 12, tzinfo=UTC)
"""When the calls were: a price holds at a time."""
SECONDS = 240


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader makes of a body, or the error that it raised. An unknown count is 0: the oracles don't tell."""

    counts: Mapping[str, int]
    error: str | None = None
    cost: str | None = None
    prices: Mapping[str, Any] | None = None
    unpriced: str | None = None


def asked(oracle: str, cases: Sequence[Case]) -> list[Reading | None]:
    """What the oracle says of each case; None where it has no reader. Raises `EnvironmentMissing`."""
    questions = [_question(case) for case in cases]
    known = [question for question in questions if question[oracle] is not None]
    replies = iter(run(oracle, MODULES[oracle], known))
    return [None if question[oracle] is None else _reading(next(replies)) for question in questions]


def _question(case: Case) -> dict[str, Any]:
    model = case.body.get("model") or case.body.get("modelVersion")
    return {
        "genai": case.shape.genai,
        "litellm": case.shape.litellm,
        "body": case.body,
        "model": model,
        "price": bool(case.shape.models) and model in case.shape.models,
        "at": AT.isoformat(),
    }


def run(oracle: str, module: str, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the module answers to each, in the oracle's environment. Raises `EnvironmentMissing`."""
    command = [str(python_for(ORACLES[oracle])), "-m", module]
    lines = "\n".join(json.dumps(question) for question in questions)
    done = subprocess.run(
        command, input=lines, cwd=CHECKOUT, env=_environment(), capture_output=True, text=True, timeout=SECONDS
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(replies) != len(questions):
        raise AssertionError(f"{oracle} ended with {done.returncode} after {len(replies)} answers:\n{done.stderr}")
    return replies


def _environment() -> dict[str, str]:
    """None of ours: an oracle needs no keys, and its answers depend on no setting."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "TEMP") if name in os.environ}
    return kept | {"PYTHONPATH": str(CHECKOUT), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _reading(reply: Mapping[str, Any]) -> Reading:
    return Reading(
        {} if "error" in reply else {field: reply[field] or 0 for field in FIELDS},
        **{name: reply.get(name) for name in ("error", "cost", "prices", "unpriced")},
    )


def read_by_us(case: Case) -> Usage:
    """From the bytes, as they would come."""
    sent = json.dumps(case.body).encode() if case.sent is None else case.sent
    return extract(sent, provider=case.shape.provider, path=case.shape.path)


def counts(usage: Usage) -> dict[str, int]:
    return {field: getattr(usage, f"{field}_tokens") or 0 for field in FIELDS}
