"""A call that was priced by a line that is not for it is named, however near the line is to the right one."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from accounting import aliasbook, ratebook
from accounting.aliases import NAMES, Rule
from accounting.store import aliaslines, writing
from accounting.store.tables import calls, rates
from accounting.usage import Call
from accounting.verify import verify
from tests.books import NOON, Books, made, used

CARD = """
provider = "p"
currency = "USD"
source = "test"
""" + "\n".join(
    f"[[rate]]\nvalid_from = 2026-11-01\ninput = {number}\noutput = 1\n{line}"
    for number, line in enumerate((
        'model = "m"',
        'model = "m"\nservice_tier = "batch"',
        'model = "m"\ncontext_above = 1000',
        'model = "m"\nhours = "mon-fri 09:00-12:00 UTC"',
        'model = "any"\nservice_tier = "*"',
        'model = "family-*"',
        'model = "other"',
    ), 1)
)  # fmt: skip
PLAIN, BATCH, LONG, PEAK, ANY, FAMILY, OTHER = range(1, 8)
"""Lines by their price of input."""


@pytest.fixture
def books(books: Books) -> Books:
    books.load(CARD)
    with writing(books.engine) as conn:
        aliaslines.append(conn, [Rule("p", "x~{model}", "{model}")], NOON)
    return books


def call(**changes: Any) -> Call:
    return made(**({"provider": "p", "request_model": "m"} | changes))


def line(books: Books, which: int) -> int:
    """The id of a line."""
    return next(int(row["id"]) for row in books.rows(rates) if row["provider"] == "p" and row["input_per_1k"] == which)


def priced_by(books: Books, one: Call, which: int) -> list[str]:
    """What is said of a call that was delivered, then stamped with the line behind the back of the program."""
    books.deliver(one)
    with writing(books.engine) as conn:
        conn.execute(sa.update(calls).values(rate_id=line(books, which)))
    books.roll()
    return [str(difference) for difference in verify(books.engine).differences]


@pytest.mark.parametrize(("one", "which"), [
    (call(), PLAIN),
    (call(service_tier="default"), PLAIN),
    (call(service_tier="Batch"), BATCH),
    (call(usage=used(1001, 1)), LONG),
    (call(started_at=NOON - timedelta(microseconds=1)), PEAK),
    (call(request_model="any", service_tier="flex"), ANY),
    (call(request_model="any"), ANY),
    (call(request_model="family-large"), FAMILY),
    (call(request_model="x~other"), OTHER),
    (call(request_model="x~family-large"), FAMILY),
])  # fmt: skip
def test_a_call_is_priced_by_the_line_that_is_for_it_and_nothing_is_said(books: Books, one: Call, which: int) -> None:
    books.deliver(one)
    assert [row["rate_id"] for row in books.rows(calls)] == [line(books, which)]
    books.roll()
    assert verify(books.engine).differences == ()


AT = "that holds at 2026-11-23 12:00:00Z"


@pytest.mark.parametrize(("one", "which", "held", "asked"), [
    (call(service_tier="batch"), PLAIN, "p/m", f"p/m (batch) {AT}"),
    (call(service_tier="default"), BATCH, "p/m (batch)", f"p/m {AT}"),
    (call(service_tier="flex"), BATCH, "p/m (batch)", f"p/m (flex) {AT}"),
    (call(), LONG, "p/m (above 1,000 input tokens)", f"p/m {AT} for 1,000 input tokens"),
    (call(), PEAK, "p/m (mon-fri 09:00-12:00 UTC)", f"p/m {AT}"),
    (call(request_model="familylarge"), FAMILY, "p/family-*", f"p/familylarge {AT}"),
    (call(request_model="y~other"), OTHER, "p/other", f"p/y~other {AT}"),
    (call(provider="q"), PLAIN, "p/m", f"q/m {AT}"),
])  # fmt: skip
def test_a_line_of_other_conditions_or_of_another_name_is_named(
    books: Books, one: Call, which: int, held: str, asked: str
) -> None:
    assert priced_by(books, one, which) == [
        f"calls, {one.id}: rate_id is {held} from 2026-11-01 00:00Z, expected a rate of {asked}"
    ]


def test_a_call_that_came_in_when_its_line_had_been_withdrawn_is_named(books: Books) -> None:
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, [line(books, PLAIN)], NOON - timedelta(hours=2), "ann@desk", "typed wrong")
    one = call()
    assert priced_by(books, one, PLAIN) == [
        f"calls, {one.id}: rate_id is p/m from 2026-11-01 00:00Z, withdrawn at 2026-11-23 10:00Z, "
        "expected a rate that was in force when the call came in, at 2026-11-23 12:00Z"
    ]


def test_a_call_keeps_its_line_when_that_is_withdrawn(books: Books) -> None:
    books.deliver(call())
    books.roll()
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, [line(books, PLAIN)], NOON + timedelta(days=1), "ann@desk", "typed wrong")
    assert verify(books.engine).differences == ()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_rule_that_leads_there_no_more_explains_what_was_priced_by_it(books: Books, is_stopped: bool) -> None:
    books.deliver(call(request_model="x~other"))
    books.roll()
    with writing(books.engine) as conn:
        rule = next(each for each in aliaslines.read(conn, withdrawn=False) if each.provider == "p")
        if is_stopped:
            aliasbook.add(conn, Rule("p", "x~other", ""), NOON, "ann@desk")
        else:
            aliasbook.withdraw(conn, [rule.id], NOON, "ann@desk", "another model by now")
    assert verify(books.engine).differences == ()
    books.deliver(call(number=2, request_model="x~other"))
    assert [row["rate_id"] for row in books.rows(calls) if row["number"] == 2] == [0]


def test_a_name_that_led_to_many_others_over_time_is_priced_by_the_one_that_it_led_to_then(books: Books) -> None:
    with writing(books.engine) as conn:
        for number in range(NAMES + 1):
            rule = aliasbook.add(conn, Rule("p", "house", f"a{number:02}", "tried"), NOON, "ann@desk")
            assert rule is not None
            aliasbook.withdraw(conn, [rule.id], NOON, "ann@desk", "not that one")
        aliasbook.add(conn, Rule("p", "house", "other", "that one"), NOON, "ann@desk")
    books.deliver(call(request_model="house"))
    assert [row["rate_id"] for row in books.rows(calls)] == [line(books, OTHER)]
    books.roll()
    assert verify(books.engine).differences == ()
