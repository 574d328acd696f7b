import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console

from accounting import budget_figures, budgets, reservations
from accounting.cli import budget_changes
from accounting.cli.budget_sheets import list_sheet
from accounting.decisions import Refusal
from accounting.sheets import fitting
from accounting.store import reading, transact, writing
from accounting.store.tables import budget_periods
from accounting.store.tables import budgets as budgets_table
from accounting.usage import Call
from tests.books import Books, made
from tests.budgeted import CARD, DOLLARS, ended, reserve, running
from tests.cli.conftest import Run
from tests.databases import Database

LONG = timedelta(days=10_000)
MONTHLY = ("--amount", 100, "--currency", "CNY", "--every", "month")


@pytest.fixture
def books(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    """Books on either database, which commands take for theirs."""
    url = database.store()
    monkeypatch.setenv("ACCOUNTING_STORE_URL", url)
    made = Books(url)
    yield made
    made.close()


def now() -> datetime:
    """To the millisecond, as calls begin."""
    return datetime.now(UTC).replace(microsecond=0)


def called(number: int = 1, **changes: Any) -> Call:
    """A call that ended a moment ago and cost 3."""
    return ended(running(number, now(), **changes))


def shown(run: Run, name: str = "cap") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("budgets", "show", name, "--json").out)
    return found


def facts(run: Run, name: str = "cap") -> dict[str, str]:
    """What `show` says, by what it is about."""
    lines = run("budgets", "show", name).lines
    return {line[:14].strip(): line[14:] for line in lines if line[:13].strip() and line[13:14] == " "}


def hold(books: Books, *calls: Call) -> list[str]:
    """Have what is set aside for these calls be held; their ids."""
    reserve(books, *calls, lease=-LONG)
    transact(books.engine, reservations.lapse)
    return [str(call.id) for call in calls]


def test_what_was_spent_in_the_running_period_counts(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(called(1), called(2), now=now())
    ran = run("budgets", "add", "cap", *MONTHLY, "--project", "checkout", "--hard")
    assert (ran.code, ran.lines) == (
        0,
        [
            "Added budget cap on project checkout: 100 CNY every month, hard.",
            f"Since {now():%Y-%m-01} 6 CNY is spent; 94 CNY is left.",
            "Running programs obey within 5 seconds.",
        ],
    )
    found = shown(run)
    assert (found["period"]["spent"], found["remaining"], found["used_percent"]) == ("6", "94", "6")
    assert (found["mode"], found["when_away"], found["thresholds"]) == ("hard", "refuse", ["50", "80", "100"])


def test_a_soft_budget_says_that_it_stops_nothing(run: Run, books: Books) -> None:
    ran = run("budgets", "add", "cap", *MONTHLY, "--everything")
    assert ran.lines[-1] == "It stops no call. To have it: accounting budgets edit cap --hard"
    assert shown(run)["when_away"] == "pass"


def test_a_name_that_no_call_has_is_doubted(run: Run, books: Books) -> None:
    books.deliver(called(1, tags={"feature": "chat"}), now=now())
    assert "is that its name?" in run("budgets", "add", "a", *MONTHLY, "--tag", "feature=chta").out
    assert "is that its name?" not in run("budgets", "add", "b", *MONTHLY, "--tag", "feature=chat").out
    assert "is that its name?" in run("budgets", "add", "c", *MONTHLY, "--model", "gtp*").out


def test_what_the_books_name_is_not_doubted(run: Run, books: Books) -> None:
    run("projects", "create", "checkout")
    for name, scope in (("a", ("--everything",)), ("b", ("--project", "checkout"))):
        ran = run("budgets", "add", name, *MONTHLY, *scope)
        assert (ran.code, "is that its name?" in ran.out) == (0, False)


_NAMED: dict[str, dict[str, Any]] = {
    "project": {"name": "checkout"},
    "key": {"name": "…a1b2 (a1a1a1a1)"},
    "model": {"name": "pl*"},
    "provider": {"name": "wcode"},
    "user": {"name": "ann"},
    "tag": {"name": "feature", "value": "a=b"},
    "all": {},
}


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (("--project", "checkout"), "project", "project checkout"),
        (("--key", "a1b2"), "key", "key …a1b2"),
        (("--model", "pl*"), "model", "model pl*"),
        (("--provider", "wcode"), "provider", "provider wcode"),
        (("--user", "ann"), "user", "user ann"),
        (("--tag", "feature=a=b"), "tag", "tag feature=a=b"),
        (("--everything",), "all", "everything"),
    ],
)
def test_a_budget_is_on_what_was_said(run: Run, books: Books, said: tuple[str, ...], kind: str, told: str) -> None:
    books.load(CARD)
    books.deliver(called(1, user="ann", tags={"feature": "a=b"}), called(2, provider="other", project="x"), now=now())
    run("budgets", "add", "cap", *MONTHLY, *said)
    found = shown(run)
    assert found["scope"]["kind"] == kind
    named = {name: each for name, each in found["scope"].items() if name not in ("kind", "told")}
    ids = [each for name, each in named.items() if name == f"{kind}_id"]
    assert [type(each) for each in ids] == [int] * (kind in ("project", "key"))
    assert {name: each for name, each in named.items() if each not in ids} == _NAMED[kind]
    assert found["scope"]["told"].startswith(told)
    assert found["period"]["spent"] == "3"


