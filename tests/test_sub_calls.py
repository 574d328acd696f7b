"""What another model used inside a call: it is priced and summed, and is no call by itself."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from accounting.booked import Selection, listed
from accounting.differences import Repaired
from accounting.ports import Verdict
from accounting.rebuild import Rebuilt, rebuild
from accounting.spend import SpendLine, UnpricedModel
from accounting.store import reading
from accounting.store.tables import batches, rejected, spend_days
from accounting.usage import Call, Outcome, Quantities, Usage
from accounting.verify import verify
from tests.books import Books, made, used
from tests.spending import rolled_anew, spending


def inside(parent: Call, number: int = 2, **changes: Any) -> Call:
    """Its advisor, which was billed in its response."""
    return made(parent.started_at, number, parent_id=parent.id, usage=used(100, 20), **changes)


def test_a_sub_call_costs_and_is_not_counted_as_a_call(books: Books) -> None:
    parent = made(number=1)
    assert books.deliver(parent, inside(parent)) == [Verdict.INSERTED] * 2
    books.roll()
    assert books.spend("project").lines == (
        SpendLine(
            group="checkout",
            id="checkout",
            calls=1,
            sub_calls=1,
            quantities=Quantities(input=1100, output=220),
            spent={"CNY": Decimal("0.0198")},
        ),
    )
    assert [row["inserted"] for row in books.rows(batches)] == [2]
    assert verify(books.engine).differences == ()


def test_a_call_that_names_itself_as_its_parent_is_put_aside_with_a_sentence(books: Books) -> None:
    call = made(number=1)
    assert books.deliver(replace(call, parent_id=call.id)) == [Verdict.REJECTED]
    (row,) = books.rows(rejected)
    assert row["reason"] == (
        f"parent_id: {call.id} is the call itself; expected the call that it was made inside, or none"
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_a_sub_call_of_a_call_that_broke_off_is_no_second_one_that_did(books: Books, outcome: Outcome) -> None:
    parent = made(number=1, outcome=outcome)
    books.deliver(parent, inside(parent, outcome=outcome))
    books.roll()
    total = books.spend("project").total
    assert total.calls == 1
    assert total.failed + total.interrupted + total.unknown == (outcome is not Outcome.FINISHED)
    assert verify(books.engine).differences == ()


def test_what_a_sub_call_hides_is_shown(books: Books) -> None:
    """Law L5: unknown is not zero, whoever used it."""
    parent = made(number=1)
    books.deliver(
        parent,
        inside(parent, request_model="nobody/knows"),
        replace(inside(parent, 3), usage=Usage()),
    )
    books.roll()
    report = books.spend("project")
    assert (report.total.calls, report.total.unpriced, report.total.usage_missing) == (1, 1, 1)
    assert report.unpriced_models == (UnpricedModel("wcode", "nobody/knows", 1, has_rate=False),)


def test_a_row_of_sub_calls_alone_stays_until_the_last_has_left_it(books: Books) -> None:
    parent = made(number=1, outcome=Outcome.UNKNOWN)
    of_nothing = replace(inside(parent, request_model="advisor", outcome=Outcome.UNKNOWN), usage=Usage())
    books.deliver(parent, of_nothing)
    books.roll()
    rows = {row["model"]: (row["calls"], row["sub_calls"]) for row in books.rows(spend_days)}
    assert rows == {"z-ai/glm-5": (1, 0), "advisor": (0, 1)}
    assert rebuild(books.engine).tables == {}
    known = replace(of_nothing, outcome=Outcome.FINISHED, request_model="z-ai/glm-5", usage=used(1, 1))
    assert books.deliver(known) == [Verdict.SUPERSEDED]
    assert {row["model"] for row in books.rows(spend_days)} == {"z-ai/glm-5"}
    assert spending(books) == rolled_anew(books)


def test_a_rebuild_tells_sub_calls_from_calls(books: Books) -> None:
    parent = made(number=1)
    books.deliver(parent, inside(parent))
    books.roll()
    right = spending(books)
    books.overwrite(spend_days, "calls", 1)
    books.overwrite(spend_days, "sub_calls", -1)
    found = [str(difference) for difference in verify(books.engine).differences]
    assert [text.partition(": ")[2] for text in found] == ["calls is 2, expected 1", "sub_calls is 0, expected 1"]
    assert rebuild(books.engine) == Rebuilt(quarters=3, days=3, tables={"spend_days": Repaired(wrong=1)})
    assert spending(books) == right


def test_its_parent_is_read_back(books: Books) -> None:
    parent = made(number=1)
    books.deliver(parent, inside(parent))
    with reading(books.engine) as conn:
        assert [one.call.parent_id for one in listed(conn, Selection())] == [parent.id, None]
