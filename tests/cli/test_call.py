"""`accounting calls show`: one call and what was changed in it."""

import json
from uuid import UUID

from tests.books import NOON, Books, at, made
from tests.cli.conftest import Run
from tests.cli.test_rerate import CARD


def test_a_call_is_shown_with_its_rate_and_each_it_was_priced_by_before(run: Run, books: Books) -> None:
    books.deliver(made(number=1, tags={"feature": "rerank"}), made(number=2, request_model="nobody/knows"))
    books.load(CARD)
    run("rerate", "--model", "*", "--why", "the list was wrong", "--yes")
    lines = run("calls", "show", made(number=1).id).lines
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[: lines.index("")]}
    assert (said["id"], said["project"], said["cost"]) == (str(made(number=1).id), "checkout", "0.036")
    assert said["tags"] == '{"feature": "rerank"}'
    assert said["rate"].endswith("wcode/z-ai/glm-5 from 2026-03-01 00:00Z")
    assert lines[-2].split() == ["restatement", "began", "kind", "who", "why", "said_before"]
    assert "the list was wrong  rate 1: wcode/z-ai/glm-5 from 2026-02-01 00:00Z" in lines[-1]
    assert "rate none: unpriced" in run("calls", "show", made(number=2).id).lines[-1]


def test_programs_get_the_ids_of_the_rates(run: Run, books: Books) -> None:
    books.deliver(made(number=1))
    books.load(CARD)
    run("rerate", "--model", "*", "--why", "the list was wrong", "--yes")
    found = json.loads(run("calls", "show", made(number=1).id, "--json").out)
    assert (found["id"], found["rate"]["source"]) == (str(made(number=1).id), "list of today")
    (change,) = found["changes"]
    assert (change["kind"], change["why"], change["before"]) == ("rerated", "the list was wrong", {"rate_id": 1})


def test_a_call_that_was_never_changed_or_priced_says_so(run: Run, books: Books) -> None:
    books.deliver(made(request_model="nobody/knows"))
    ran = run("calls", "show", made().id)
    assert ran.lines[-1].split() == ["rate", "none:", "unpriced"]
    assert json.loads(run("calls", "show", made().id, "--json").out)["changes"] == []


def test_what_is_no_call_is_refused(run: Run, books: Books) -> None:
    books.deliver(made())
    for text in ("x7", "", "-", "0" * 33, f"{made().id}0"):
        ran = run("calls", "show", "--", text)
        assert (ran.code, "is no id of a call" in ran.err) == (2, True), text
    ran = run("calls", "show", UUID(int=7))
    assert (ran.code, "There is no call" in ran.err) == (2, True)


def test_the_beginning_of_an_id_is_enough_where_no_other_begins_so(run: Run, books: Books) -> None:
    one, other = sorted((made(at("2026-10-01 12:00"), 1), made(number=2)), key=lambda call: call.id)
    books.deliver(one, other)
    whole = run("calls", "show", one.id).out
    for text in (f"{one.id}"[:13], f"{one.id}"[:14].upper(), one.id.hex[:20], one.id.hex):
        assert run("calls", "show", text).out == whole
    shared = f"{one.id}"[:3]
    ran = run("calls", "show", shared)
    assert ran.code == 2
    assert f"More than one call's id begins with {shared}: {one.id}, {other.id}. Give more of it." in ran.err


def test_the_list_is_as_it_was(run: Run, books: Books) -> None:
    books.deliver(made())
    assert run("calls", "--json").code == 0
    assert f"{NOON:%Y-%m-%d}" in run("calls", "--limit", 1).out
