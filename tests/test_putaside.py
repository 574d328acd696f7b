"""What was put aside is shown as it came, and settled by people."""

from datetime import timedelta

import pytest

from accounting import putaside
from accounting.errors import ConfigurationError
from accounting.ingest import ingest
from accounting.ports import Batch, Entry, Verdict
from accounting.putaside import Conflict, Said
from accounting.store import reading, tables
from accounting.store.tables import batches, calls, conflicts, rejected, restated_calls, restatements, sources
from accounting.usage import Call, Outcome
from accounting.verify import verify
from tests.books import NOON, Books, made, used

TOMORROW = NOON + timedelta(hours=30)
LATER = NOON + timedelta(hours=7)


def deliver_bytes(books: Books, *payloads: bytes) -> list[Verdict]:
    """Numbered from 1, by the books' own journal."""
    entries = tuple(Entry(number, payload) for number, payload in enumerate(payloads, 1))
    report = books.journal.batch(*(made(number=number) for number, _ in enumerate(payloads))).source
    verdicts = ingest(books.engine, Batch(report, entries), NOON)
    return [verdicts[entry.number] for entry in entries]


def compared(books: Books, conflict: Conflict) -> list[Said]:
    with reading(books.engine) as conn:
        (said,) = putaside.compared(conn, [conflict])
        return said


def only_conflict(books: Books) -> Conflict:
    with reading(books.engine) as conn:
        (found,) = putaside.conflicts(conn, 10)
    return found


def contradicted(books: Books, other: Call) -> Conflict:
    """A call in the books, rolled up, and another version of it put aside."""
    assert books.deliver(made(user="u-1")) == [Verdict.INSERTED]
    assert books.deliver(other) == [Verdict.CONFLICT]
    books.roll()
    return only_conflict(books)


def balanced(books: Books) -> bool:
    books.roll()
    found = verify(books.engine)
    assert not found.differences
    return True


def test_a_call_from_the_future_is_taken_once_its_time_has_come(books: Books) -> None:
    ahead = made(TOMORROW, user="u-1")
    assert deliver_bytes(books, ahead.encode(), made(number=2).encode()) == [Verdict.REJECTED, Verdict.INSERTED]
    with reading(books.engine) as conn:
        (one,) = putaside.rejected(conn, 10)
    assert "more than 24 h ahead" in one.reason
    assert putaside.retry(books.engine, one.id, NOON).verdict is None
    assert putaside.retry(books.engine, one.id, LATER).verdict is Verdict.INSERTED
    (row,) = books.rows(rejected)
    assert (row["settled_at"], row["settled_how"], row["payload"]) == (LATER, "retried: inserted", ahead.encode())
    assert [(call["number"], call["end_user"]) for call in books.rows(calls)] == [(2, None), (1, "u-1")]
    assert [(batch["entries"], batch["inserted"]) for batch in books.rows(batches)] == [(2, 1), (1, 1)]
    (source,) = books.rows(sources)
    assert (source["contiguous"], source["highest"]) == (2, 2)
    assert balanced(books)


def test_what_is_still_refused_stays_and_says_why_now(books: Books) -> None:
    deliver_bytes(books, b"no call")
    (row,) = books.rows(rejected)
    tried = putaside.retry(books.engine, row["id"], LATER)
    assert tried.verdict is None
    assert "Not JSON" in tried.reason
    (after,) = books.rows(rejected)
    assert after == row | {"reason": tried.reason}


def test_what_the_database_still_refuses_stays_with_its_reason(books: Books) -> None:
    books.refuse(calls, "new.end_user = 'u-0'")
    deliver_bytes(books, made(user="u-0").encode())
    (row,) = books.rows(rejected)
    tried = putaside.retry(books.engine, row["id"], LATER)
    assert (tried.verdict, "not this" in tried.reason) == (None, True)
    assert books.rows(calls) == []
    books.mend(calls)
    assert putaside.retry(books.engine, row["id"], LATER).verdict is Verdict.INSERTED


def test_a_rejected_call_that_came_again_since_is_a_duplicate(books: Books) -> None:
    books.refuse(calls, "new.end_user = 'u-0'")
    deliver_bytes(books, made(user="u-0").encode())
    books.mend(calls)
    assert books.deliver(made(user="u-0")) == [Verdict.INSERTED]
    (row,) = books.rows(rejected)
    assert putaside.retry(books.engine, row["id"], LATER).verdict is Verdict.DUPLICATE
    assert len(books.rows(calls)) == 1
    assert balanced(books)


