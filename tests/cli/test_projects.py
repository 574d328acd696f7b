import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounting import periods
from tests.books import Books, made
from tests.cli.conftest import Run


def now() -> datetime:
    """To the millisecond, as calls begin."""
    return datetime.now(UTC).replace(microsecond=0)


def called(number: int = 1, **changes: Any) -> Any:
    """A call that ended a moment ago."""
    return made(now(), number, **changes)


def of(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("projects", "show", name, "--json").out)
    return found


def test_projects_are_listed_with_what_they_spent(run: Run, books: Books) -> None:
    long_ago = now() - timedelta(days=70)
    books.deliver(called(1), called(2, project="search"), made(long_ago, 3), now=now())
    run("keys", "assign", "a1b2", "search", "--why", "theirs", "--no-restate")
    ran = run("projects", "list")
    assert [line.split() for line in ran.lines] == [
        ["project", "keys", "calls_this_month", "CNY_this_month", "calls_in_all", "CNY_in_all", "of_unknown_cost",
         "zone", "billed_in", "first_seen"],
        ["checkout", "0", "1", "0.018", "2", "0.036", "0", "UTC", "-", f"{now():%Y-%m-%d}"],
        ["search", "1", "1", "0.018", "1", "0.018", "0", "UTC", "-", f"{now():%Y-%m-%d}"],
    ]  # fmt: skip


def test_what_a_project_cost_that_nobody_knows_stands_beside(run: Run, books: Books) -> None:
    books.deliver(called(1), called(2, request_model="unheard-of"), now=now())
    assert "2 calls, 0.018 CNY; not in it: what 1 call cost" in run("projects", "show", "checkout").out
    assert of(run, "checkout")["this_month"]["unpriced"] == 1


def test_a_project_is_made_before_its_first_call(run: Run, books: Books) -> None:
    ran = run("projects", "create", " search ", "--zone", "Asia/Shanghai", "--currency", "CNY")
    assert (ran.code, ran.out) == (0, "Made project search.\n")
    found = of(run, "search")
    assert (found["zone"], found["currency"], found["in_all"]["calls"]) == ("Asia/Shanghai", "CNY", 0)
    assert run("projects", "create", "search").code == 2


def test_programs_may_go_on_giving_the_former_name(run: Run, books: Books) -> None:
    books.deliver(called(1), now=now())
    ran = run("projects", "rename", "checkout", "payments")
    assert ran.out == "checkout is payments now; programs may go on giving the former name.\n"
    books.deliver(called(2), now=now())
    found = of(run, "checkout")
    assert (found["project"], found["former_names"], found["in_all"]["calls"]) == ("payments", ["checkout"], 2)
    ran = run("projects", "create", "checkout")
    assert (ran.code, ran.out) == (2, "")
    assert "'checkout' was the name of 'payments'" in ran.err


def test_a_zone_begins_with_the_next_month_where_there_are_calls(run: Run, books: Books) -> None:
    books.deliver(called(1), now=now())
    first = periods.next_month(now().date())
    ran = run("projects", "zone", "checkout", "Asia/Shanghai")
    assert ran.out == f"checkout has from {first} on the days of Asia/Shanghai.\n"
    assert of(run, "checkout")["zones_to_come"] == [{"from": str(first), "zone": "Asia/Shanghai"}]
    assert f"UTC, from {first} on Asia/Shanghai" in run("projects", "show", "checkout").out
    ran = run("projects", "zone", "checkout", "Asia/Tokyo", "--from", f"{now():%Y-%m}")
    assert ran.code == 2
    assert f"The first month that another zone can begin with is {first:%Y-%m}" in ran.err


@pytest.mark.parametrize("month", ["9999-12", "1969-12", "2026", "next"])
def test_what_is_no_month_is_named(run: Run, books: Books, month: str) -> None:
    run("projects", "create", "search")
    ran = run("projects", "zone", "search", "Asia/Shanghai", "--from", month)
    assert (ran.code, ran.out) == (2, "")
    assert "expected" in ran.err


def test_a_project_without_calls_has_its_zone_at_once(run: Run, books: Books) -> None:
    run("projects", "create", "search")
    assert run("projects", "zone", "search", "Asia/Shanghai").out == "search has the days of Asia/Shanghai.\n"
    assert of(run, "search")["zone"] == "Asia/Shanghai"


def test_each_project_counts_its_own_month(run: Run, books: Books) -> None:
    """For the east a month begins, and ends, a day before it does for the west."""
    zones = {"east": "Pacific/Kiritimati", "west": "Pacific/Pago_Pago"}
    for number, (name, zone) in enumerate(zones.items()):
        run("projects", "create", name, "--zone", zone)
        books.deliver(called(number, project=name), now=now())
        assert of(run, name)["month"] == f"{periods.billed_on(now(), periods.zone(zone)):%Y-%m}"
        assert of(run, name)["this_month"]["calls"] == 1


def test_a_currency_can_be_named_and_left(run: Run, books: Books) -> None:
    run("projects", "create", "search")
    assert run("projects", "currency", "search", "USD").out.startswith(
        "search is billed in USD: its statements will be."
    )
    assert of(run, "search")["currency"] == "USD"
    assert run("projects", "currency", "search", "none").out.startswith(
        "search is billed as spent: its statements will be."
    )
    assert of(run, "search")["currency"] is None


def test_what_was_spent_in_another_currency_than_it_is_billed_in_is_remarked(run: Run, books: Books) -> None:
    books.deliver(called(1), now=now())
    run("projects", "currency", "checkout", "CNY")
    assert "(spent" not in run("projects", "list").out + run("projects", "show", "checkout").out
    run("projects", "currency", "checkout", "USD")
    assert "USD (spent: CNY)" in run("projects", "list").lines[1]
    assert "billed in         USD (spent: CNY)" in run("projects", "show", "checkout").lines
    assert of(run, "checkout")["in_all"]["spent"] == {"CNY": "0.018"}


@pytest.mark.parametrize("args", [
    ("show", "serch"), ("rename", "serch", "x"), ("zone", "serch", "UTC"), ("currency", "serch", "USD"),
])  # fmt: skip
def test_an_unknown_project_is_told_with_those_near_it(run: Run, books: Books, args: tuple[str, ...]) -> None:
    run("projects", "create", "search")
    ran = run("projects", *args)
    assert (ran.code, ran.out) == (2, "")
    assert "There is no project 'serch'. Near it: search." in ran.err


def test_without_projects_the_list_says_so(run: Run, books: Books) -> None:
    assert run("projects", "list").out == "No project yet: the first call makes one, or accounting projects create.\n"


def test_programs_read_all_of_it(run: Run, books: Books) -> None:
    books.deliver(called(1), now=now())
    (found,) = json.loads(run("projects", "list", "--json").out)["projects"]
    assert found["keys"] == []
    assert Decimal(found["this_month"]["spent"]["CNY"]) == Decimal("0.018")
