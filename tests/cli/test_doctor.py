import json
from datetime import timedelta

import pytest

from tests.books import NOON, Books, made
from tests.cli.conftest import Run


def test_healthy_books_end_with_0_and_a_line_for_each_check(run: Run, books: Books) -> None:
    ran = run("doctor")
    assert ran.code == 0
    assert all(line.startswith(("ok ", "look ")) for line in ran.lines[:-2])
    assert ran.lines[-1].startswith("24 checks: ")


def test_what_is_bad_ends_with_1_and_says_what_to_do(run: Run) -> None:
    ran = run("doctor")
    assert ran.code == 1
    assert ran.lines[0].startswith("bad   store         There is no store at sqlite:///")
    assert "accounting store create" in ran.lines[0]
    assert ran.lines[-1] == "5 checks: 1 bad, 0 to look at."


def test_json_holds_each_check_and_whether_all_is_well(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounting.cli.doctor.now", lambda: NOON + timedelta(hours=2))
    books.deliver(made(number=1), made(number=2), still_open=1)
    ran = run("doctor", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["healthy"]) == (1, False)
    states = {check["check"]: check["state"] for check in found["checks"]}
    assert (states["sources"], states["rollup"], states["aside"]) == ("bad", "look", "ok")
    assert all(check["advice"] for check in found["checks"] if check["state"] != "ok")


def test_an_unusable_setting_could_not_be_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "mysql://me:secret@db/books")
    ran = run("doctor")
    assert ran.code == 2
    assert "secret" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("name", "value"), [("ACCOUNTING_ZONE", "Nowhere"), ("ACCOUNTING_STORE_URL", "postgresql://h:abc/books")]
)
def test_json_has_an_unusable_setting_as_a_finding(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = run("doctor", "--json")
    found = json.loads(ran.out)
    assert (ran.code, ran.err, found["healthy"]) == (2, "", False)
    (check,) = found["checks"]
    assert (check["check"], check["state"]) == ("settings", "bad")
    assert name in check["said"]


def test_a_password_is_shown_nowhere(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "postgresql://me:secret@127.0.0.1:1/books")
    ran = run("doctor")
    assert ran.code == 1
    assert "postgresql://127.0.0.1:1/books can't be reached" in ran.out
    assert "secret" not in ran.out + ran.err
