"""Commands, while the server of the store is away."""

import pytest

from tests.cli.conftest import Run
from tests.databases import PostgresDatabases


@pytest.mark.parametrize("command", [["report"], ["rollup"], ["verify"], ["store", "show"], ["store", "create"]])
def test_a_command_says_in_a_sentence_that_the_server_is_away(
    postgresql: PostgresDatabases, run: Run, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = postgresql.store().replace("postgres@", "me:hush@").replace(str(postgresql.server.port), "1")
    monkeypatch.setenv("ACCOUNTING_STORE_URL", gone)
    ran = run(*command)
    assert (ran.code, ran.out) == (2, "")
    (sentence,) = ran.err.splitlines()
    assert sentence.startswith("The store at postgresql://127.0.0.1:1/books_")
    assert "can't be reached" in sentence
    assert "hush" not in sentence


def test_a_command_works_again_once_the_server_is_back(
    postgresql: PostgresDatabases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", postgresql.store())
    postgresql.server.stop()
    assert run("rollup").code == 2
    postgresql.server.start()
    assert run("rollup").code == 0
