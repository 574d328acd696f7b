import json
from pathlib import Path

import pytest

from tests.books import Books, made
from tests.cli.conftest import Run


def test_a_store_is_made_once_in_the_zone_that_is_set(run: Run, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_ZONE", "Asia/Shanghai")
    assert run("store", "create").out == f"Made an empty store, days in Asia/Shanghai: {store}\n"
    monkeypatch.setenv("ACCOUNTING_ZONE", "UTC")
    assert run("store", "create").out == f"There is a store already, left as it is: {store}\n"
    assert json.loads(run("store", "show", "--json").out)["zone"] == "Asia/Shanghai"


def test_a_new_store_needs_no_upgrade(run: Run, store: str) -> None:
    run("store", "create")
    ran = run("store", "upgrade")
    assert ran.code == 0
    assert "nothing to do" in ran.out
    assert store in ran.out


def test_show_tells_what_waits_and_how_the_jobs_went(run: Run, books: Books, store: str) -> None:
    books.deliver(made())
    found = json.loads(run("store", "show", "--json").out)
    assert (found["url"], found["calls_rolled_up"], found["calls_not_rolled_up"]) == (store, 0, 1)
    run("rollup")
    found = json.loads(run("store", "show", "--json").out)
    assert (found["calls_rolled_up"], found["calls_not_rolled_up"], found["runs"]) == (1, 0, [])
    assert "No job has run yet" in run("store", "show").out


def test_without_a_store_show_and_upgrade_name_the_url(run: Run, store: str) -> None:
    for command in ("show", "upgrade"):
        ran = run("store", command)
        assert (ran.code, ran.out) == (2, "")
        assert store in ran.err


def test_a_file_that_is_no_store_is_answered_with_a_sentence(run: Run, store: str) -> None:
    run("store", "create")
    Path(store.removeprefix("sqlite:///")).write_bytes(b"no database at all, " * 100)
    ran = run("report")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "not a database" in ran.err
