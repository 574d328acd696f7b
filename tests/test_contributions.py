from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Connection, Table, cast, literal, select, true

from accounting import contributions, ratebook
from accounting.contributions import FIGURES, REFUSAL, SPEND_TABLES, STATED, beside, group_columns, of_calls
from accounting.money import Money
from accounting.periods import Period
from accounting.rates import CLASSES, PRICES, REQUIRED, Rate, price
from accounting.store import exact_cost, exact_negative, exact_sum, reading, writing
from accounting.store.tables import calls, spend_by_tag
from accounting.store.types import Exact
from accounting.usage import Call, Outcome, Quantities, Usage
from tests.books import NOON, Books, at, made, used

ODD = 'quote " back \\ slash / 提示 \U0001f600 \u2028 tab \t'
SOME = (
    made(number=1, tags={"feature": "rerank", "team": ""}, user="u-1"),
    made(number=2, tags={"feature": "rerank"}, usage=used(5, 6, read=3, write=1, thought=2)),
    made(number=3, tags={ODD: ODD, "": "nameless"}, user=ODD, outcome=Outcome.FAILED),
    made(number=4, usage=Usage(), outcome=Outcome.UNKNOWN, user=""),
    made(at("2026-11-23 12:15"), request_model="nobody/knows", tags={"feature": "search", "user": "not one"}),
    made(number=6, usage=used(1000, 0)._replace(provider_cost=Money(Decimal("0.1" + "0" * 28 + "1"), "USD"))),
    made(number=7, usage=used(1000, 0)._replace(provider_cost=Money(Decimal(3), "USD")), tags={"feature": "both"}),
    made(number=9, outcome=Outcome.FAILED, http_status=None, usage=Usage(), refused_by=ODD),
    made(number=8, provider=f"100%20 {ODD}", usage=used(7, 0)._replace(provider_cost=Money(Decimal("0.03"), "CNY"))),
)


def by_key(table: Table, rows: list[Any]) -> dict[tuple[Any, ...], list[Any]]:
    held = (*FIGURES, *beside(table))
    return {tuple(row[name] for name in group_columns(table)): [row[name] for name in held] for row in rows}


def add(conn: Connection, table: Table, some: list[contributions.Contribution]) -> None:
    contributions.add(conn, table, some, {rate.id: rate for rate in ratebook.rates(conn)})


def tags_of(books: Books, *some: Call) -> dict[tuple[str, str], int]:
    books.deliver(*some)
    books.roll()
    return {(row["tag"], row["value"]): row["calls"] for row in books.rows(spend_by_tag)}


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_the_database_and_python_sum_up_the_same(books: Books, table: Table) -> None:
    books.deliver(*SOME)
    with reading(books.engine) as conn:
        summed = list(conn.execute(contributions.of_calls(conn, table, true())).mappings())
    assert by_key(table, summed) == by_key(table, contributions.moved(table, [], books.rows(calls)))
    assert len(summed) > 1


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_what_is_added_and_taken_out_again_leaves_nothing(books: Books, table: Table) -> None:
    books.deliver(*SOME)
    rows = books.rows(calls)
    with writing(books.engine) as conn:
        add(conn, table, contributions.moved(table, [], rows))
        add(conn, table, contributions.moved(table, rows[:2], []))
    assert len(books.rows(table)) > 0
    with writing(books.engine) as conn:
        add(conn, table, contributions.moved(table, rows[2:], []))
    assert books.rows(table) == []


def test_a_call_stands_under_each_of_its_tags_and_under_its_user(books: Books) -> None:
    assert tags_of(books, *SOME) == {
        ("tag:feature", "rerank"): 2,
        ("tag:feature", "search"): 1,
        ("tag:feature", "both"): 1,
        ("tag:team", ""): 1,
        ("tag:user", "not one"): 1,
        (f"tag:{ODD}", ODD): 1,
        ("tag:", "nameless"): 1,
        ("user", "u-1"): 1,
        ("user", ODD): 1,
        ("user", ""): 1,
        (REFUSAL, ODD): 1,
        (STATED, "other_currency USD wcode z-ai/glm-5"): 2,
        (STATED, f"unpriced CNY 100%2520%20{ODD.replace(' ', '%20')} z-ai/glm-5"): 1,
    }


def test_what_providers_stated_is_added_up_to_the_last_digit_in_the_rows_about_it_alone(books: Books) -> None:
    books.deliver(*SOME[5:])
    books.roll()
    found = {(row["tag"], row["value"].split()[0]): row["stated"] for row in books.rows(spend_by_tag)}
    assert found == {
        (REFUSAL, ODD.split()[0]): None,
        (STATED, "other_currency"): Decimal("3.1" + "0" * 28 + "1"),
        (STATED, "unpriced"): Decimal("0.03"),
        ("tag:feature", "both"): None,
    }


def test_a_call_without_tags_and_user_stands_nowhere_by_tag(books: Books) -> None:
    assert tags_of(books, made()) == {}


@pytest.mark.parametrize("table", SPEND_TABLES, ids=str)
def test_rows_come_in_the_order_in_which_python_sorts_their_keys(books: Books, table: Table) -> None:
    names = ("b", "B", "a b", "ab", "_", "é", "z", "中", "\U0001f600")
    books.deliver(*(made(number=n, request_model=name, tags={name: name}) for n, name in enumerate(names)))
    with reading(books.engine) as conn:
        keys = [tuple(row[: len(group_columns(table))]) for row in conn.execute(of_calls(conn, table, true()))]
    assert keys == sorted(keys)
    assert len(keys) == len(names)


COUNT = st.integers(0, 10**15)
PRICE = st.decimals(0, 10**8, places=9)
EACH_PRICE = st.tuples(*(PRICE if each.name in REQUIRED else st.none() | PRICE for each in CLASSES))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(quantities=st.tuples(*[COUNT] * len(CLASSES)), prices=EACH_PRICE)
def test_the_database_prices_as_python_does(
    books: Books, quantities: tuple[int, ...], prices: tuple[Decimal | None, ...]
) -> None:
    columns = [literal(count, BigInteger) for count in quantities], [literal(each, Exact) for each in prices]
    with reading(books.engine) as conn:
        found = conn.scalar(select(exact_cost(*columns)))
    period = Period(NOON, None)
    named: dict[str, Any] = dict(zip(PRICES, prices, strict=True))
    assert (
        found == price(Quantities(*quantities), Rate(provider="", model="", currency="", period=period, **named)).amount
    )


@pytest.mark.parametrize("text", ["0", "1", "-1", "0.000000000000000000012", "-98765432109876543210.5", None])
def test_an_amount_with_its_sign_turned_adds_up_to_nothing(books: Books, text: str | None) -> None:
    amount = cast(literal(None if text is None else Decimal(text), Exact), Exact)
    with reading(books.engine) as conn:
        found = conn.execute(select(exact_negative(amount), exact_sum(amount, exact_negative(amount)))).one()
    assert list(found) == ([None, None] if text is None else [-Decimal(text), 0])
