import json
import shlex
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from accounting.cli import handovers
from accounting.credentials import known_as
from accounting.cycles import Cycle, Every
from accounting.store.tables import keys as table
from accounting.store.tables import restatements
from accounting.verify import verify
from tests.books import Books, made
from tests.budgeted import budget, project
from tests.cli.conftest import Run
from tests.cli.test_projects import now
from tests.test_keys import booked

SECRET = "sk-canary-0123456789abcdef"
ANY_MONTH = datetime(2026, 3, 10, 12, tzinfo=UTC)


def by_key(number: int = 1, at: datetime | None = None, **changes: Any) -> Any:
    return made(at or now(), number, project=None, project_source=None, **changes)


def of(run: Run, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("keys", "show", key, "--json").out)
    return found


@pytest.fixture
def prepared(run: Run, books: Books) -> Books:
    """Two projects; in the running month two calls by a key of nobody's, and one that a program attributed."""
    for name in ("search", "index"):
        run("projects", "create", name)
    books.deliver(by_key(1), by_key(2), made(now(), 3), now=now())
    return books


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody sits there and answers."""

    def answers(text: str) -> None:
        monkeypatch.setattr(handovers, "asks", lambda: True)
        monkeypatch.setattr(sys, "stdin", StringIO(f"{text}\n"))

    return answers


def test_keys_are_listed_with_who_pays_and_what_they_spent(run: Run, prepared: Books) -> None:
    ran = run("keys", "list")
    today = f"{now():%Y-%m-%d}"
    assert [line.split() for line in ran.lines] == [
        ["key", "fingerprint", "project", "calls_this_month", "CNY_this_month", "of_unknown_cost",
         "first_seen", "last_seen"],
        ["…a1b2", "(a1a1a1a1)", "a1a1a1a1", "unassigned", "3", "0.054", "0", today, today],
    ]  # fmt: skip


def test_a_key_has_a_name_in_all_lists(run: Run, prepared: Books) -> None:
    assert run("keys", "rename", "a1b2", "robot").out == "This key is robot (…a1b2) now.\n"
    assert run("keys", "list").lines[1].split()[:3] == ["robot", "(…a1b2)", "a1a1a1a1"]
    found = of(run, "robot")
    assert (found["name"], found["last4"], found["fingerprint"]) == ("robot", "a1b2", "a1" * 32)


@pytest.mark.parametrize("where", ["env", "file", "-"])
def test_a_key_is_made_known_before_its_first_call(
    run: Run, books: Books, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", f"{SECRET}\n")
    (tmp_path / "key").write_text(f"\n{SECRET}\n")
    monkeypatch.setattr(sys, "stdin", StringIO(f"{SECRET}\n"))
    run("projects", "create", "search")
    place = {"env": "env:A_KEY", "file": f"file:{tmp_path / 'key'}", "-": "-"}[where]
    ran = run("keys", "create", "robot", "--from", place, "--project", "search")
    key = known_as(SECRET)
    assert ran.out == (
        f"Made key robot (…cdef), fingerprint {key.fingerprint[:8]}. search pays for what it calls without naming "
        "a project.\n"
    )
    books.deliver(by_key(1, now(), key_fingerprint=key.fingerprint, key_last4=key.last4), now=now())
    assert [name for name, _ in booked(books)] == ["search"]
    assert SECRET not in repr(books.rows(table)) + ran.out + ran.err


@pytest.mark.parametrize(("place", "expected"), [
    (SECRET, "--from names a place, and never the key"),
    (f"env:{SECRET}", "there is no"),
    ("env:", "--from names a place"),
    ("file:/nowhere/at/all", "Can't read the key from /nowhere/at/all: No such file"),
    ("env:EMPTY", "Expected one line with the key in env:EMPTY, found 0 lines"),
    ("env:LINES", "found 2 lines"),
])  # fmt: skip
def test_where_no_key_can_be_read_nothing_is_made(
    run: Run, books: Books, place: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", " \n")
    monkeypatch.setenv("LINES", f"{SECRET}\n{SECRET}")
    ran = run("keys", "create", "robot", "--from", place)
    assert (ran.code, ran.out, books.rows(table)) == (2, "", [])
    assert expected in ran.err
    assert place == f"env:{SECRET}" or SECRET not in ran.err


def test_a_key_with_an_unknown_project_is_not_made(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    assert run("keys", "create", "robot", "--from", "env:A_KEY", "--project", "serch").code == 2
    assert books.rows(table) == []


def test_without_a_terminal_the_past_stays_and_the_command_that_moves_it_is_told(run: Run, prepared: Books) -> None:
    ran = run("keys", "assign", "a1b2", "search", "--why", "it's theirs")
    assert ran.code == 0
    first, second, command = ran.lines
    assert "on search pays for what key …a1b2 (a1a1a1a1) calls without naming a project; until now unassigned." in first
    assert second.startswith("2 calls, 0.036 CNY, since ")
    assert second.endswith("booked. To move them, too, and search would pay from then on, not from now:")
    assert {name for name, _ in booked(prepared)} == {"unassigned", "checkout"}
    assert of(run, "a1b2")["project"] == "search"

    moved = run(*shlex.split(command)[1:])
    assert moved.out.splitlines()[1].startswith("Moved 2 calls, 0.036 CNY.")
    assert sorted(booked(prepared)) == [("checkout", "meter"), ("search", "key"), ("search", "key")]
    assert verify(prepared.engine).balanced


@pytest.mark.parametrize(("said", "expected"), [("y", "search"), ("n", "unassigned")])
def test_on_a_terminal_the_person_decides(run: Run, prepared: Books, answer: Any, said: str, expected: str) -> None:
    answer(said)
    ran = run("keys", "assign", "a1b2", "search", "--why", "theirs")
    assert "2 calls, 0.036 CNY, since" in ran.err
    assert "They can move, and search would pay from then on, not from now. Move them to search?" in ran.err
    assert {name for name, source in booked(prepared) if source != "meter"} == {expected}
    prepared.deliver(by_key(9, now() + timedelta(seconds=1)), now=now())
    assert booked(prepared)[-1] == ("search", "key")


def test_calls_of_months_before_stay_where_they_are_booked(run: Run, prepared: Books) -> None:
    prepared.deliver(by_key(1, ANY_MONTH), now=now())
    ran = run("keys", "assign", "a1b2", "search", "--why", "theirs", "--restate")
    assert "Moved 2 calls, 0.036 CNY." in ran.out
    assert booked(prepared)[0] == ("unassigned", "default")


def test_from_a_day_on_calls_of_months_before_move_too(run: Run, prepared: Books) -> None:
    prepared.deliver(by_key(1, ANY_MONTH), by_key(2, ANY_MONTH - timedelta(days=1)), now=now())
    ran = run("keys", "assign", "a1b2", "search", "--since", "2026-03-10", "--why", "theirs", "--restate")
    assert ran.lines[0].startswith("From 2026-03-10 00:00:00 UTC on search pays")
    assert "Moved 3 calls, 0.054 CNY." in ran.out
    assert [source for _, source in booked(prepared)[:2]] == ["default", "key"]


def test_a_day_begins_as_it_does_for_the_project(run: Run, prepared: Books) -> None:
    run("projects", "create", "east", "--zone", "Asia/Shanghai")
    ran = run("keys", "assign", "a1b2", "east", "--since", "2026-03-10", "--why", "theirs", "--no-restate")
    assert ran.lines[0].startswith("From 2026-03-10 00:00:00+08:00 on")
    assert of(run, "a1b2")["projects"] == [{"from": "2026-03-09T16:00:00Z", "project": "east"}]
    ran = run("keys", "move", "a1b2", "east", "--since", "2026-03-10T10:00+08:00", "--why", "theirs", "--no-restate")
    assert ran.lines[0].startswith("From 2026-03-10 10:00:00+08:00 on")


def test_what_is_planned_for_later_stays_and_is_told(run: Run, prepared: Books) -> None:
    later = f"{now().year + 1}-01-01"
    run("keys", "assign", "a1b2", "index", "--since", later, "--why", "their turn comes")
    ran = run("keys", "assign", "a1b2", "search", "--why", "theirs", "--no-restate")
    assert ran.lines[0].endswith(f"; until now unassigned; from {later} 00:00:00 UTC on index, as planned.")
    assert [each["project"] for each in of(run, "a1b2")["projects"]] == ["search", "index"]


@pytest.mark.parametrize(
    "since", ["tomorrow", "2026-03-10T10:00", "2026-03-10T25:00Z", "0001-01-01T00:00+14:00", "0001-01-01"]
)
def test_what_is_no_instant_is_named(run: Run, prepared: Books, since: str) -> None:
    ran = run("keys", "assign", "a1b2", "search", "--since", since, "--why", "theirs")
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    assert of(run, "a1b2")["project"] == "unassigned"


def test_a_dry_run_says_what_would_move_and_changes_nothing(run: Run, prepared: Books) -> None:
    ran = run("keys", "move", "a1b2", "search", "--why", "theirs", "--dry-run", "--restate")
    assert "on search would pay for what key" in ran.lines[0]
    assert "With --restate 2 calls, 0.036 CNY, since" in ran.lines[1]
    assert "would move, and search would pay from then on, not from now." in ran.lines[1]
    said = run("keys", "move", "a1b2", "search", "--why", "theirs", "--dry-run", "--since", "2026-03-10").lines
    assert "not from now" not in said[1]
    assert (of(run, "a1b2")["projects"], prepared.rows(restatements)) == ([], [])


@pytest.mark.parametrize("command", [
    ("keys", "assign", "a1b2", "search"), ("keys", "move", "a1b2", "search"), ("sources", "close", "0"),
    ("rejected", "dismiss", "1"), ("conflicts", "accept", "1"), ("conflicts", "dismiss", "1"),
])  # fmt: skip
def test_a_blank_reason_is_none(run: Run, prepared: Books, command: tuple[str, ...]) -> None:
    ran = run(*command, "--why", " ")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("--why is empty; expected the reason")


def test_a_key_that_has_a_project_is_moved_and_not_assigned(run: Run, prepared: Books) -> None:
    run("keys", "assign", "a1b2", "search", "--why", "theirs", "--restate")
    ran = run("keys", "assign", "a1b2", "index", "--why", "theirs")
    assert (ran.code, ran.out) == (2, "")
    assert "has a project: search" in ran.err
    ran = run("keys", "move", "a1b2", "index", "--why", "now theirs", "--restate")
    assert "until now search." in ran.lines[0]
    assert {name for name, source in booked(prepared) if source == "key"} == {"index"}


def test_moving_a_key_to_where_it_is_changes_nothing(run: Run, prepared: Books) -> None:
    run("keys", "assign", "a1b2", "search", "--why", "theirs", "--restate")
    before = of(run, "a1b2")["projects"]
    ran = run("keys", "move", "a1b2", "search", "--why", "theirs")
    assert "as it does now." in ran.lines[0]
    assert "None of its calls in the books would move." in ran.lines[1]
    assert of(run, "a1b2")["projects"] == before


def test_a_key_goes_to_a_project_that_is_there(run: Run, prepared: Books) -> None:
    ran = run("keys", "move", "a1b2", "serch", "--why", "theirs")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no project 'serch'. Near it: search" in ran.err


def test_one_key_is_shown_with_who_paid_when(run: Run, prepared: Books) -> None:
    run("keys", "assign", "a1b2", "search", "--since", "2026-03-10", "--why", "theirs", "--no-restate")
    shown = run("keys", "show", "a1b2").out
    assert f"fingerprint   {'a1' * 32}\n" in shown
    assert "project       search from 2026-03-10 00:00:00 UTC on\n" in shown


def test_without_keys_the_list_says_so(run: Run, books: Books) -> None:
    assert run("keys", "list").out == "No key yet: the first call makes one known, or accounting keys create.\n"


def test_a_key_without_calls_was_never_seen(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", SECRET)
    run("keys", "create", "robot", "--from", "env:A_KEY")
    assert run("keys", "list").lines[1].split()[-1] == "never"
    assert of(run, "robot")["last_seen_on"] is None


def test_the_budgets_that_moving_a_key_moves_are_named(run: Run, prepared: Books) -> None:
    budget(prepared, "100", project(prepared, "search"), cycle=Cycle(Every.TOTAL))
    words = ("keys", "move", "a1b2", "search", "--why", "theirs", "--restate")
    would, moved = run(*words, "--dry-run").lines, run(*words).lines
    said = "What is spent of budgets {} with it: cap by "
    (one,) = (line for line in would if line.startswith(said.format("would move")))
    (other,) = (line for line in moved if line.startswith(said.format("moves")))
    assert one.split(": ")[1] == other.split(": ")[1]
