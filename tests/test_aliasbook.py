"""Alias rules in the books."""

from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from accounting import aliasbook, aliases, ratebook
from accounting.aliases import Rule
from accounting.errors import RateCardError
from accounting.store import reading, writing
from accounting.store.tables import calls, store
from tests.books import NOON, Books, made

CARD = """
provider = "azure"
currency = "USD"
source = "a list"

[[rate]]
model = "gpt-4o"
valid_from = 2026-01-01
input = 1
output = 2
"""

CHAT = Rule("azure", "our-chat", "gpt-4o", "deployed by the platform team")


def add(books: Books, rule: Rule) -> Rule | None:
    with writing(books.engine) as conn:
        return aliasbook.add(conn, rule, NOON, "ann@desk")


def withdraw(books: Books, *rules: Rule | None) -> list[Rule]:
    with writing(books.engine) as conn:
        return aliasbook.withdraw(conn, [rule.id for rule in rules if rule], NOON, "bob@desk", "renamed")


def held(books: Books, *, withdrawn: bool = False) -> list[aliasbook.Line]:
    with reading(books.engine) as conn:
        return aliasbook.lines(conn, withdrawn=withdrawn)


def edition(books: Books) -> int:
    with reading(books.engine) as conn:
        return int(conn.scalars(sa.select(store.c.rates_edition)).one())


def price(books: Books, model: str) -> Decimal | None:
    with reading(books.engine) as conn:
        found = ratebook.book(conn, [("azure", model)]).find("azure", model, NOON)
    return None if found is None else found.input_per_1k


def test_a_new_store_has_the_shipped_rules(books: Books) -> None:
    lines = held(books)
    assert [(line.rule.provider, line.rule.pattern, line.rule.target, line.rule.source) for line in lines] == [
        (rule.provider, rule.pattern, rule.target, rule.source) for rule in aliases.shipped()
    ]
    assert {(line.added_at, line.added_by, line.withdrawn_at) for line in lines} == {(NOON, "shipped", None)}


def test_a_call_by_another_name_is_priced_and_after_the_rule_is_withdrawn_no_more(books: Books) -> None:
    books.load(CARD)
    books.deliver(made(number=1, provider="azure", request_model="our-chat"))
    added = add(books, CHAT)
    books.deliver(made(number=2, provider="azure", request_model="our-chat"))
    withdraw(books, added)
    books.deliver(made(number=3, provider="azure", request_model="our-chat"))
    assert [row["rate_id"] > 0 for row in sorted(books.rows(calls), key=lambda row: row["id"])] == [False, True, False]


def test_who_added_and_withdrew_a_rule_is_kept_with_the_reason(books: Books) -> None:
    withdraw(books, add(books, CHAT))
    line = held(books, withdrawn=True)[-1]
    assert (line.rule.source, line.added_at, line.added_by) == ("deployed by the platform team", NOON, "ann@desk")
    assert (line.withdrawn_at, line.withdrawn_by, line.withdrawn_why) == (NOON, "bob@desk", "renamed")
    assert line not in held(books)


def test_each_change_of_the_rules_is_a_new_edition_of_the_rate_book(books: Books) -> None:
    editions = [edition(books)]
    added = add(books, CHAT)
    editions.append(edition(books))
    assert add(books, CHAT) is None
    editions.append(edition(books))
    withdraw(books, added)
    editions.append(edition(books))
    first = editions[0]
    assert editions == [first, first + 1, first + 1, first + 2]


def test_a_rule_that_is_there_in_other_words_is_not_added(books: Books) -> None:
    before = held(books)
    assert add(books, Rule("", "{who}/{what}", "{what}", "mine")) is None
    assert held(books) == before


def test_a_rule_for_the_same_names_that_leads_elsewhere_is_refused(books: Books) -> None:
    add(books, CHAT)
    with pytest.raises(RateCardError, match=r"our-chat → gpt-4o at azure, is for the same names.* aliases withdraw"):
        add(books, Rule("azure", "our-chat", "gpt-4o-mini"))
    with pytest.raises(RateCardError, match="is for the same names"):
        add(books, Rule("azure", "our-chat", ""))
    assert add(books, Rule("openai", "our-chat", "gpt-4o-mini")) is not None


def test_a_rule_that_leads_in_a_circle_is_refused(books: Books) -> None:
    add(books, CHAT)
    with pytest.raises(
        RateCardError, match=r"circle: from 'our-chat' back leads alias \d+, our-chat → gpt-4o at azure"
    ):
        add(books, Rule("azure", "gpt-4o", "our-chat"))


def test_a_withdrawn_rule_is_in_nobodys_way(books: Books) -> None:
    books.load(CARD)
    withdraw(books, add(books, CHAT))
    assert add(books, Rule("azure", "our-chat", "gpt-4o-mini")) is not None
    assert price(books, "our-chat") is None


@pytest.mark.parametrize("wrong", [9999, 0])
def test_of_rules_to_withdraw_with_one_that_is_not_there_none_is_withdrawn(books: Books, wrong: int) -> None:
    added = add(books, CHAT)
    assert added is not None
    with writing(books.engine) as conn, pytest.raises(RateCardError, match=f"no alias {wrong} in the books"):
        aliasbook.withdraw(conn, [added.id, wrong], NOON, "bob@desk", "renamed")
    assert held(books)[-1].rule == added


def test_what_was_withdrawn_is_not_withdrawn_again(books: Books) -> None:
    added = add(books, CHAT)
    withdraw(books, added)
    with pytest.raises(RateCardError, match="withdrawn already, on 2026-11-23 by bob@desk: renamed"):
        withdraw(books, added)


def test_a_newer_programs_rules_come_in_and_those_it_took_back_go(books: Books) -> None:
    shipped = aliases.shipped()
    newer = [*shipped[2:], Rule("", "new-{model}", "{model}", "newer")]
    with writing(books.engine) as conn:
        assert aliasbook.renew(conn, newer, NOON) == aliasbook.Renewed(added=1, withdrawn=2)
    with writing(books.engine) as conn:
        assert not aliasbook.renew(conn, newer, NOON + timedelta(days=1)).any
    assert [(line.rule.pattern, line.rule.target) for line in held(books)] == [
        (rule.pattern, rule.target) for rule in newer
    ]
    with writing(books.engine) as conn:
        assert aliasbook.renew(conn, shipped, NOON) == aliasbook.Renewed(added=2, withdrawn=1)


def test_a_renewal_leaves_what_people_decided(books: Books) -> None:
    add(books, CHAT)
    withdraw(books, held(books)[0].rule)
    newer = [*aliases.shipped(), Rule("azure", "our-chat", "gpt-4o-mini", "newer")]
    before = held(books)
    with writing(books.engine) as conn:
        assert not aliasbook.renew(conn, newer, NOON).any
    assert held(books) == before
