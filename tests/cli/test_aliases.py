import json
import shlex
from typing import Any

import pytest

from accounting import aliases
from accounting.settings import whoami
from accounting.store.tables import calls
from tests.books import Books, made
from tests.cli.conftest import Run
from tests.cli.test_rates import CARD

ADD = ("rates", "aliases", "add")
OURS = (*ADD, "our-chat", "large", "--provider", "acme", "--why", "deployed in March")
SHIPPED = len(aliases.shipped())
NEXT = SHIPPED + 1


@pytest.fixture
def priced(books: Books) -> Books:
    """Books with a rate of acme's model large, and a call of our-chat, which has none."""
    books.load(CARD)
    books.deliver(made(number=1, provider="acme", request_model="our-chat"))
    books.roll()
    return books


def told(run: Run, *words: object) -> Any:
    ran = run("rates", "aliases", *words, "--json")
    assert (ran.code, ran.err) == (0, "")
    return json.loads(ran.out)


def test_the_shipped_rules_are_listed_with_their_reasons(run: Run, books: Books) -> None:
    lines = run("rates", "aliases", "list").lines
    assert lines[0].split() == ["id", "provider", "pattern", "target", "added", "by", "why"]
    assert lines[1].split()[:8] == [
        "1",
        "-",
        "{vendor}/{model}",
        "{model}",
        "2026-11-23",
        "shipped",
        "Resellers",
        "put",
    ]
    assert len(lines) == SHIPPED + 3
    assert lines[-1].startswith("{…} is any text, {date} a day; - as provider is any")


def test_the_rules_of_one_provider_are_its_own_and_those_for_all(run: Run, books: Books) -> None:
    found = told(run, "list", "--provider", "xai")["aliases"]
    assert {rule["provider"] for rule in found} == {None, "xai"}
    assert {"id": 1, "provider": None, "pattern": "{vendor}/{model}", "target": "{model}"}.items() <= found[0].items()


def test_a_name_is_tested_by_the_other_names_that_the_rules_make_of_it(run: Run, books: Books) -> None:
    books.load(CARD)
    lines = run("rates", "aliases", "test", "v/large-2026-03-01", "--provider", "acme").lines
    assert [line.split()[0] for line in lines[:5]] == [
        "name",
        "v/large-2026-03-01",
        "v/large",
        "large-2026-03-01",
        "large",
    ]
    assert lines[4].split(None, 1)[1] == "2 ({model}-{date} → {model}), then 1 ({vendor}/{model} → {model})      1"
    found = told(run, "test", "v/large-2026-03-01", "--provider", "acme")
    assert [(one["name"], [rule["id"] for rule in one["aliases"]], one["rates"]) for one in found["names"]] == [
        ("v/large-2026-03-01", [], 0),
        ("v/large", [2], 0),
        ("large-2026-03-01", [1], 0),
        ("large", [2, 1], 1),
    ]


def test_a_name_with_its_own_price_is_told_with_the_rule(run: Run, books: Books) -> None:
    ran = run("rates", "aliases", "test", "ft:large", "--provider", "acme")
    assert "ft:{model} has a price of its own: A model of one's own, tuned from another" in ran.out
    assert told(run, "test", "ft:large", "--provider", "acme")["own_price_by"]["pattern"] == "ft:{model}"


def test_a_name_that_no_rule_is_for_is_told(run: Run, books: Books) -> None:
    assert "No rule is for it" in run("rates", "aliases", "test", "large", "--provider", "acme").out


def test_a_rule_is_tested_before_it_is_added(run: Run, books: Books) -> None:
    asked = ("test", "our-chat", "--provider", "acme", "--with", "our-{model}", "v/{model}")
    assert [one["name"] for one in told(run, *asked)["names"]] == ["our-chat", "v/chat", "chat"]
    assert "the one to test (our-{model} → v/{model} at acme)" in run("rates", "aliases", *asked).out
    assert len(told(run, "list")["aliases"]) == SHIPPED


def test_a_rule_is_added_with_who_and_why_and_says_which_calls_it_touches(run: Run, priced: Books) -> None:
    assert run(*OURS).lines == [
        f"Added alias {NEXT}, our-chat → large at acme.",
        "It touches at most 1 call in the books, since 2026-11-23 12:00:00 UTC, of acme/our-chat: "
        "without a rate by now.",
        "Those without a rate are priced by accounting work within minutes, or at once:",
        "accounting rerate --provider acme --model our-chat --since 2026-11-23T12:00:00+00:00 --unpriced "
        "--why 'deployed in March'",
    ]
    added = told(run, "list")["aliases"][-1]
    assert (added["added_by"], added["why"], added["withdrawn_at"]) == (whoami(), "deployed in March", None)


def test_a_dry_run_says_the_same_and_adds_nothing(run: Run, priced: Books) -> None:
    assert run(*OURS, "--dry-run").lines == [
        "Would add our-chat → large at acme. This is a dry run: nothing was changed.",
        "It touches at most 1 call in the books, since 2026-11-23 12:00:00 UTC, of acme/our-chat: "
        "without a rate by now.",
    ]
    assert len(told(run, "list")["aliases"]) == SHIPPED
    found = told(run, *OURS[2:], "--dry-run")
    assert (found["added"], found["dry_run"], found["touched"]["calls"]) == (None, True, 1)