def test_what_is_settled_is_not_settled_twice(books: Books) -> None:
    deliver_bytes(books, made(TOMORROW).encode())
    (row,) = books.rows(rejected)
    putaside.retry(books.engine, row["id"], LATER)
    with pytest.raises(ConfigurationError, match=r"settled on 2026-11-23 19:00 UTC: retried: inserted"):
        putaside.retry(books.engine, row["id"], LATER)
    with pytest.raises(ConfigurationError, match="no 77 among them; see accounting conflicts list"):
        putaside.dismiss(books.engine, conflicts, 77, "x", "ann@laptop", LATER)


def test_two_versions_are_compared_field_by_field_what_differs_first(books: Books) -> None:
    other = made(project=None, project_source=None, usage=used(1000, 201), outcome=Outcome.FAILED)
    said = compared(books, contradicted(books, other))
    differing = {one.field: (one.books, one.delivered) for one in said if one.differs}
    assert differing == {
        "project": ("checkout", None),
        "project_source": ("meter", None),
        "outcome": ("finished", "failed"),
        "user": ("u-1", None),
        "output_tokens": (200, 201),
    }
    assert [one.differs for one in said] == sorted((one.differs for one in said), reverse=True)
    assert {"id", "tags", "usage_block", "provider_cost", "key_last4"} <= {one.field for one in said}


def test_a_call_without_a_project_does_not_differ_by_who_pays_for_its_key(books: Books) -> None:
    books.deliver(made(project=None, project_source=None))
    books.deliver(made(project=None, project_source=None, usage=used(1000, 201)))
    assert [one.field for one in compared(books, only_conflict(books)) if one.differs] == ["output_tokens"]


def test_accepting_lets_the_books_say_the_other_and_keeps_what_they_said(books: Books) -> None:
    other = made(project="search", usage=used(2000, 1))
    one = contradicted(books, other)
    putaside.accept(books.engine, one.id, "the provider's bill says so", "ann@laptop", LATER)
    (row,), (order,), (said,) = books.rows(calls), books.rows(restatements), books.rows(restated_calls)
    assert (row["input_tokens"], row["output_tokens"], row["end_user"]) == (2000, 1, None)
    assert (order["kind"], order["who"], order["why"]) == (
        "conflict-accepted", "ann@laptop", "the provider's bill says so",
    )  # fmt: skip
    assert order["ended_at"] == LATER
    assert (said["before"]["input_tokens"], said["before"]["end_user"]) == (1000, "u-1")
    assert [line.group for line in books.spend("project").lines] == ["search"]
    assert balanced(books)
    (settled,) = books.rows(conflicts)
    assert (settled["settled_at"], settled["payload"]) == (LATER, other.encode())
    assert settled["settled_how"] == "accepted by ann@laptop: the provider's bill says so"
    assert books.deliver(other) == [Verdict.DUPLICATE]
    assert books.deliver(made(user="u-1")) == [Verdict.SUPERSEDED]


def test_dismissing_leaves_the_books_as_they_are(books: Books) -> None:
    one = contradicted(books, made(usage=used(2000, 1)))
    before = books.rows(calls)
    putaside.dismiss(books.engine, tables.conflicts, one.id, "a test of ours", "ann@laptop", LATER)
    assert books.rows(calls) == before
    assert books.rows(restatements) == []
    assert [row["settled_how"] for row in books.rows(conflicts)] == ["dismissed by ann@laptop: a test of ours"]
    assert books.deliver(made(usage=used(2000, 1))) == [Verdict.CONFLICT]
    with reading(books.engine) as conn:
        assert putaside.conflicts(conn, 10) == []
        assert [settled.id for settled in putaside.conflicts(conn, 10, settled=True)] == [one.id]


def test_a_decision_needs_a_reason(books: Books) -> None:
    one = contradicted(books, made(usage=used(2000, 1)))
    for decide in (
        lambda: putaside.accept(books.engine, one.id, " ", "ann@laptop", LATER),
        lambda: putaside.dismiss(books.engine, tables.conflicts, one.id, "", "ann@laptop", LATER),
    ):
        with pytest.raises(ConfigurationError, match="--why is empty"):
            decide()
    assert only_conflict(books).settled_at is None


def test_a_report_counts_what_is_not_settled(books: Books) -> None:
    one = contradicted(books, made(usage=used(2000, 1)))
    deliver_bytes(books, b"no call")
    report = books.spend("project")
    assert (report.rejected, report.conflicts) == (1, 1)
    (row,) = books.rows(rejected)
    putaside.dismiss(books.engine, tables.conflicts, one.id, "x", "ann@laptop", LATER)
    putaside.dismiss(books.engine, tables.rejected, row["id"], "x", "ann@laptop", LATER)
    report = books.spend("project")
    assert (report.rejected, report.conflicts) == (0, 0)
