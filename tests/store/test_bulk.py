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
from accounting.store.bulk import ROWS_AT_ONCE
from accounting.store.tables import batches, calls
from accounting.usage import Call, Outcome
from tests.books import NOON, Books, made, used

TEXTS = ["\\N", "\\.", "\\", "a\tb\nc\r\\t", "NULL", "", "'; --", "%s ?", '{"a":"\\n"}', "名前 🜚", "\x1a\x7f"]


def read_back(books: Books) -> list[Call]:
    with reading(books.engine) as conn:
        return [one.call for one in listed(conn, Selection(), limit=1000)][::-1]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_kept_to_the_letter(books: Books, text: str) -> None:
    names = ("provider", "endpoint", "request_model", "response_model", "response_id", "user", "finish_reason")
    texts: dict[str, Any] = dict.fromkeys(names, text)
    usage = used(1, 1)._replace(block=text, anomalies=(text, "t" + text))
    odd = replace(made(), **texts, tags={"t" + text: text, "": ""}, usage=usage)
    assert books.deliver(made(number=0), odd, made(number=2)) == [Verdict.INSERTED] * 3
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
)
def test_any_value_is_kept_as_it_is(
    books: Books,
    tags: dict[str, str],
    outcome: Outcome,
    count: int | None,
    at: object,
    cost: Money | None,
    yes: bool,
) -> None:
    number = len(books.journal.numbers) + 1
    usage = used(number, 1)._replace(provider_cost=cost)
    link = made(number=number).id if yes else None
    odd = made(number=number, tags=tags, outcome=outcome, max_tokens=count, ended_at=at, usage=usage, stream=yes,
               first_token_at=at, link_id=link, bytes_in=count or 0)  # fmt: skip
    books.deliver(odd)
    assert read_back(books)[-1] == odd


@pytest.mark.parametrize("first", [0, 1])
def test_rows_that_are_there_already_are_left_as_they_are(books: Books, first: int) -> None:
    """Whether the batch begins with one of them or meets one on its way."""
    some = [made(number=number) for number in range(3 * ROWS_AT_ONCE)]
    books.deliver(*some[first::2])
    before = {row["id"]: row for row in books.rows(calls)}
    verdicts = books.deliver(*some)
    assert [verdict is Verdict.DUPLICATE for verdict in verdicts] == [n % 2 == first for n in range(len(some))]
    rows = books.rows(calls)
    assert len(rows) == len(some)
    assert all(row == before.get(row["id"], row) for row in rows)
    assert [batch["inserted"] for batch in books.rows(batches)] == [len(some) // 2] * 2


def test_columns_that_say_nothing_in_a_part_of_a_batch_say_it_in_the_rest(books: Books) -> None:
    some = [made(number=n, user=f"u-{n}" if n // ROWS_AT_ONCE == 1 else None) for n in range(3 * ROWS_AT_ONCE + 1)]
    assert set(books.deliver(*some)) == {Verdict.INSERTED}
    assert read_back(books) == some
