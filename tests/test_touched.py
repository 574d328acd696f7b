"""Which calls in the books lines of the rate book are about."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounting import ratebook
from accounting.aliases import Aliases, Rule
from accounting.cards import parse_card
from accounting.errors import RateCardError
from accounting.rates import Rate
from accounting.store import aliaslines, reading, writing
from accounting.store.tables import calls
from accounting.touched import Touched, priced_by, renamed, touched
from accounting.usage import Call
from tests.books import NOON, Books, made, used

HEAD = 'provider = "acme"\ncurrency = "USD"\nsource = "list"\n[[rate]]\n'
DAY = timedelta(days=1)
DAWN = NOON.replace(hour=0)


def line(said: str = "", model: str = "m", since: str = "2026-11-01", input_: str = "1") -> Rate:
    """A line of acme's; `said` are further lines of its card."""
    text = f'{HEAD}model = "{model}"\nvalid_from = {since}\ninput = {input_}\noutput = 0\n{said}'
    return parse_card(text, "card.toml")[0]


def load(books: Books, *lines: Rate) -> list[Rate]:
    with writing(books.engine) as conn:
        return list(ratebook.load(conn, lines, NOON).lines)


def call(number: int = 1, **changes: Any) -> Call:
    said: dict[str, Any] = {"number": number, "provider": "acme", "request_model": "m"}
    return made(**(said | changes))


def would_touch(books: Books, *lines: Rate, without: Collection[int] = ()) -> Touched:
    with reading(books.engine) as conn:
        return touched(conn, lines, without)


def book(books: Books, *made: Call) -> None:
    books.deliver(*made)
    books.roll()


def test_calls_without_a_rate_that_a_line_is_for_are_counted(books: Books) -> None:
    book(books, call(1), call(2), call(3, request_model="other"), call(4, provider="other"))
    assert would_touch(books, line('service_tier = "*"')) == Touched(2, 2, {}, (("acme", "m"),), NOON)


@pytest.mark.parametrize("tier", ["", "batch"])
def test_of_calls_without_a_rate_nobody_knows_the_tier_so_it_may_be_fewer(books: Books, tier: str) -> None:
    book(books, call(1), call(2, service_tier="batch"))
    asked = would_touch(books, line(f'service_tier = "{tier}"'))
    assert (asked.calls, asked.at_most) == (2, True)


def test_calls_with_another_rate_are_counted_with_what_they_cost(books: Books) -> None:
    load(books, line())
    book(books, call(1), call(2, started_at=NOON + DAY))
    later = line(since="2026-11-24", input_="2")
    assert would_touch(books, later) == Touched(1, 0, {"USD": Decimal(1)}, (("acme", "m"),), NOON + DAY)


@pytest.mark.parametrize("loaded", [True, False])
def test_it_is_the_same_before_and_after_the_line_is_loaded(books: Books, loaded: bool) -> None:
    load(books, line())
    book(books, call(1), call(2, started_at=NOON + DAY))
    later = line(since="2026-11-24", input_="2")
    (asked,) = load(books, later) if loaded else [later]
    assert would_touch(books, asked).calls == 1


def test_a_line_that_calls_were_priced_by_touches_none(books: Books) -> None:
    load(books, line())
    book(books, call())
    assert would_touch(books, line()) == Touched()


def test_a_line_that_another_is_taken_before_touches_none(books: Books) -> None:
    load(books, line(since="2026-11-15"))
    book(books, call())
    assert would_touch(books, line(since="2026-11-01")) == Touched()
    assert would_touch(books, line(model="m*")) == Touched()


def test_calls_outside_a_lines_time_are_not_touched(books: Books) -> None:
    book(books, call(1, started_at=DAWN - timedelta(seconds=1)), call(2, started_at=DAWN + DAY), call(3))
    asked = would_touch(books, line('valid_until = 2026-11-24\nservice_tier = "*"', since="2026-11-23"))
    assert (asked.calls, asked.at_most) == (1, False)


@pytest.mark.parametrize("since", ["2026-11-23T12:05:00Z", "2026-11-23T12:00:00.000001Z"])
def test_where_a_line_begins_within_a_quarter_hour_it_may_be_fewer(books: Books, since: str) -> None:
    book(books, call(1), call(2, started_at=NOON + timedelta(minutes=6)), call(3, started_at=NOON - DAY))
    asked = would_touch(books, line(since=since))
    assert (asked.calls, asked.at_most) == (2, True)


