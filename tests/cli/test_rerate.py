"""`accounting rerate`: what it shows, when it asks, and how it is interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from accounting import rerating, restate
from accounting.cli import rerate
from accounting.cycles import Cycle, Every
from accounting.rerating import Which
from accounting.restated import Restated
from accounting.scopes import Kind, Scope
from accounting.store.tables import calls, restated_calls, restatements
from tests.books import NOON, Books, at, made
from tests.budgeted import budget
from tests.cli.conftest import Run

CARD = """
provider = "wcode"
currency = "CNY"
source = "list of today"
[[rate]]
model = "z-ai/glm-5"
valid_from = 2026-03-01
input = 0.022
output = 0.07
[[rate]]
model = "nobody/knows"
valid_from = 2026-03-01
input = 0.001
output = 0
"""

WHO = "ann@desk"
WHY = ("--why", "the list was wrong")


@pytest.fixture
def books(books: Books) -> Books:
    """Books in which three calls have a rate that is another by now, and one has none but will."""
    books.deliver(
        made(at("2026-10-31 12:00"), 1),
        made(number=2),
        made(number=3, project="search"),
        made(number=4, request_model="nobody/knows"),
    )
    books.load(CARD)
    return books


def rated(books: Books) -> list[int]:
    return sorted(row["rate_id"] for row in books.rows(calls))


def fields(line: str) -> list[str]:
    return re.split(r"\s{2,}", line)


def test_a_dry_run_shows_calls_and_money_by_project_and_month_and_changes_nothing(run: Run, books: Books) -> None:
    before = rated(books)
    ran = run("rerate", "--model", "*", "--dry-run")
    assert ran.code == 0
    assert ran.lines[:3] == [
        "Looked at 4 calls of wcode/nobody/knows, wcode/z-ai/glm-5.",
        "4 calls would get another rate, and 4 of them would cost something else: 0.054 CNY before, 0.109 CNY after.",
        "Unpriced among them: 1 before, 0 after.",
    ]
    assert [fields(line) for line in ran.lines[4:]] == [
        ["project", "month", "currency", "calls_before", "calls_after", "before", "after", "difference"],
        ["checkout", "2026-10", "CNY", "1", "1", "0.018", "0.036", "0.018"],
        ["checkout", "2026-11", "unpriced", "1", "0", "-", "-", "-"],
        ["checkout", "2026-11", "CNY", "1", "2", "0.018", "0.037", "0.019"],
        ["search", "2026-11", "CNY", "1", "1", "0.018", "0.036", "0.018"],
    ]
    assert (rated(books), books.rows(restatements)) == (before, [])


def test_with_yes_it_is_done_and_told(run: Run, books: Books) -> None:
    ran = run("rerate", "--model", "z-ai/glm-5", "--since", "2026-11-01", *WHY, "--yes")
    assert ran.code == 0
    assert "Priced 2 calls again: 0.036 CNY before, 0.072 CNY after." in ran.lines
    assert len(books.rows(restated_calls)) == 2
    (log,) = books.rows(restatements)
    assert (log["kind"], log["why"]) == ("rerated", "the list was wrong")
    again = run("rerate", "--model", "z-ai/glm-5", "--since", "2026-11-01", *WHY, "--yes")
    assert again.lines[-1] == "All have the rate that holds for them; there is nothing to change."


def test_the_last_day_is_included_and_an_instant_is_not(run: Run, books: Books) -> None:
    def seen(*words: str) -> Any:
        return json.loads(run("rerate", "--provider", "wcode", *words, "--dry-run", "--json").out)["calls"]

    assert seen("--until", "2026-10-31") == 1
    assert seen("--until", "2026-11-23") == 4
    assert seen("--until", "2026-11-23T12:00Z") == 1
    assert seen("--since", "2026-11-23T12:00Z") == 3


def test_programs_get_amounts_as_text_and_must_say_yes(run: Run, books: Books) -> None:
    found = json.loads(run("rerate", "--unpriced", "--json", "--yes").out)
    assert found.pop("models") == [{"provider": "wcode", "model": "nobody/knows"}]
    (off, on) = found.pop("projects")
    assert (off["currency"], off["calls_before"], off["calls_after"]) == ("", 1, 0)
    assert on == {
        "project": "checkout",
        "month": "2026-11",
        "currency": "CNY",
        "calls_before": 0,
        "calls_after": 1,
        "before": "0",
        "after": "0.001",
    }
    assert found == {
        "dry_run": False,
        "calls": 1,
        "changed": 1,
        "changed_in_all": 1,
        "recosted": 1,
        "unpriced": [],
        "unpriced_before": 1,
        "unpriced_after": 0,
        "before": {},
        "after": {"CNY": "0.001"},
        "budgets": [],
        "overtaken": False,
    }
    refused = run("rerate", "--model", "*", *WHY, "--json")
    assert refused.code == 2
    assert "--yes" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*WHY, "--yes"), "Say which calls"),
        (("--model", "*", "--yes"), "--why is empty"),
        (("--model", "*", "--why", " ", "--yes"), "--why is empty"),
        (("--model", "*", *WHY), "add --yes, or --dry-run"),
        (("--model", "z-ai/glm5", "--dry-run"), "Near it: z-ai/glm-5."),
        (("--model", "", "--dry-run"), "--model is empty"),
        (("--model", "*", "--provider", " ", "--dry-run"), "--provider is empty"),
        (("--model", "*", "--since", "2026-11-02", "--until", "2026-11-01", "--dry-run"), "exchange them"),
        (("--model", "*", "--since", "2026-11-02T10:00", "--dry-run"), "says not where"),
    ],
)
def test_what_is_unclear_is_refused_before_anything_is_done(
    run: Run, books: Books, words: tuple[str, ...], said: str
) -> None:
    ran = run("rerate", *words)
    assert ran.code == 2
    assert said in ran.err
    assert books.rows(restatements) == []


@pytest.mark.parametrize(("answer", "changed"), [(True, 2), (False, 0)])
def test_on_a_terminal_the_person_decides_having_seen_it(
    run: Run, books: Books, monkeypatch: pytest.MonkeyPatch, answer: bool, changed: int
) -> None:
    asked: list[str] = []
    confirm: Callable[..., bool] = lambda question, **_: asked.append(question) or answer  # type: ignore[func-returns-value]  # noqa: E731
    monkeypatch.setattr(rerate, "asks", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    assert run("rerate", "--model", "z-ai/glm-5", "--since", "2026-11-01", *WHY).code == 0
    assert asked == ["Price 2 calls again?"]
    assert len(books.rows(restated_calls)) == changed


def test_where_no_call_is_unpriced_that_is_said(run: Run, books: Books) -> None:
    run("rerate", "--unpriced", "--yes")
    assert run("rerate", "--unpriced", "--yes").out == "No such call is unpriced.\n"


def test_calls_that_stay_unpriced_are_said_to(run: Run, books: Books) -> None:
    books.deliver(made(number=5, provider="azure", request_model="mine"))
    assert run("rerate", "--provider", "azure", "--dry-run").lines == [
        "Looked at 1 call of azure/mine.",
        "There is nothing to change.",
        "1 call stays unpriced: no rate holds for azure/mine. Why: accounting rates explain mine --provider azure "
        "--at …",
    ]
    books.deliver(*(made(number=n, provider="lab", request_model="new b") for n in (6, 7)))
    ran = run("rerate", "--unpriced", "--dry-run")
    assert ran.lines[0] == "Looked at 1 call of wcode/nobody/knows."
    left = "3 calls stay unpriced: no rate holds for lab/new b, azure/mine."
    assert ran.lines[3] == f"{left} Why: accounting rates explain 'new b' --provider lab --at …"
    before, done = (json.loads(run("rerate", "--unpriced", how, "--json").out) for how in ("--dry-run", "--yes"))
    assert before["unpriced"] == done["unpriced"]
    assert [(one["model"], one["calls"]) for one in done["unpriced"]] == [("new b", 2), ("mine", 1)]
    again = run("rerate", "--unpriced", "--dry-run").lines
    assert (again[0], again[1][:23]) == ("There is nothing to change.", "3 calls stay unpriced: ")


def stopped_after(calls: int, books: Books, which: Which, who: str) -> None:
    """As by Ctrl-C, before it was written down that it is done."""

    def stop(done: Restated) -> None:
        if done.changed == calls:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rerating.rerate(books.engine, which, lambda: NOON, who, "late", progress=stop)


@pytest.mark.parametrize("who", [WHO, "bob@desk"])
@pytest.mark.parametrize(
    ("words", "which"),
    [
        (("--model", "z-ai/glm-5", "--why", "late"), Which(model="z-ai/glm-5")),
        (("--model", "z-ai/glm-5", "--why", "another"), Which(model="z-ai/glm-5")),
        (("--unpriced", "--model", "nobody/knows"), Which(model="nobody/knows", unpriced_only=True)),
        (("--unpriced",), Which(unpriced_only=True)),
    ],
)
def test_one_that_was_interrupted_when_all_was_done_is_ended_by_the_command(
    run: Run, books: Books, words: tuple[str, ...], which: Which, who: str
) -> None:
    changed = 1 if which.unpriced_only else 3
    stopped_after(changed, books, which, who)
    run("rerate", *words, "--dry-run")
    assert [row["ended_at"] for row in books.rows(restatements)] == [None]
    ran = run("rerate", *words, "--yes", "--json")
    assert (ran.code, json.loads(ran.out)["dry_run"]) == (0, False)
    (log,) = books.rows(restatements)
    assert (log["who"], log["changed"]) == (who, changed)
    assert log["ended_at"] > NOON


INTERRUPTED = """
import os, signal, sys
from accounting import restate
from accounting.cli import main