@pytest.mark.parametrize(
    ("every", "said"),
    [
        (("day",), "day"),
        (("total",), "total"),
        (("total", "--since", "2026-01-01"), "total from 2026-01-01"),
        (("10d", "--since", "2026-01-01"), "10 days from 2026-01-01"),
        (("10 days", "--since", "2026-01-01"), "10 days from 2026-01-01"),
    ],
)
def test_a_period_is_what_was_said(run: Run, books: Books, every: tuple[str, ...], said: str) -> None:
    run("budgets", "add", "cap", "--amount", 1, "--currency", "CNY", "--everything", "--every", *every)
    assert f"  everything  {said}  " in run("budgets", "list").lines[1]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((), "found nothing; expected one of --project"),
        (("--everything", "--user", "ann"), "found --user and --everything"),
        (("--project", "chekout"), "no project 'chekout'. Near it: checkout"),
        (("--tag", "feature"), "expected one like feature=chat"),
        (("--everything", "--every", "fortnight"), "expected day, week, month"),
        (("--everything", "--every", "0d"), "expected 1 to"),
        (("--everything", "--since", "2026-01-01"), "leave out --since"),
        (("--everything", "--amount", "1,5"), "'1,5' is no number"),
        (("--everything", "--amount", "-1"), "expected 0 or more"),
        (("--everything", "--currency", "RMB"), "Did you mean CNY?"),
        (("--everything", "--soft", "--hard"), "--soft and --hard contradict each other"),
        (("--everything", "--threshold", "50,x"), "'x' is no number"),
        (("--everything", "--threshold", "0"), "above 0"),
        (("--everything", "--fx", "7.1"), "expected one like USD=7.1"),
        (("--everything", "--fx", "CNY=7.1"), "the budget is in CNY itself"),
        (("--everything", "--fx", "USD=7.1", "--fx", "USD=7.2"), "--fx names USD twice"),
        (("--everything", "--max-output", "many"), "is no count"),
    ],
)
def test_what_cannot_be_a_budget_is_told_with_the_way_out(
    run: Run, books: Books, said: tuple[str, ...], told: str
) -> None:
    books.deliver(called(1), now=now())
    ran = run("budgets", "add", "cap", *MONTHLY, *said)
    assert (ran.code, ran.out) == (2, "")
    assert told.casefold() in ran.err.casefold()
    assert json.loads(run("budgets", "list", "--json").out) == {"budgets": []}


def test_budgets_are_listed_with_what_is_left(run: Run, books: Books) -> None:
    assert run("budgets", "list").out.startswith("No budget yet.")
    books.load(CARD)
    books.deliver(called(1), made(now(), 2, request_model="unheard-of"), now=now())
    run("budgets", "add", "cap", "--amount", "7.5", "--currency", "CNY", "--every", "total", "--everything", "--strict")
    reserve(books, running(9, now()), lease=LONG)
    ran = run("budgets", "list")
    assert [line.split("  ")[0].strip() for line in ran.lines] == ["budget", "cap"]
    assert " ".join(ran.lines[1].split()) == (
        "cap everything total 7.5 3 3 1.5 CNY 80 hard strict - 1 call without a rate"
    )