def test_where_a_line_ends_within_a_quarter_hour_it_may_be_fewer(books: Books) -> None:
    book(books, call(1), call(2, started_at=NOON + timedelta(minutes=15)))
    asked = would_touch(books, line("valid_until = 2026-11-23T12:05:00Z"))
    assert (asked.calls, asked.at_most) == (1, True)


def test_names_that_a_pattern_or_an_alias_rule_leads_from_are_touched(books: Books) -> None:
    with writing(books.engine) as conn:
        aliaslines.append(conn, [Rule("acme", "{vendor}/{model}", "{model}")], NOON)
    book(books, call(1, request_model="v/m"), call(2, request_model="m-1"), call(3, request_model="n"))
    assert would_touch(books, line()).models == (("acme", "v/m"),)
    assert would_touch(books, line(model="m*")).models == (("acme", "m-1"), ("acme", "v/m"))


def test_a_pattern_for_a_family_touches_other_names_of_it_that_one_for_the_rest_priced(books: Books) -> None:
    with writing(books.engine) as conn:
        aliaslines.append(conn, [Rule("acme", "{vendor}/{model}", "{model}")], NOON)
    load(books, line(model="*"))
    book(books, call(1, request_model="v/m-1"), call(2, request_model="v/n"))
    family = line(model="m*", input_="2")
    assert would_touch(books, family).models == (("acme", "v/m-1"),)
    load(books, family)
    with reading(books.engine) as conn:
        found = ratebook.book(conn, {("acme", "v/m-1")}).find("acme", "v/m-1", NOON)
    assert found is not None
    assert found.model == "m*"


def test_a_line_for_much_input_touches_calls_only_where_so_much_was_used(books: Books) -> None:
    load(books, line())
    book(books, call(1, usage=used(500, 1)), call(2, started_at=NOON + DAY, usage=used(501, 1)))
    asked = would_touch(books, line("context_above = 500", since="2026-11-20"))
    assert (asked.calls, asked.at_most) == (1, True)


def test_a_line_for_a_tier_touches_no_call_that_another_tier_served(books: Books) -> None:
    batch = 'service_tier = "batch"'
    load(books, line(), line(batch))
    book(books, call(1, service_tier="batch"), call(2), call(3, service_tier="flex"))
    assert would_touch(books, line(batch, since="2026-11-20")) == Touched(
        calls=2, unpriced=1, spent={"USD": Decimal(1)}, models=(("acme", "m"),), first=NOON, at_most=True
    )
    standard = would_touch(books, line(since="2026-11-20"))
    assert (standard.calls, standard.unpriced) == (2, 1)


def test_a_line_for_certain_hours_touches_at_most_all_of_its_days(books: Books) -> None:
    load(books, line())
    book(books, call())
    asked = would_touch(books, line('hours = "00:00-01:00 UTC"', since="2026-11-20"))
    assert (asked.calls, asked.at_most) == (1, True)


def test_calls_of_a_withdrawn_line_are_touched_by_the_one_in_its_place(books: Books) -> None:
    (wrong,) = load(books, line())
    book(books, call())
    right = line(input_="2")
    with pytest.raises(RateCardError, match="Two rates"):
        would_touch(books, right)
    assert would_touch(books, right, without=[wrong.id]).calls == 1
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, [wrong.id], NOON, "ann@desk", "typed wrong")
    assert would_touch(books, right).calls == 1


def test_several_lines_count_a_call_once(books: Books) -> None:
    book(books, call())
    lines = line(), line("context_above = 10"), line(since="2026-11-10"), line(model="m*")
    assert would_touch(books, *lines).calls == 1


def test_calls_that_a_line_priced_are_counted_from_an_instant_on(books: Books) -> None:
    (held,) = load(books, line())
    book(books, call(1), call(2, started_at=NOON + DAY), call(3, provider="other"))
    with reading(books.engine) as conn:
        assert priced_by(conn, [held]) == Touched(2, 0, {"USD": Decimal(2)}, (("acme", "m"),), NOON)
        assert priced_by(conn, [held], NOON + DAY) == Touched(1, 0, {"USD": Decimal(1)}, (("acme", "m"),), NOON + DAY)
        assert priced_by(conn, [held], NOON + timedelta(minutes=5)).at_most
        assert priced_by(conn, []) == Touched()


def test_calls_that_are_not_rolled_up_are_told_apart(books: Books) -> None:
    book(books, call(1))
    books.deliver(call(2), call(3))
    asked = would_touch(books, line())
    assert (asked.calls, asked.unrolled) == (1, 2)


