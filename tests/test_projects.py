from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from accounting import projects, stamps
from accounting.errors import ConfigurationError
from accounting.ingest import ingest
from accounting.projects import FIRST_DAY, UNASSIGNED, Project
from accounting.store import reading
from accounting.store.tables import calls
from accounting.store.tables import projects as table
from tests.books import NOON, Books, Journal, at, made
from tests.conftest import NewBooks

T = TypeVar("T")
WHO = "ann@build-7"
DECEMBER, JANUARY = date(2026, 12, 1), date(2027, 1, 1)


def decide(books: Books, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What the work returns, done with a connection and the arguments."""
    return stamps.decide(books.engine, lambda conn: work(conn, *args, **kwargs))


def create(books: Books, name: str, **said: str) -> Project:
    return decide(books, projects.create, name, NOON, WHO, **said)


def rename(books: Books, name: str, new: str) -> Project:
    return decide(books, lambda conn: projects.rename(conn, projects.find(conn, name), new, NOON, WHO))


def change_zone(books: Books, name: str, zone: str, first: date | None = None) -> date:
    def change(conn: Connection) -> date:
        return projects.change_zone(conn, projects.find(conn, name), zone, first, NOON, WHO)

    return decide(books, change)


def find(books: Books, name: str) -> Project:
    with reading(books.engine) as conn:
        return projects.find(conn, name)


def days(books: Books) -> list[date]:
    """On which days the calls are billed, in the order of their starts."""
    return [row["billed_on"] for row in sorted(books.rows(calls), key=lambda row: row["started_at"])]


def test_a_project_is_there_from_its_first_call_or_from_its_creation(books: Books) -> None:
    books.deliver(made(project="checkout"))
    create(books, " search\n", zone="Asia/Shanghai", currency="CNY")
    assert find(books, "checkout").currency is None
    assert find(books, "search").currency == "CNY"
    assert find(books, "search").zones == ((FIRST_DAY, "Asia/Shanghai"),)
    books.deliver(made(number=2, project="search"))
    assert len(books.rows(table)) == 2


def test_a_project_is_made_once(books: Books) -> None:
    books.deliver(made(project="checkout"))
    with pytest.raises(ConfigurationError, match="There is a project 'checkout' already, since 2026-11-23"):
        create(books, "checkout")


@pytest.mark.parametrize(("said", "expected"), [
    ({"zone": "Mars/Olympus"}, "expected an IANA name"),
    ({"currency": "yuan"}, "expected a code of ISO 4217"),
    ({"name": " "}, "expected a name"),
])  # fmt: skip
def test_what_a_project_can_not_have_is_refused_whole(books: Books, said: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        create(books, **({"name": "search"} | said))
    assert books.rows(table) == []


def test_a_program_that_gives_the_former_name_means_the_same_project(books: Books) -> None:
    books.deliver(made(number=1, project="checkout"))
    renamed = rename(books, "checkout", "payments")
    books.deliver(made(number=2, project="checkout"), made(number=3, project="payments"))
    assert [(row["id"], row["name"]) for row in books.rows(table)] == [(renamed.id, "payments")]
    assert {row["project_id"] for row in books.rows(calls)} == {renamed.id}
    assert find(books, "checkout") == renamed
    assert renamed.former == ("checkout",)


def test_all_names_that_a_project_had_lead_to_it(books: Books) -> None:
    create(books, "a")
    rename(books, "a", "b")
    assert set(rename(books, "b", "c").former) == {"a", "b"}
    assert {find(books, name).name for name in "abc"} == {"c"}


def test_a_project_can_have_its_former_name_back(books: Books) -> None:
    before = create(books, "checkout")
    rename(books, "checkout", "payments")
    back = rename(books, "payments", "checkout")
    assert (back.id, back.name, back.former) == (before.id, "checkout", ("payments",))
    assert rename(books, "checkout", "checkout") == back


def test_a_former_name_is_not_for_another_project(books: Books) -> None:
    create(books, "checkout")
    rename(books, "checkout", "payments")
    create(books, "search")
    with pytest.raises(ConfigurationError, match="'checkout' was the name of 'payments'"):
        create(books, "checkout")
    with pytest.raises(ConfigurationError, match="'checkout' was the name of 'payments'"):
        rename(books, "search", "checkout")


def test_a_project_does_not_take_the_name_of_another(books: Books) -> None:
    create(books, "checkout")
    create(books, "search")
    with pytest.raises(ConfigurationError, match="There is a project 'search' already"):
        rename(books, "checkout", "search")


@pytest.mark.parametrize(("name", "new"), [(UNASSIGNED, "misc"), ("checkout", UNASSIGNED)])
def test_calls_that_nobody_pays_for_keep_their_name(books: Books, name: str, new: str) -> None:
    books.deliver(made(project=None), made(number=2, project="checkout"))
    with pytest.raises(ConfigurationError, match="stays the name"):
        rename(books, name, new)


def test_an_unknown_project_is_told_with_those_near_it(books: Books) -> None:
    create(books, "checkout")
    with pytest.raises(ConfigurationError, match=r"no project 'chekout'. Near it: checkout"):
        find(books, "chekout")


def test_calls_are_billed_on_the_days_of_their_project(new_books: NewBooks) -> None:
    books = new_books(zone="Europe/Berlin")
    create(books, "search", zone="Asia/Shanghai")
    evening = at("2026-11-23 16:30")
    books.deliver(made(evening, 1, project="search"), made(evening, 2, project="checkout"))
    billed = {row["number"]: row["billed_on"] for row in books.rows(calls)}
    assert billed == {1: date(2026, 11, 24), 2: date(2026, 11, 23)}


def test_the_zone_of_a_project_without_calls_is_its_own_from_the_first(books: Books) -> None:
    create(books, "search", zone="Asia/Shanghai")
    assert change_zone(books, "search", "Europe/Berlin") == FIRST_DAY
    assert find(books, "search").zones == ((FIRST_DAY, "Europe/Berlin"),)
    assert change_zone(books, "search", "Asia/Tokyo", date(2026, 3, 1)) == date(2026, 3, 1)
    assert find(books, "search").zones == ((FIRST_DAY, "Europe/Berlin"), (date(2026, 3, 1), "Asia/Tokyo"))


@pytest.mark.parametrize("rolled", [False, True])
def test_another_zone_begins_with_the_next_month_where_there_are_calls(books: Books, rolled: bool) -> None:
    books.deliver(made(project="search"))
    if rolled:
        books.roll()
    assert change_zone(books, "search", "Asia/Shanghai") == DECEMBER
    before = at("2026-11-30 23:59:59")
    around = [before, at("2026-12-01 00:00"), at("2026-12-01 15:59"), at("2026-12-01 16:00")]
    books.deliver(*(made(start, 2 + n, project="search") for n, start in enumerate(around)), now=at("2026-12-02"))
    assert days(books)[1:] == [date(2026, 11, 30), DECEMBER, DECEMBER, date(2026, 12, 2)]


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("first", [date(2026, 11, 1), date(2026, 3, 1)])
def test_a_month_that_has_begun_keeps_its_days(books: Books, first: date, rolled: bool) -> None:
    books.deliver(made(project="search"))
    if rolled:
        books.roll()
    with pytest.raises(ConfigurationError, match="The first month that another zone can begin with is 2026-12"):
        change_zone(books, "search", "Asia/Shanghai", first)


def test_which_month_comes_next_the_project_s_own_zone_tells(books: Books) -> None:
    create(books, "search", zone="Pacific/Kiritimati")
    last_evening = at("2026-11-30 20:00")
    books.deliver(made(last_evening, project="search"), now=last_evening)
    project = find(books, "search")
    first = decide(books, projects.change_zone, project, "UTC", None, last_evening, WHO)
    assert first == JANUARY


def test_a_month_is_refused_that_a_clock_ahead_has_called_in(books: Books) -> None:
    now = at("2026-11-30 12:00")
    books.deliver(made(at("2026-12-01 02:00"), project="search"), now=now)
    with pytest.raises(ConfigurationError, match="from a clock that is ahead"):
        decide(books, projects.change_zone, find(books, "search"), "Asia/Shanghai", None, now, WHO)


def test_what_is_planned_can_be_planned_otherwise(books: Books) -> None:
    books.deliver(made(project="search"))
    change_zone(books, "search", "Asia/Shanghai")
    change_zone(books, "search", "Asia/Tokyo", JANUARY)
    change_zone(books, "search", "Europe/Berlin")
    assert find(books, "search").zones == ((DECEMBER, "Europe/Berlin"), (JANUARY, "Asia/Tokyo"))


def test_calls_that_come_in_while_a_project_is_renamed_are_all_its_own(books: Books) -> None:
    """Whichever of its names a program gives, and whenever."""
    create(books, "checkout")
    go = Barrier(4)

    def deliver(thread: int) -> None:
        journal = Journal(f"journal {thread}")
        go.wait()
        for number in range(10):
            some = [made(NOON, 100 * thread + 2 * number + n, project=("checkout", "payments")[n]) for n in (0, 1)]
            ingest(books.engine, journal.batch(*some), NOON)

    def there_and_back() -> None:
        rename(books, "checkout", "payments")
        go.wait()
        for _ in range(4):
            rename(books, "payments", "checkout")
            rename(books, "checkout", "payments")

    with ThreadPoolExecutor(4) as pool:
        for each in [*(pool.submit(deliver, thread) for thread in range(3)), pool.submit(there_and_back)]:
            each.result()
    assert [row["name"] for row in books.rows(table)] == ["payments"]
    assert len(books.rows(calls)) == 60