def test_show_says_all_there_is_to_a_budget(run: Run, books: Books) -> None:
    books.load(CARD)
    days = [ended(running(number, now() - number * timedelta(days=1))) for number in range(20)]
    books.deliver(*days, made(now(), 90, request_model="unheard-of"), now=now())
    run("budgets", "add", "cap", "--amount", 100, "--currency", "CNY", "--every", "total", "--everything", "--hard")
    (held,) = hold(books, running(91, now()))
    reserve(books, running(92, now()), lease=LONG)
    found = facts(run)
    assert found["spent"] == "60 CNY; not in it: 1 call without a rate (in reports unpriced, or without usage)"
    assert found["reserved"] == "3 CNY for 1 running call"
    assert found["held"] == "3 CNY for 1 call of unknown cost"
    assert found["remaining"] == "34 CNY"
    assert found["used"] == "66 % of the limit; passed: 50 %; ahead: 80, 100 %"
    assert found["forecast"].endswith(", by weekdays of 2 weeks")
    days_left = {f"{now() + timedelta(days=left):%Y-%m-%d}" for left in (11, 12)}  # by how much of today is gone
    assert found["runs out"].split()[1].rstrip(",") in days_left
    assert run("budgets", "show", "cap").lines[-1].startswith(held)
    as_json = shown(run)
    assert [one["call"] for one in as_json["held_calls"]] == [held]
    assert (as_json["running_calls"], as_json["forecast"]["basis"]) == (1, "by weekdays of 2 weeks")
    assert len(as_json["daily"]) == 20


