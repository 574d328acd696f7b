"""What goes past SQLAlchemy comes out of the books as it went in."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.booked import Selection, listed
from accounting.money import Money
from accounting.ports import Verdict
from accounting.store import reading
from accounting.store.bulk import FEW, ROWS_AT_ONCE
from accounting.store.tables import batches, calls
from accounting.usage import Call, Outcome
from tests.books import NOON, Books, made, used

TEXTS = ["\\N", "\\.", "\\", "a\tb\nc\r\\t", "NULL", "", "'; --", "%s ?", '{"a":"\\n"}', "名前 🜚", "\x1a\x7f"]


def company(first: int, number: int) -> list[Call]:
    """More calls: many go another way into the store than few."""
    return [made(number=first + n) for n in range(number)]


def read_back(books: Books) -> list[Call]:
    with reading(books.engine) as conn:
        return [one.call for one in listed(conn, Selection(), limit=1000)][::-1]


@pytest.mark.parametrize("beside", [0, FEW])
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_kept_to_the_letter(books: Books, text: str, beside: int) -> None:
    names = ("provider", "endpoint", "request_model", "response_model", "response_id", "user", "finish_reason")
    texts: dict[str, Any] = dict.fromkeys(names, text)
    usage = replace(used(1, 1), block=text, anomalies=(text, "", text))
    odd = replace(made(), **texts, tags={"t" + text: text, "": ""}, usage=usage)
    assert set(books.deliver(made(number=0), odd, *company(2, beside))) == {Verdict.INSERTED}
    assert read_back(books)[1] == odd


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9), st.just("v")
    ),
    st.sampled_from(Outcome),
    st.one_of(st.none(), st.integers(0, 2**53)),
    st.one_of(st.none(), st.integers(-(10**15), 10**15).map(lambda us: NOON + timedelta(microseconds=us))),
    st.one_of(st.none(), st.decimals(0, 10**9, places=12).map(lambda amount: Money(Decimal(amount), "USD"))),
    st.booleans(),
    st.sampled_from((0, FEW)),
)
def test_any_value_is_kept_as_it_is(
    books: Books,
    tags: dict[str, str],
    outcome: Outcome,
    count: int | None,
    at: object,
    cost: Money | None,
    yes: bool,
    beside: int,
) -> None:
    number = len(books.journal.numbers) + 1
    usage = replace(used(number, 1), provider_cost=cost)
    link = made(number=number).id if yes else None
    odd = made(number=number, tags=tags, outcome=outcome, max_tokens=count, ended_at=at, usage=usage, stream=yes,
               first_token_at=at, link_id=link, bytes_in=count or 0)  # fmt: skip
    books.deliver(*company(number + 1, beside), odd)
    assert odd in read_back(books)


def test_rows_that_are_there_already_are_left_as_they_are(books: Books) -> None:
    some = [made(number=number) for number in range(3 * ROWS_AT_ONCE)]
    books.deliver(*some[::2])
    before = {row["id"]: row for row in books.rows(calls)}
    verdicts = books.deliver(*some)
    assert verdicts == [Verdict.DUPLICATE, Verdict.INSERTED] * (len(some) // 2)
    rows = books.rows(calls)
    assert len(rows) == len(some)
    assert all(row == before.get(row["id"], row) for row in rows)
    assert [batch["inserted"] for batch in books.rows(batches)] == [len(some) // 2] * 2
