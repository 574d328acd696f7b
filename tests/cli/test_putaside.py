import json
from dataclasses import replace

from accounting.ingest import ingest
from accounting.ports import Batch, Entry
from accounting.store.tables import calls, conflicts, rejected
from tests.books import NOON, Books, made, used
from tests.cli.conftest import Run


def reject(books: Books, *payloads: bytes) -> list[int]:
    """Put bytes aside, and return by which ids they go."""
    entries = tuple(Entry(number, payload) for number, payload in enumerate(payloads, 1))
    report = replace(books.journal.batch().source, highest=len(payloads))
    ingest(books.engine, Batch(report, entries), NOON)
    return [row["id"] for row in books.rows(rejected)]


def contradict(books: Books) -> int:
    books.deliver(made(user="u-1"))
    books.deliver(made(usage=used(1000, 201), tags={"feature": "re\x1brank"}))
    return int(books.rows(conflicts)[0]["id"])


def test_without_anything_put_aside_the_lists_say_so(run: Run, books: Books) -> None:
    assert run("rejected", "list").out == "No rejected call waits to be settled.\n"
    assert run("rejected", "list", "--all").out == "Nothing was rejected.\n"
    assert run("rejected", "retry", "--all").out == "No rejected call waits to be settled.\n"
    assert run("conflicts", "list").out == "No conflict waits to be settled.\n"
    assert run("conflicts", "list", "--all").out == "There was no conflict.\n"
    assert json.loads(run("conflicts", "list", "--json").out) == {"conflicts": [], "more": False}


def test_rejected_calls_are_listed_with_the_reason_the_newest_first(run: Run, books: Books) -> None:
    reject(books, b"one", b"two", b"three")
    heading, *rows = run("rejected", "list").lines
    assert heading.split()[:5] == ["id", "received_UTC", "journal", "host", "number"]
    assert [row.split()[0] for row in rows] == ["3", "2", "1"]
    assert all("Not JSON" in row and str(books.journal.id) in row for row in rows)
    found = json.loads(run("rejected", "list", "-n", 2, "--json").out)
    assert ([one["id"] for one in found["rejected"]], found["more"]) == ([3, 2], True)
    assert "There are more" in run("rejected", "list", "-n", 2).out


def test_a_rejected_call_is_shown_with_its_bytes_and_nothing_that_steers_a_terminal(run: Run, books: Books) -> None:
    (id_,) = reject(books, b"\xff\x1b[2J no call")
    shown = run("rejected", "show", id_)
    assert r"\xff\x1b[2J no call" in shown.out
    assert "\x1b" not in shown.out
    found = json.loads(run("rejected", "show", id_, "--json").out)
    assert (found["payload"], found["settled_at"]) == ("\\xff\x1b[2J no call", None)


def test_what_can_be_taken_by_now_is_taken_and_the_rest_says_why_it_stays(run: Run, books: Books) -> None:
    books.refuse(calls, "new.number = 2")
    assert reject(books, b"no call", made().encode()) == [1, 2]
    books.mend(calls)
    ran = run("rejected", "retry", "--all")
    assert "2 taken: inserted" in ran.lines
    assert "1 stays: Not JSON" in ran.out
    assert (ran.code, ran.err.split(" of ")[0]) == (2, "1 call")
    assert run("rejected", "dismiss", 1, "--why", "an experiment").out.startswith("Dismissed rejected call 1;")
    assert "dismissed by" in run("rejected", "list", "--all").out
    assert run("rejected", "retry", 1).err.startswith("1 was settled on ")


def test_retry_wants_one_or_all(run: Run, books: Books) -> None:
    for arguments in ((), ("1", "--all")):
        ran = run("rejected", "retry", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "Expected the id of a rejected call, or --all" in ran.err


def test_an_id_that_is_none_says_where_to_look(run: Run, books: Books) -> None:
    for command in ("rejected show", "rejected retry", "rejected dismiss --why x", "conflicts show",
                    "conflicts accept --why x", "conflicts dismiss --why x"):  # fmt: skip
        ran = run(*command.split(), 7)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == f"There is no 7 among them; see accounting {command.split()[0]} list\n"


def test_a_conflict_is_shown_side_by_side_what_differs_first(run: Run, books: Books) -> None:
    id_ = contradict(books)
    assert "user, tags, output_tokens" in run("conflicts", "list").out
    lines = run("conflicts", "show", id_).lines
    table = [line.split() for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["field", "differs", "books", "delivered"]
    assert [row[0] for row in table[1:] if row[1] == "yes"] == ["user", "tags", "output_tokens"]
    assert table[1] == ["user", "yes", "u-1", "-"]
    assert table[3] == ["output_tokens", "yes", "200", "201"]
    assert {row[1] for row in table[4:]} == {"-"}
    found = json.loads(run("conflicts", "show", id_, "--json").out)
    assert found["differs"] == ["user", "tags", "output_tokens"]
    assert (found["books"]["output_tokens"], found["delivered"]["output_tokens"]) == (200, 201)
    assert found["call_id"] == found["books"]["id"] == str(made().id)


def test_accepting_and_dismissing_want_a_reason(run: Run, books: Books) -> None:
    id_ = contradict(books)
    for decision in ("accept", "dismiss"):
        assert run("conflicts", decision, id_).code == 2
        assert "--why is empty" in run("conflicts", decision, id_, "--why", " ").err
    assert books.rows(conflicts)[0]["settled_at"] is None


def test_an_accepted_conflict_changes_the_report(run: Run, books: Books) -> None:
    id_ = contradict(books)
    books.roll()
    assert "1 that came again" in run("report", "--month", "2026-11").out
    ran = run("conflicts", "accept", id_, "--why", "as on the bill")
    assert ran.out.startswith(f"Call {made().id} says what was delivered second now")
    after = json.loads(run("report", "--month", "2026-11", "--json").out)
    assert (after["totals"]["output_tokens"], after["conflicting_calls"]) == (201, 0)
    assert "In no total" not in run("report", "--month", "2026-11").out
    assert "as on the bill" in run("conflicts", "list", "--all").out
    assert run("verify").code == 0


def test_a_dismissed_conflict_changes_nothing_else(run: Run, books: Books) -> None:
    id_ = contradict(books)
    books.roll()
    assert run("conflicts", "dismiss", id_, "--why", "a test").out == (
        f"Dismissed conflict {id_}; the books stay as they are.\n"
    )
    after = json.loads(run("report", "--month", "2026-11", "--json").out)
    assert (after["totals"]["output_tokens"], after["conflicting_calls"]) == (200, 0)
