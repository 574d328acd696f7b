from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from accounting import keys, projects
from accounting.credentials import known_as
from accounting.errors import ConfigurationError
from accounting.keys import Assignment, Key
from accounting.store import reading
from accounting.store.tables import calls, key_projects
from accounting.store.tables import keys as table
from accounting.store.tables import projects as projects_table
from tests.books import NOON, Books, at, made
from tests.test_projects import WHO, create, decide, rename

HOUR = timedelta(hours=1)
SECRET = "sk-live-0123456789abcdef"


def find(books: Books, text: str) -> Key:
    with reading(books.engine) as conn:
        return keys.find(conn, text)


def assign(books: Books, key: str, project: str, since: datetime, now: datetime = NOON) -> None:
    def done(conn: Connection) -> None:
        payer = projects.find(conn, project)
        keys.assign(conn, keys.find(conn, key), Assignment(since, payer.id, payer.name), now, WHO, "they asked")

    decide(books, done)


def booked(books: Books) -> list[tuple[str, str]]:
    """Project and source of each call, in the order of their starts."""
    names = {row["id"]: row["name"] for row in books.rows(projects_table)}
    rows = sorted(books.rows(calls), key=lambda row: row["id"])
    return [(names[row["project_id"]], row["project_source"]) for row in rows]


def by_key(started_at: datetime, number: int = 1, **changes: Any) -> Any:
    return made(started_at, number, project=None, project_source=None, **changes)


def test_a_key_seen_first_is_nobody_s(books: Books) -> None:
    books.deliver(by_key(NOON))
    assert booked(books) == [("unassigned", "default")]
    assert find(books, "a1b2").name is None


def test_the_project_of_the_key_pays_where_no_code_says_otherwise(books: Books) -> None:
    create(books, "search")
    books.deliver(made(NOON - HOUR))
    assign(books, "a1b2", "search", NOON)
    books.deliver(
        by_key(NOON, 1),
        made(NOON, 2, project="checkout", project_source="meter"),
        made(NOON, 3, project="index", project_source="attribute"),
        made(NOON, 4, project="checkout", project_source="key"),  # no program can say that
        by_key(NOON, 5, key_fingerprint="c3" * 32, key_last4="c3d4"),
    )
    assert booked(books)[1:] == [
        ("search", "key"), ("checkout", "meter"), ("index", "attribute"), ("checkout", "meter"),
        ("unassigned", "default"),
    ]  # fmt: skip


def test_the_start_of_a_call_decides_whose_turn_it_is(books: Books) -> None:
    create(books, "search")
    create(books, "index")
    books.deliver(by_key(NOON - 3 * HOUR))
    assign(books, "a1b2", "search", NOON - 2 * HOUR)
    assign(books, "a1b2", "index", NOON)
    starts = (NOON - 2 * HOUR - timedelta(milliseconds=1), NOON - 2 * HOUR, NOON - timedelta(milliseconds=1), NOON)
    books.deliver(*(by_key(start, 2) for start in starts))
    assert [name for name, _ in booked(books)[1:]] == ["unassigned", "search", "search", "index"]


def test_without_a_call_that_nobody_pays_for_there_is_no_such_project(books: Books) -> None:
    decide(books, keys.create, known_as(SECRET), "robot", NOON)
    create(books, "search")
    assign(books, "robot", "search", NOON)
    key = known_as(SECRET)
    books.deliver(by_key(NOON, key_fingerprint=key.fingerprint, key_last4=key.last4))
    assert booked(books) == [("search", "key")]
    assert [row["name"] for row in books.rows(projects_table)] == ["search"]