def test_a_call_that_came_in_just_now_is_touched_too(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(made(number=1, provider="acme", request_model="our-chat"))
    assert "It touches at most 1 call in the books" in run(*OURS).out


def test_a_rule_that_is_there_is_not_added_again(run: Run, priced: Books) -> None:
    run(*OURS)
    assert run(*OURS).lines == ["There is such an alias already: our-chat → large at acme. Nothing was changed."]
    assert told(run, *OURS[2:])["added"] is None
    assert len(told(run, "list")["aliases"]) == NEXT


def test_a_rule_that_leads_to_a_name_without_a_rate_says_so(run: Run, books: Books) -> None:
    ran = run(*ADD, "ours", "larg", "--provider", "acme", "--why", "ours")
    assert "No line of the rate book is for larg at acme yet: accounting rates add" in ran.lines
    assert "yet" not in run(*ADD, "their-{model}", "{model}", "--provider", "acme", "--why", "theirs").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ours",), "Expected either a TARGET"),
        (("ours", "large", "--own-price"), "or --own-price where the names have a price of their own"),
        (("", "large"), "The pattern of an alias is empty"),
        (("large", "large"), "leads to itself"),
        (("{vendor}/{model}", "large"), "Withdraw it first: accounting rates aliases withdraw 1 --why"),
        (("{model}-x", "{model}-x-x"), "Have its pattern say more"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_to_do(run: Run, books: Books, words: tuple[str, ...], said: str) -> None:
    ran = run(*ADD, *words, "--why", "ours")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(told(run, "list")["aliases"]) == SHIPPED


def test_a_rule_needs_a_reason(run: Run, books: Books) -> None:
    assert run(*ADD, "ours", "large").code == 2
    assert "--why is empty" in run(*ADD, "ours", "large", "--why", " ").err


def test_names_with_their_own_price_are_kept_from_other_rules(run: Run, priced: Books) -> None:
    assert run(*ADD, "v/{model}", "--own-price", "--provider", "acme", "--why", "dearer").lines == [
        f"Added alias {NEXT}, v/{{model}} has a price of its own at acme.",
        "No call in the books is touched.",
    ]
    assert [one["name"] for one in told(run, "test", "v/large", "--provider", "acme")["names"]] == ["v/large"]


def test_a_withdrawn_rule_is_kept_with_who_and_why_and_its_calls_are_told(run: Run, priced: Books) -> None:
    run(*OURS)
    priced.deliver(made(number=2, provider="acme", request_model="our-chat"))
    ran = run("rates", "aliases", "withdraw", NEXT, "--why", "gone")
    assert ran.lines[:2] == [
        f"Withdrew alias {NEXT}, our-chat → large at acme.",
        "It touches 1 call in the books, since 2026-11-23 12:00:00 UTC, of acme/our-chat: 0.0045 USD by the rates that "
        "they have.",
    ]
    assert ran.lines[-1].startswith("accounting rerate --provider acme --model our-chat --since")
    assert len(told(run, "list")["aliases"]) == SHIPPED
    gone = told(run, "list", "--withdrawn")["aliases"][-1]
    assert (gone["withdrawn_by"], gone["withdrawn_why"]) == (whoami(), "gone")
    assert f"by {whoami()}: gone" in run("rates", "aliases", "list", "--withdrawn").out


def test_a_dry_run_withdraws_nothing(run: Run, books: Books) -> None:
    ran = run("rates", "aliases", "withdraw", 1, 2, "--why", "wrong", "--dry-run")
    assert ran.lines == [
        "Would withdraw alias 1, {vendor}/{model} → {model}.",
        "Would withdraw alias 2, {model}-{date} → {model}.",
        "This is a dry run: nothing was changed.",
        "No call in the books is touched.",
    ]
    assert len(told(run, "list")["aliases"]) == SHIPPED
    found = told(run, "withdraw", 1, "--why", "wrong", "--dry-run")
    assert [rule["pattern"] for rule in found["withdrawn"]] == ["{vendor}/{model}"]


def test_without_rules_the_list_says_how_to_add_one(run: Run, books: Books) -> None:
    run("rates", "aliases", "withdraw", *range(1, NEXT), "--why", "none of them")
    assert run("rates", "aliases", "list").lines == [
        "No aliases. Add one: accounting rates aliases add PATTERN TARGET --why …"
    ]


def test_the_commands_that_are_told_price_the_touched_calls_again(run: Run, priced: Books) -> None:
    def do(line: str) -> list[bool]:
        assert run(*shlex.split(line)[1:], "--yes").code == 0
        return [row["rate_id"] > 0 for row in priced.rows(calls)]

    assert do(run(*OURS).lines[-1]) == [True]
    assert do(run("rates", "aliases", "withdraw", NEXT, "--why", "gone").lines[-1]) == [False]


def test_the_books_balance_with_calls_that_were_priced_by_a_rule_withdrawn_since(run: Run, priced: Books) -> None:
    run(*OURS)
    priced.deliver(made(number=2, provider="acme", request_model="our-chat"))
    run("rates", "aliases", "withdraw", NEXT, "--why", "gone")
    assert run("verify").code == 0
