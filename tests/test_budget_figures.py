from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from accounting import budget_figures, budgets, reservations
from accounting.budget_figures import Figures, Standing
from accounting.budgets import Budget
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode
from accounting.scopes import Kind, Scope
from accounting.store import reading, transact
from tests.books import NOON, Books, at, made
from tests.budgeted import CARD, DOLLARS, budget, ended, project, reserve, running
from tests.conftest import NewBooks

TODAY = NOON.date()
DAY = timedelta(days=1)


def figures(books: Books, of: Budget, when: datetime = NOON) -> Figures:
    with reading(books.engine) as conn:
        return budget_figures.figures(conn, of, when)


def standing(books: Books, of: Budget, when: datetime = NOON) -> Standing:
    with reading(books.engine) as conn:
        return budget_figures.standing(conn, of, when)


def deliver(books: Books, days: int, **changes: object) -> None:
    """A call that costs 3 on each of so many days, the last today; none of it is rolled up."""
    calls = (running(number, NOON - number * DAY, **changes) for number in range(days))
    books.deliver(*map(ended, calls))


def test_daily_spend_is_the_same_before_and_after_the_rollup(books: Books) -> None:
    books.load(CARD)
    deliver(books, 20, tags={"feature": "chat"}, user="ann")
    scopes = (
        Scope(Kind.ALL),
        Scope(Kind.MODEL, name="pl*"),
        Scope(Kind.PROVIDER, name="wcode"),
        Scope(Kind.USER, name="ann"),
        Scope(Kind.TAG, name="feature", value="chat"),
    )
    made = [budget(books, "100", scope, name=str(scope.kind)) for scope in scopes]
    before = [figures(books, each) for each in made]
    books.roll()
    assert [figures(books, each) for each in made] == before
    assert [each.daily for each in before] == [{TODAY - back * DAY: Decimal(3) for back in range(20)}] * len(made)


def test_the_forecast_goes_on_from_what_is_spent_and_set_aside(books: Books) -> None:
    books.load(CARD)
    deliver(books, 20)
    cap = budget(books, "100")
    reserve(books, running(99))
    found = figures(books, cap)
    # 20 days of November, 3 set aside, half of today and the seven days after it
    assert found.forecast.expected == 20 * 3 + 3 + Decimal("1.5") + 7 * 3
    assert found.forecast.basis == "by weekdays of 2 weeks"
    assert [one.amount for one in found.aside] == [3]


def test_another_currency_counts_by_the_rate_that_the_budget_names(books: Books) -> None:
    books.load(CARD)
    books.load(DOLLARS)
    books.deliver(ended(running(1)), made(NOON, 2, request_model="dollars"))
    knows, does_not = budget(books, "100", fx={"USD": Decimal(7)}), budget(books, "100", name="no fx")
    assert figures(books, knows).daily == {TODAY: Decimal(24)}
    assert figures(books, does_not).daily == {TODAY: Decimal(3)}
    assert figures(books, does_not).standing.period.foreign_calls == 1


def test_the_day_and_how_much_of_it_is_gone_are_those_of_the_projects_zone(books: Books) -> None:
    books.load(CARD)
    east = budget(books, "100", project(books, "east", "Asia/Shanghai"), cycle=Cycle(Every.DAY))
    early = at("2026-11-23 22:00")  # 06:00 on the 24th there
    found = figures(books, east, early)
    assert (found.standing.today, found.standing.zone.key) == (date(2026, 11, 24), "Asia/Shanghai")
    assert found.forecast.pace.even_by_now == 25
    assert found.standing.state.ends_at == datetime(2026, 11, 24, 16, tzinfo=UTC)


def test_a_budget_that_is_to_begin_stands_in_its_first_period(books: Books) -> None:
    later = budget(books, "100", cycle=Cycle(Every.DAYS, 10, TODAY + 3 * DAY))
    found = figures(books, later)
    assert found.standing.state.begins_on == TODAY + 3 * DAY
    assert found.forecast.pace.left_per_day == 10
    assert not found.has_calls


def test_a_period_without_a_row_has_the_limit_and_nothing_used(books: Books) -> None:
    books.load(CARD)
    deliver(books, 3)
    cap = budget(books, "100", cycle=Cycle(Every.WEEK))
    found = standing(books, cap, NOON + 7 * DAY)
    assert found.state.begins_on == date(2026, 11, 30)
    assert [found.state.limit, found.state.used] == [100, 0]


def test_thresholds_are_passed_by_what_is_set_aside_too(books: Books) -> None:
    books.load(CARD)
    deliver(books, 1)
    cap = budget(books, "6", thresholds=(Decimal(50), Decimal(90), Decimal(100)))
    assert standing(books, cap).passed == [50]
    reserve(books, running(99))
    assert standing(books, cap).passed == [50, 90, 100]


def test_only_what_is_set_aside_in_the_running_period_is_named(books: Books) -> None:
    books.load(CARD)
    cap = budget(books, "100", cycle=Cycle(Every.DAY))
    reserve(books, running(1), lease=-36_500 * DAY)
    assert transact(books.engine, reservations.lapse) == 1
    assert [one.state for one in figures(books, cap).aside] == ["held"]
    assert not figures(books, cap, NOON + DAY).aside


def test_all_budgets_are_read_with_as_many_statements_as_one(new_books: NewBooks) -> None:
    books = new_books()
    books.load(CARD)
    deliver(books, 3)
    asked = []
    for number in (1, 2):
        budget(books, "100", name=f"cap {number}", mode=Mode.SOFT)
        with reading(books.engine) as conn, books.asked() as statements:
            budget_figures.standings(conn, budgets.known(conn), NOON)
        asked.append(len(statements))
    assert asked[0] == asked[1]


def test_neither_calls_nor_sums_are_read_through(books: Books) -> None:
    """By day, or by tag and day; what is not summed yet by its batch."""
    books.load(CARD)
    deliver(books, 3)
    scopes = (Scope(Kind.ALL), Scope(Kind.KEY, 1), Scope(Kind.MODEL, name="pl*"), Scope(Kind.TAG, name="a", value="b"))
    made = [budget(books, "100", scope, name=str(scope.kind)) for scope in scopes]
    with books.asked() as statements:
        for each in made:
            figures(books, each)
    read = [each for each in statements if "FROM calls" in each[0] or "spend_" in each[0] or "reservations" in each[0]]
    assert len(read) > len(made)
    for statement, parameters in read:
        plan = "\n".join(books.plan(statement, parameters))
        for table in ("calls", "spend_days", "spend_by_tag", "reservations"):
            assert f"SCAN {table}" not in plan
            assert f"Seq Scan on {table}" not in plan
