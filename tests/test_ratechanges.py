"""What a change of the rate book would do, held against what it does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from accounting import ratebook
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.ratechanges import Change, ending, loading, withdrawing
from accounting.rates import Rate
from accounting.store import reading, writing
from accounting.usage import Call
from tests.books import NOON, Books, made

HEAD = 'provider = "acme"\ncurrency = "USD"\nsource = "list"\n[[rate]]\n'
DAY = timedelta(days=1)


def line(said: str = "", model: str = "m", since: str = "2026-11-01", input_: str = "0.001") -> Rate:
    """A line of acme's; `said` are further lines of its card."""
    text = f'{HEAD}model = "{model}"\nvalid_from = {since}\ninput = {input_}\noutput = 0\n{said}'
    return parse_card(text, "card.toml")[0]


def load(books: Books, *lines: Rate) -> list[Rate]:
    with writing(books.engine) as conn:
        return list(ratebook.load(conn, lines, NOON).lines)


def call(number: int = 1, **changes: Any) -> Call:
    said: dict[str, Any] = {"number": number, "provider": "acme", "request_model": "m"}
    return made(**(said | changes))


def would(books: Books, change: Callable[..., Change], *args: Any) -> Change:
    with reading(books.engine) as conn:
        return change(conn, *args)


def edition(books: Books) -> list[Rate]:
    with reading(books.engine) as conn:
        return ratebook.rates(conn)


def test_of_lines_to_load_those_are_added_that_are_not_there(books: Books) -> None:
    load(books, line())
    before = edition(books)
    later = line(since="2026-11-20", input_="0.002")
    change = would(books, loading, [line(), later, later])
    assert (change.added, change.unchanged) == ((later,), 2)
    assert edition(books) == before


def test_lines_that_contradict_others_are_refused_before_they_are_added(books: Books) -> None:
    load(books, line())
    with pytest.raises(RateCardError, match="Two rates"):
        would(books, loading, [line(input_="0.002")])


def test_what_is_there_already_is_not_looked_at(books: Books) -> None:
    load(books, line(), line("context_above = 10"), line(since="2026-11-20", input_="5"))
    books.deliver(call())
    books.roll()
    assert would(books, loading, [line(), line("context_above = 10")]) == Change(unchanged=2)


def test_it_says_what_the_lines_touch_replace_and_may_have_meant(books: Books) -> None:
    held = load(books, line(), line("context_above = 100"))
    books.deliver(call(1), call(2, started_at=NOON - 5 * DAY))
    books.roll()
    change = would(books, loading, [line(since="2026-11-20", input_="1")])
    assert change.touched.calls == 1
    assert [one.older for one in change.replaced] == [held[1]]
    assert [one.name for one in change.suspicious] == ["input"]


def test_of_lines_to_withdraw_the_calls_are_touched_that_they_priced(books: Books) -> None:
    (held,) = load(books, line())
    books.deliver(call(1), call(2, provider="other"))
    books.roll()
    change = would(books, withdrawing, [held.id], NOON)
    assert (change.withdrawn, change.touched.calls) == ((held,), 1)
    assert edition(books)[-1] == held
    with pytest.raises(RateCardError, match="There is no rate 999"):
        would(books, withdrawing, [held.id, 999], NOON)


def test_of_a_line_to_end_those_are_touched_that_began_since(books: Books) -> None:
    (held,) = load(books, line())
    books.deliver(call(1), call(2, started_at=NOON - DAY))
    books.roll()
    change = would(books, ending, held.id, NOON - timedelta(hours=1), NOON)
    assert change.touched.calls == 1
    assert [rate.period.end for rate in change.added] == [NOON - timedelta(hours=1)]
    with pytest.raises(RateCardError, match="can't end"):
        would(books, ending, held.id, held.valid_from, NOON)


def end_at(when: Any) -> Callable[[Connection, int], Change]:
    return lambda conn, id_: ending(conn, id_, when, NOON)


def gone(conn: Connection, id_: int) -> Change:
    return withdrawing(conn, [id_], NOON)


@pytest.mark.parametrize(
    ("change", "others", "ends"),
    [
        (gone, [], True),
        (end_at(NOON), [], True),
        (end_at(NOON + DAY), [], False),
        (gone, [line(model="m*")], False),
        (gone, [line(since="2026-10-01")], False),
        (gone, [line(since="2026-11-30")], True),
        (gone, [line("context_above = 10")], True),
        (gone, [line('service_tier = "batch"')], True),
        (gone, [line('service_tier = "*"')], False),
        (gone, [line(model="other")], True),
    ],
)
def test_it_says_where_no_other_line_stands_in_its_place(
    books: Books, change: Callable[[Connection, int], Change], others: list[Rate], ends: bool
) -> None:
    held, *_ = load(books, line(), *others)
    found = would(books, change, held.id).ending
    assert [rate.id for rate in found] == ([held.id] if ends else [])


def test_two_lines_that_go_together_stand_for_none_of_each_other(books: Books) -> None:
    held = load(books, line(), line(model="m*"))
    assert would(books, withdrawing, [rate.id for rate in held], NOON).ending == (held[0],)
