"""A driver's run in a generation of SDKs: what its callers got without and with metering, and what the books say."""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from accounting.places import sqlite_url
from accounting.simulated.ledger import LedgerLine
from accounting.simulator import Received, Simulator
from accounting.store import tables

from .environments import CHECKOUT, Generation, python_for

Row = Mapping[str, Any]
SECONDS = 180


@dataclass(frozen=True, slots=True)
class Run:
    """One go through all stories against one provider. Ledger lines are in order of arrival."""

    versions: Mapping[str, str]
    results: Mapping[str, Any]
    delivered: bool
    said: str  # on stderr
    ledger: Sequence[LedgerLine]
    received: Sequence[Received]

    def lines(self, model: str) -> list[LedgerLine]:
        return [line for line in self.ledger if line.model == model]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same stories without and with metering, and the calls and sources that the second left in the books."""

    generation: Generation
    plain: Run
    metered: Run
    calls: Mapping[str, Sequence[Row]]  # by the model that was asked for, in order of their start
    sources: Sequence[Row]


def compare(generation: Generation, directory: Path) -> Comparison:
    """Run both at once, each with a provider of its own. Raises `EnvironmentMissing`."""
    python = python_for(generation)
    with ThreadPoolExecutor(2) as threads:
        plain = threads.submit(_run, python, directory / "plain", [])
        metered = threads.submit(_run, python, directory / "metered", ["metered"])
    calls, sources = books(directory / "metered" / "books.sqlite3")
    return Comparison(generation, plain.result(), metered.result(), calls, sources)


def _run(python: Path, directory: Path, words: list[str]) -> Run:
    directory.mkdir()
    with Simulator() as provider:
        command = [str(python), "-m", "tests.sdks.driver", provider.url, *words]
        around = environment(directory)
        done = subprocess.run(
            command, cwd=directory, env=around, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise AssertionError(f"The driver ended with {done.returncode}:\n{done.stderr}")
        return Run(**json.loads(done.stdout), said=done.stderr, ledger=provider.ledger, received=[*provider.received])


def environment(directory: Path) -> dict[str, str]:
    """Ours without what would change where an SDK calls, or how; the books lie in the directory."""
    foreign = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "ACCOUNTING_", "PYTHON")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }
    books = {"ACCOUNTING_STORE_URL": sqlite_url(directory / "books.sqlite3"), "ACCOUNTING_DATA_DIR": str(directory)}
    return kept | books | {"PYTHONPATH": str(CHECKOUT), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def books(file: Path) -> tuple[Mapping[str, Sequence[Row]], Sequence[Row]]:
    calls = tables.calls
    query = (
        sa.select(calls, tables.projects.c.name.label("project"), tables.keys.c.fingerprint, tables.keys.c.last4)
        .outerjoin(tables.projects, tables.projects.c.id == calls.c.project_id)
        .outerjoin(tables.keys, tables.keys.c.id == calls.c.key_id)
        .order_by(calls.c.id)
    )
    engine = sa.create_engine(sqlite_url(file))
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        sources = [dict(row) for row in connection.execute(sa.select(tables.sources)).mappings()]
    engine.dispose()
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_model[row["request_model"]].append(row)
    return by_model, sources
