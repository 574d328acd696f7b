"""Calls that budgets refused in the books: counted by budget, found again, and part of every total."""

from typing import Any

import pytest

from accounting.differences import Repaired
from accounting.errors import ConfigurationError
from accounting.periods import zone
from accounting.ports import Verdict
from accounting.rebuild import rebuild
from accounting.spend import Report
from accounting.spend_rows import Scope
from accounting.store import writing
from accounting.store.tables import calls, spend_by_tag
from accounting.usage import Call, Outcome, Usage
from accounting.verify import verify
from tests.books import Books, made
from tests.spending import rolled_anew, spending


def refused(number: int, budget: str, **changes: Any) -> Call:
    return made(number=number, outcome=Outcome.FAILED, http_status=None, usage=Usage(), refused_by=budget, **changes)


def lines(report: Report) -> dict[str, int]:
    return {line.group: line.calls for line in report.lines}


@pytest.fixture
def some(books: Books) -> Books:
    """Two refused by one budget and one by another, one that failed by itself, and one that was made."""
    books.deliver(
        refused(1, "team"),
        refused(2, "team", project="search"),
        refused(3, "all", tags={"refusal": "mine"}),
        made(number=4, outcome=Outcome.FAILED, usage=Usage()),
        made(number=5),
    )
    books.roll()
    return books


def test_refused_calls_are_counted_by_budget_and_are_failed_calls_of_the_total(some: Books) -> None:
    report = some.spend("refusal")
    assert lines(report) == {"team": 2, "all": 1}
    assert all(line.calls == line.failed and not any(line.spent.values()) for line in report.lines)
    whole = some.spend("project")
    assert (report.total, report.refused) == (whole.total, 3)
    assert (whole.total.calls, whole.total.failed, whole.refused) == (5, 4, 3)
    assert whole.total.unpriced == whole.total.usage_missing == 0
    assert lines(some.spend("tag:refusal")) == {"mine": 1, "(untagged)": 4}
    assert verify(some.engine).differences == ()


def test_refusals_are_counted_by_project_but_neither_by_key_nor_by_the_days_of_a_zone(some: Books) -> None:
    one = some.spend("refusal", scope=Scope(projects=("search",)))
    assert (lines(one), one.refused) == ({"team": 1}, 1)
    with pytest.raises(ConfigurationError, match="by project, not by key"):
        some.spend("refusal", scope=Scope(keys=("a1b2",)))
    with pytest.raises(ConfigurationError, match="leave out --tz"):
        some.spend("refusal", None, None, zone("Asia/Tokyo"))
    assert some.spend("project", None, None, zone("Asia/Tokyo")).refused is None


def test_a_refusal_leaves_with_what_a_later_outcome_says(books: Books) -> None:
    books.deliver(made(number=1, outcome=Outcome.UNKNOWN, http_status=None, usage=Usage(), refused_by="team"))
    books.roll()
    assert books.deliver(made(number=1)) == [Verdict.SUPERSEDED]
    assert lines(books.spend("refusal")) == {}
    assert spending(books) == rolled_anew(books)


def test_a_rebuild_brings_back_refusals_that_are_in_no_sum(some: Books) -> None:
    right = spending(some)
    with writing(some.engine) as conn:
        conn.execute(spend_by_tag.delete().where(spend_by_tag.c.tag == "refusal"))
    assert not verify(some.engine).balanced
    assert rebuild(some.engine).tables == {"spend_by_tag": Repaired(missing=3)}
    assert spending(some) == right


def test_a_refusal_that_somebody_took_off_a_call_is_missed(some: Books) -> None:
    with writing(some.engine) as conn:
        conn.execute(calls.update().where(calls.c.refused_by == "all").values(refused_by=None))
    assert not verify(some.engine).balanced


def test_a_budget_with_a_longer_name_than_any_has_is_put_aside(books: Books) -> None:
    assert books.deliver(refused(1, "b" * 2401)) == [Verdict.REJECTED]  # no index would take it