def test_a_key_led_back_to_unassigned_is_as_one_that_never_left(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    assign(books, "a1b2", "search", NOON)
    assign(books, "a1b2", "unassigned", NOON)
    books.deliver(by_key(NOON, 2))
    assert booked(books) == [("unassigned", "default")] * 2


def test_a_later_decision_replaces_what_it_covers_and_leaves_what_is_planned(books: Books) -> None:
    for name in ("search", "index", "audit"):
        create(books, name)
    books.deliver(by_key(NOON))
    for project, since in (("search", NOON - 2 * HOUR), ("index", NOON - HOUR), ("audit", NOON + HOUR)):
        assign(books, "a1b2", project, since)
    assign(books, "a1b2", "index", NOON - 2 * HOUR)
    with reading(books.engine) as conn:
        found = keys.payers(conn, [find(books, "a1b2").id]).assignments
    assert [(each.since, each.project) for each in found[find(books, "a1b2").id]] == [
        (NOON - 2 * HOUR, "index"), (NOON + HOUR, "audit"),
    ]  # fmt: skip


@pytest.mark.parametrize("since", [NOON - 3 * HOUR, NOON - HOUR, NOON, NOON + HOUR, NOON + 2 * HOUR])
def test_what_would_be_is_what_then_is(books: Books, since: datetime) -> None:
    one, other = create(books, "search"), create(books, "index")
    books.deliver(by_key(NOON))
    for hours in (-2, -1, 0, 1):
        assign(books, "a1b2", "search", NOON + hours * HOUR)
    id_ = find(books, "a1b2").id
    with reading(books.engine) as conn:
        planned = keys.payers(conn, [id_]).with_(id_, Assignment(since, other.id, other.name), NOON)
    assign(books, "a1b2", "index", since)
    with reading(books.engine) as conn:
        assert keys.payers(conn, [id_]) == planned
    assert one.id in {each.project_id for each in planned.assignments[id_]}


def test_who_decided_and_why_is_kept(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    assign(books, "a1b2", "search", NOON)
    row = books.rows(key_projects)[0]
    assert (row["decided_by"], row["why"], row["decided_at"]) == (WHO, "they asked", NOON)


def test_an_assignment_follows_a_renamed_project(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    assign(books, "a1b2", "search", NOON)
    rename(books, "search", "find")
    books.deliver(by_key(NOON, 2))
    assert booked(books)[1] == ("find", "key")


def test_a_key_is_known_before_its_first_call(books: Books) -> None:
    key = decide(books, keys.create, known_as(f"Bearer {SECRET}"), " robot ", NOON)
    assert (key.name, key.last4, key.label) == ("robot", "cdef", "robot (…cdef)")
    books.deliver(by_key(NOON, key_fingerprint=known_as(SECRET).fingerprint, key_last4="cdef"))
    assert len(books.rows(table)) == 1
    assert SECRET not in repr(books.rows(table))


def test_a_key_that_is_there_is_not_made_again(books: Books) -> None:
    decide(books, keys.create, known_as(SECRET), "robot", NOON)
    with pytest.raises(ConfigurationError, match="in the books already: robot \\(…cdef\\)"):
        decide(books, keys.create, known_as(SECRET), "another", NOON)


def test_nothing_is_no_key(books: Books) -> None:
    with pytest.raises(ConfigurationError, match="There is no key in what was given"):
        decide(books, keys.create, known_as(" \n"), "robot", NOON)


def test_a_key_is_not_its_own_name(books: Books) -> None:
    with pytest.raises(ConfigurationError, match="This name is the key itself"):
        decide(books, keys.create, known_as(SECRET), SECRET, NOON)
    key = decide(books, keys.create, known_as(SECRET), "robot", NOON)
    with pytest.raises(ConfigurationError, match="This name is the key itself"):
        decide(books, keys.rename, key, SECRET)
    assert SECRET not in repr(books.rows(table))


def test_two_keys_do_not_share_a_name(books: Books) -> None:
    decide(books, keys.create, known_as(SECRET), "robot", NOON)
    books.deliver(by_key(NOON))
    with pytest.raises(ConfigurationError, match="'robot' is the name of another key, robot \\(…cdef\\)"):
        decide(books, keys.rename, find(books, "a1b2"), "robot")


def test_a_key_is_found_by_name_last_four_or_the_start_of_its_fingerprint(books: Books) -> None:
    books.deliver(by_key(NOON), by_key(NOON, 2, key_fingerprint="", key_last4=""))
    key = decide(books, keys.rename, find(books, "a1b2"), "robot")
    texts = ("a1b2", "…a1b2", "A1A1", "a1" * 32, "robot", key.label)
    assert {find(books, text) for text in texts} == {key}
    assert find(books, "(no key)").fingerprint == ""


@pytest.mark.parametrize("text", ["", " ", "…", "zzzz"])
def test_what_names_no_key_is_told(books: Books, text: str) -> None:
    books.deliver(by_key(NOON), by_key(NOON, 2, key_fingerprint="", key_last4=""))
    with pytest.raises(ConfigurationError, match="There is no key"):
        find(books, text)


def test_of_several_keys_each_is_named(books: Books) -> None:
    books.deliver(by_key(NOON), by_key(NOON, 2, key_fingerprint="a1c3" * 16))
    with pytest.raises(ConfigurationError, match=r"a1a1a1a1a1a1: …a1b2 \(a1a1a1a1\); a1c3a1c3a1c3: …a1b2"):
        find(books, "a1b2")
    assert find(books, "a1c").fingerprint == "a1c3" * 16


def test_the_instant_is_exact(books: Books) -> None:
    create(books, "search")
    books.deliver(by_key(NOON))
    moment = at("2026-11-23 13:00:00.123")
    assign(books, "a1b2", "search", moment)
    books.deliver(by_key(moment - timedelta(milliseconds=1)), by_key(moment), now=moment)
    assert [source for _, source in booked(books)] == ["default", "default", "key"]