restate.CALLS_AT_ONCE = dict.fromkeys(restate.CALLS_AT_ONCE, 1)
rewrite, steps = restate._rewrite, 0

def interrupted(*args):
    global steps
    steps += 1
    if steps == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return rewrite(*args)

restate._rewrite = interrupted
main()
"""


def test_ctrl_c_leaves_whole_steps_and_the_command_that_goes_on(
    run: Run, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["rerate", "--model", "*glm*", "--since", "2026-10-01", *WHY]
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + INTERRUPTED
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--yes"], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 128 + signal.SIGINT
    assert "Interrupted after 2 calls; what was done is whole. To go on:" in done.stderr
    command = done.stderr.splitlines()[-1]
    assert command == "accounting rerate --model '*glm*' --since 2026-10-01T00:00:00+00:00 --why 'the list was wrong'"
    assert [(row["seen"], row["ended_at"]) for row in books.rows(restatements)] == [(2, None)]
    monkeypatch.setattr(restate, "CALLS_AT_ONCE", dict.fromkeys(restate.CALLS_AT_ONCE, 1))
    ran = run(*words, "--yes")
    assert "Priced 1 call again: 0.018 CNY before, 0.036 CNY after." in ran.lines
    assert "2 were before it was interrupted: 3 in all." in ran.lines
    (log,) = books.rows(restatements)
    assert log["changed"] == 3
    assert log["ended_at"] > NOON


def test_the_budgets_that_it_moves_are_named(run: Run, books: Books) -> None:
    budget(books, "100", cycle=Cycle(Every.TOTAL))
    budget(books, "100", Scope(Kind.MODEL, name="else"), name="other", cycle=Cycle(Every.TOTAL))
    said = "What is spent of budgets {} with it: cap by +0.055 CNY ({} left)."
    assert said.format("would move", "99.891") in run("rerate", "--model", "*", "--dry-run").lines
    found = json.loads(run("rerate", "--model", "*", "--dry-run", "--json").out)
    assert found["budgets"] == [
        {"budget": "cap", "currency": "CNY", "begins_on": "1970-01-01", "difference": "0.055", "remaining": "99.891"}
    ]
    assert said.format("moves", "99.891") in run("rerate", "--model", "*", *WHY, "--yes").lines