def test_what_a_hard_budget_would_refuse_is_forecast_all_the_same_and_said(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(*(ended(running(number, now() - number * timedelta(days=1))) for number in range(4)), now=now())
    total = ("--currency", "CNY", "--every", "total", "--everything")
    run("budgets", "add", "cap", "--amount", 20, *total, "--hard")
    run("budgets", "add", "told", "--amount", 20, *total)
    assert "CNY in 90 days, if no call were refused, by the mean of 3 days" in facts(run)["forecast"]
    assert "refused" not in facts(run, "told")["forecast"]


def test_the_pace_of_a_day_is_no_figure_by_the_day(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(called(1), now=now())
    run("budgets", "add", "cap", "--amount", 300, "--currency", "CNY", "--every", "day", "--everything")
    assert facts(run)["pace"].endswith(" % of an even pace")
    run("budgets", "add", "lid", "--amount", 300, "--currency", "CNY", "--every", "total", "--everything")
    assert facts(run, "lid")["pace"] == "none yet"
    later = f"{now() + timedelta(days=5):%Y-%m-%d}"
    run(
        "budgets",
        "add",
        "new",
        *("--amount", 9, "--currency", "CNY"),
        "--every",
        "10d",
        "--since",
        later,
        "--everything",
    )
    assert facts(run, "new")["pace"] == "none yet"


def test_a_narrow_terminal_shows_what_a_budget_is_on_before_its_mode(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--provider", "wcode", "--strict")
    with reading(books.engine) as conn:
        sheet = list_sheet(budget_figures.standings(conn, budgets.known(conn), now()))
    titles = [{column.title for column in fitting(sheet, Console(width=width))[0].columns} for width in range(40, 160)]
    assert all({"on", "every"} <= shown for shown in titles if shown & {"currency", "mode"})
    assert any({"on", "every"} <= shown and "currency" not in shown for shown in titles)


def test_nothing_is_forecast_of_nothing(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything")
    assert (facts(run)["forecast"], facts(run)["runs out"]) == ("nothing known yet", "not known")
    assert shown(run)["forecast"]["expected"] is None


def test_a_terminal_shows_the_days_as_bars(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    books.load(CARD)
    books.deliver(ended(running(1, now() - timedelta(days=2))), called(2), called(3), now=now())
    run("budgets", "add", "cap", *MONTHLY, "--everything")
    assert "day by day" not in run("budgets", "show", "cap").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert "▄▁█ " in run("budgets", "show", "cap").out


def test_an_edit_says_what_changed_and_clears_nothing(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(called(1), now=now())
    run("budgets", "add", "cap", *MONTHLY, "--everything")
    ran = run("budgets", "edit", "cap", "--amount", "50", "--hard", "--why", "less to spend")
    assert ran.lines == [
        "Changed cap: limit 50 (was 100), mode hard (was soft), when away refuse (was pass). 47 CNY is left.",
        "Running programs obey within 5 seconds.",
    ]
    assert (shown(run)["period"]["spent"], shown(run)["period"]["limit"]) == ("3", "50")
    assert run("budgets", "edit", "cap", "--amount", "50.0").out == "cap is so already; nothing was changed.\n"
    ran = run("budgets", "edit", "cap")
    assert (ran.code, ran.out) == (2, "")


def test_every_term_can_be_edited(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--fx", "USD=7.1", "--max-output", "4k")
    said = ("--name", "lid", "--threshold", "none", "--fx", "USD=none", "--fx", "EUR=8", "--max-output", "none")
    run("budgets", "edit", "cap", *said, "--when-away", "refuse")
    found = shown(run, "lid")
    assert (found["thresholds"], found["fx"], found["max_output"], found["when_away"]) == (
        [],
        {"EUR": "8"},
        None,
        "refuse",
    )


def test_exchange_rates_are_taken_back_one_by_one_or_all(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--fx", "USD=7.1", "--fx", "EUR=8", "--fx", "JPY=0.05")
    run("budgets", "edit", "cap", "--fx", "USD=none")
    assert shown(run)["fx"] == {"EUR": "8", "JPY": "0.05"}
    run("budgets", "edit", "cap", "--fx", "none", "--fx", "JPY=0.06")
    assert shown(run)["fx"] == {"JPY": "0.06"}
    assert run("budgets", "edit", "cap", "--fx", "none").code == 0
    assert shown(run)["fx"] == {}


def test_a_new_exchange_rate_counts_for_calls_in_the_books(run: Run, books: Books) -> None:
    books.load(CARD.replace("CNY", "USD"))
    books.deliver(called(1), now=now())
    assert "1 call in another currency" in run("budgets", "add", "cap", *MONTHLY, "--everything").out
    run("budgets", "edit", "cap", "--fx", "USD=7")
    assert (shown(run)["period"]["spent"], shown(run)["period"]["foreign_calls"]) == ("21", 0)


def test_a_paused_budget_counts_on(run: Run, books: Books) -> None:
    books.load(CARD)
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    assert run("budgets", "pause", "cap", "--why", "a launch").code == 0
    books.deliver(called(1), now=now())
    assert shown(run)["period"]["spent"] == "3"
    assert facts(run)["mode"].endswith("it stops no call")
    assert run("budgets", "pause", "cap").code == 2
    assert run("budgets", "resume", "cap").out == "cap is in force again. Running programs obey within 5 seconds.\n"


def test_a_budget_is_removed_when_somebody_says_so(run: Run, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything")
    ran = run("budgets", "remove", "cap")
    assert (ran.code, ran.out) == (2, "")
    assert "add --yes" in ran.err
    monkeypatch.setattr(budget_changes, "asks", lambda: True)
    monkeypatch.setattr(budget_changes, "confirmed", lambda _question: False)
    assert run("budgets", "remove", "cap").out == "Nothing was changed.\n"
    monkeypatch.setattr(budget_changes, "confirmed", lambda _question: True)
    assert run("budgets", "remove", "cap").out.startswith("Removed cap.")
    assert json.loads(run("budgets", "list", "--json").out) == {"budgets": []}
    assert run("budgets", "show", "cap").code == 2
    assert [line.split()[4] for line in run("budgets", "history", "cap").lines if "UTC" in line] == ["added", "removed"]
    assert run("budgets", "add", "cap", *MONTHLY, "--everything").code == 0


def test_what_is_held_is_given_back_when_somebody_says_so(run: Run, books: Books) -> None:
    books.load(CARD)
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    assert run("budgets", "release", "cap", "--all-held").out == "cap holds nothing.\n"
    ids = hold(books, running(1, now()), running(2, now()), running(3, now()))
    for said in ((), (ids[0], "--all-held")):
        ran = run("budgets", "release", "cap", *said)
        assert (ran.code, ran.out) == (2, "")
        assert "holds 9 CNY for 3 calls" in ran.err
    ran = run("budgets", "release", "cap", ids[0])
    assert ran.code == 2
    assert ids[0] in ran.out
    assert shown(run)["period"]["held"] == "9"
    ran = run("budgets", "release", "cap", ids[0], "--yes", "--why", "it never ran")
    assert ran.lines[-1] == "Released 3 CNY for 1 call."
    assert shown(run)["period"]["held"] == "6"
    ran = run("budgets", "release", "cap", "--all-held", "--yes", "--json")
    assert [one["call"] for one in json.loads(ran.out)["released"]] == ids[1:]
    assert shown(run)["period"]["held"] == "0"
    with reading(books.engine) as conn:
        told = [(change.what, change.why) for change in budgets.changes(conn, budgets.find(conn, "cap"))]
    assert told == [("added", ""), ("released", "it never ran"), ("released", "")]


def test_what_is_not_held_is_not_released(run: Run, books: Books) -> None:
    books.load(CARD)
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    call, *others = (running(number, now()) for number in (1, 2, 3))
    reserve(books, call, lease=LONG)
    hold(books, *others)
    ran = run("budgets", "release", "cap", call.id, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "may be running still" in ran.err
    assert "holds nothing for a call" in run("budgets", "release", "cap", "ffff", "--yes").err
    assert "holds nothing for a call" in run("budgets", "release", "cap", "", "--yes").err
    assert "names 3 calls" in run("budgets", "release", "cap", str(call.id)[:8], "--yes").err
    assert shown(run)["period"]["held"] == "6"


def test_a_list_of_held_calls_ends_somewhere(run: Run, books: Books) -> None:
    books.load(CARD)
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    hold(books, *(running(number, now()) for number in range(1, 26)))
    ran = run("budgets", "show", "cap")
    assert ran.lines[-1] == "The oldest 20 of 25; --json has all."
    assert len(shown(run)["held_calls"]) == 25


def test_history_has_the_periods_and_then_the_changes(run: Run, books: Books) -> None:
    books.load(CARD)
    run("budgets", "add", "cap", "--amount", "5", "--currency", "CNY", "--every", "day", "--everything", "--hard")
    books.deliver(called(1), called(2), now=now())
    run("budgets", "edit", "cap", "--amount", "7", "--why", "a launch")
    ran = run("budgets", "history", "cap")
    assert ran.lines[1].split() == [f"{now():%Y-%m-%d}"] * 2 + ["7", "6", "0", "0", "0", "0", "0"]
    assert ran.lines[-1].split()[4:] == ["edited", "limit", "7", "(was", "5)", "a", "launch"]
    found = json.loads(run("budgets", "history", "cap", "--json").out)
    assert found["changes"][1]["fields"] == {"limit": {"before": "5", "after": "7"}}
    assert (found["periods"][0]["spent"], found["periods"][0]["limit"]) == ("6", "7")
    assert run("budgets", "history", "cpa").code == 2


def test_what_is_held_for_calls_in_a_currency_ends_with_an_exchange_rate_for_it(run: Run, books: Books) -> None:
    books.load(CARD)
    books.load(DOLLARS)
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--strict")
    call = running(1, now())
    reserve(books, call)
    books.deliver(ended(call, response_model="dollars"), now=now())
    period = shown(run)["period"]
    assert (period["spent"], period["held"], period["foreign_calls"]) == ("0", "3", 1)
    run("budgets", "edit", "cap", "--fx", "USD=7")
    period = shown(run)["period"]
    assert (period["spent"], period["held"], period["foreign_calls"]) == ("21", "0", 0)
    assert run("verify").code == 0


def test_the_command_in_a_refusal_for_want_of_a_rate_works_as_it_stands(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    (refusal,) = reserve(books, running(1, now()))
    assert isinstance(refusal, Refusal)
    command = refusal.message.partition("accounting ")[2].partition(";")[0]
    ran = run(*shlex.split(command))
    assert (ran.code, "plain" in ran.out) == (1, True), "no rate holds, which is no fault of the command"


def test_what_a_removed_budget_was_stays_to_be_seen_though_its_name_is_used_again(run: Run, books: Books) -> None:
    for amount in (1, 2, 3):
        run("budgets", "add", "cap", "--amount", amount, "--currency", "CNY", "--every", "day", "--everything")
        if amount < 3:
            run("budgets", "remove", "cap", "--yes")
    ran = run("budgets", "history", "cap")
    assert ran.lines[-1] == "2 budgets of this name removed before: accounting budgets history cap --removed"
    assert "limit 3" in ran.out
    ran = run("budgets", "history", "cap", "--removed")
    told = [what for line in ran.lines for what in ("cap, on everything, ", "  added  ", "  removed") if what in line]
    assert told == ["cap, on everything, ", "  added  ", "  removed"] * 2
    told = json.loads(run("budgets", "history", "cap", "--removed", "--json").out)["budgets"]
    assert [(one["limit"], len(one["changes"]), one["removed_at"] is None) for one in told] == [
        ("1", 2, False),
        ("2", 2, False),
    ]
    assert json.loads(run("budgets", "history", "cap", "--json").out)["limit"] == "3"
    ran = run("budgets", "history", "other", "--removed")
    assert (ran.code, "No budget 'other' was removed" in ran.err) == (2, True)


def test_what_stops_a_budget_is_told_to_programs(run: Run, books: Books) -> None:
    run("budgets", "add", "cap", *MONTHLY, "--everything", "--hard")
    assert json.loads(run("budgets", "pause", "cap", "--json").out)["paused_at"] is not None
    assert json.loads(run("budgets", "resume", "cap", "--json").out)["paused_at"] is None
    removed = json.loads(run("budgets", "remove", "cap", "--yes", "--json").out)
    assert (removed["budget"], removed["removed_at"] is None) == ("cap", False)


def test_a_hard_budget_says_which_calls_it_refuses_whatever_is_left(run: Run, books: Books) -> None:
    books.load(DOLLARS)
    sent = running(1, now()), running(2, now())
    answers = [ended(call, response_model=model) for call, model in zip(sent, ("dollars", "unheard-of"), strict=True)]
    books.deliver(*answers, now=now())
    foreign = "It refuses calls priced in USD. To have them pass: accounting budgets edit cap --fx USD=RATE"
    unpriced = "It refuses calls of models without a rate. To have them pass: accounting rates add"
    assert "refuses" not in run("budgets", "add", "cap", *MONTHLY, "--everything").out
    assert "refuses" not in facts(run)
    assert shown(run)["refuses"] == {"currencies": [], "unpriced": False}
    assert {foreign, unpriced} <= {*run("budgets", "edit", "cap", "--hard").lines}
    assert facts(run)["refuses"] == f"{foreign} {unpriced}"
    assert shown(run)["refuses"] == {"currencies": ["USD"], "unpriced": True}
    assert foreign not in run("budgets", "edit", "cap", "--fx", "USD=7").out
    assert facts(run)["refuses"] == unpriced
    assert foreign.replace("cap", "lid") in run("budgets", "add", "lid", *MONTHLY, "--everything", "--strict").lines


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\u202eb"])
def test_a_name_that_steers_a_terminal_is_refused(run: Run, books: Books, name: str) -> None:
    said = run("budgets", "add", name, *MONTHLY, "--everything")
    assert (said.code, said.out, "text that can be printed" in said.err) == (2, "", True)
    run("budgets", "add", "cap", *MONTHLY, "--everything")
    assert "text that can be printed" in run("budgets", "edit", "cap", "--name", name).err


def test_a_name_that_steers_a_terminal_and_is_in_the_books_is_spelt_out(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(called(1), called(2, tags={"feature": "\x1b[31m"}), now=now())
    run("budgets", "add", "cap", *MONTHLY, "--tag", "feature=\x1b[31m")
    odd = "c\x1b[31mp"
    with writing(books.engine) as conn:
        conn.execute(sa.update(budgets_table).values(name=odd))
        conn.execute(sa.update(budget_periods).values(spent=7))
    asked: list[tuple[str, ...]] = [
        *(("list",), ("show", odd), ("edit", odd, "--amount", "9"), ("edit", odd, "--hard"), ("release", odd)),
        *(("pause", odd), ("resume", odd), ("remove", odd, "--yes")),
    ]
    with reading(books.engine) as conn:
        (found,) = budgets.known(conn)
    assert found.name == odd
    assert "\x1b" not in run("budgets", "history", odd).out
    for words in (("verify",), *(("budgets", *words) for words in asked)):
        ran = run(*words)
        assert "\x1b" not in ran.out + ran.err, words
        assert "c\\x1b[31mp" in ran.out + ran.err, words