def test_no_call_is_read(books: Books) -> None:
    book(books, *(call(n, started_at=NOON - n * DAY) for n in range(5)))
    lines = [line(since=f"2026-11-{day}", input_=f"{day}") for day in range(19, 23)]
    with books.asked() as statements:
        assert would_touch(books, *lines).calls == 5
    assert any("spend_quarters" in text for text, _ in statements)
    assert not any(f"FROM {calls.name}" in text for text, _ in statements)


def test_what_would_be_touched_is_what_pricing_again_changes(books: Books) -> None:
    """Held against the rate book itself, call by call, where the lines have no condition but their time."""
    load(books, line(since="2026-11-10"), line("valid_until = 2026-11-21", model="m*", since="2026-11-15"))
    some = [
        call(n * 10 + k, started_at=NOON - n * DAY, request_model=name)
        for n in range(15)
        for k, name in enumerate(("m", "m-1", "n"))
    ]
    book(books, *some)
    new = [line(since="2026-11-12", input_="5"), line(model="m-*", since="2026-11-17"), line(model="n")]
    with reading(books.engine) as conn:
        before, after = ratebook.book(conn), ratebook.book(conn)
        after = type(after)([*after, *(replace(rate, id=900 + n) for n, rate in enumerate(new))])
    changed = [
        one
        for one in some
        if before.find("acme", one.model, one.started_at) != after.find("acme", one.model, one.started_at)
    ]
    asked = would_touch(books, *new)
    assert 0 < asked.calls == len(changed) < len(some)
    assert asked.at_most  # as there are calls without a rate


LED = Rule("acme", "ours", "m")


def with_alias(books: Books, *rules: Rule) -> Touched:
    with reading(books.engine) as conn:
        return renamed(conn, Aliases([*aliaslines.read(conn, withdrawn=False), *rules]))


def without_aliases(books: Books) -> Touched:
    with reading(books.engine) as conn:
        return renamed(conn, Aliases(()))


def test_an_alias_touches_calls_of_the_name_that_have_no_rate(books: Books) -> None:
    load(books, line())
    book(books, call(1, request_model="ours"), call(2, request_model="theirs"), call(3), call(4, provider="other"))
    assert with_alias(books, LED) == Touched(1, 1, {}, (("acme", "ours"),), NOON, at_most=True)
    assert with_alias(books, Rule("", "theirs", "ours")) == Touched()


def test_an_alias_touches_no_calls_from_before_the_rate_it_leads_to(books: Books) -> None:
    load(books, line(since="2026-11-24"))
    book(books, call(1, request_model="ours"))
    assert with_alias(books, LED) == Touched()


def test_where_the_rate_holds_for_some_of_the_calls_that_is_said(books: Books) -> None:
    load(books, line(since="2026-11-24"))
    book(books, call(1, request_model="ours"), call(2, request_model="ours", started_at=NOON + DAY))
    assert with_alias(books, LED) == Touched(2, 2, {}, (("acme", "ours"),), NOON, at_most=True)


def test_an_alias_touches_calls_that_a_pattern_priced(books: Books) -> None:
    load(books, line(), line(model="our*", input_="3"))
    book(books, call(1, request_model="ours"))
    assert with_alias(books, LED) == Touched(1, 0, {"USD": Decimal(3)}, (("acme", "ours"),), NOON)


def test_an_alias_touches_no_calls_of_a_name_that_has_its_own_rate(books: Books) -> None:
    load(books, line(), line(model="ours"))
    book(books, call(1, request_model="ours"))
    assert with_alias(books, LED) == Touched()


def test_without_an_alias_the_calls_that_were_priced_through_it_are_touched(books: Books) -> None:
    load(books, line())
    book(books, call(1, request_model="v/m"), call(2))
    assert without_aliases(books) == Touched(1, 0, {"USD": Decimal(1)}, (("acme", "v/m"),), NOON)


def test_a_rule_that_keeps_a_name_touches_the_calls_that_another_led_on(books: Books) -> None:
    load(books, line())
    book(books, call(1, request_model="v/m"), call(2))
    assert with_alias(books, Rule("acme", "v/{model}", "")).models == (("acme", "v/m"),)


def test_calls_that_were_priced_by_a_withdrawn_line_are_not_touched_by_an_alias_that_is_not_theirs(
    books: Books,
) -> None:
    (wrong,) = load(books, line())
    book(books, call(1), call(2, request_model="ours"))
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, [wrong.id], NOON, "ann", "wrong")
    assert with_alias(books, LED) == Touched()
