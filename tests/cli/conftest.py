import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from accounting.cli import main
from accounting.places import store_url
from tests.books import Books


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of this test's store, which nobody has made yet."""
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    for name in ("ACCOUNTING_STORE_URL", "ACCOUNTING_JOURNAL_DIR", "ACCOUNTING_ZONE", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return store_url()


@pytest.fixture
def books(store: str, tmp_path: Path) -> Iterator[Books]:
    """Books at that URL, made and empty."""
    made = Books(tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `accounting …` as its console script does."""

    def ran(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["accounting", *map(str, args)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran
