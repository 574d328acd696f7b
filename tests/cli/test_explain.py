import json
from typing import Any

import pytest

from tests.books import Books
from tests.cli.conftest import Run

CARD = """
provider = "acme"
currency = "USD"
source = "price list"

[[rate]]
model = "large"
valid_from = 2026-01-01
input = 0.0025
cache_read = 0
output = 0.01

[[rate]]
model = "large"
valid_from = 2026-01-01
context_above = 200_000
input = 0.005
output = 0.02

[[rate]]
model = "large"
valid_from = 2026-01-01
service_tier = "batch"
input = 0.001
output = 0.005

[[rate]]
model = "large"
valid_from = 2026-01-01
valid_until = 2026-02-01
hours = "00:30-08:30 Asia/Shanghai"
input = 0.002
output = 0.005

[[rate]]
model = "l*"
valid_from = 2026-01-01
input = 1
output = 2
"""
EXPLAIN = ("rates", "explain", "v/large", "--provider", "acme", "--at", "2026-11-23T12:00Z")


@pytest.fixture(autouse=True)
def loaded(books: Books) -> Books:
    books.load(CARD)
    return books


def told(run: Run, *words: object, code: int = 0) -> Any:
    ran = run(*words, "--json")
    assert (ran.code, ran.err) == (code, "")
    return json.loads(ran.out)


def test_the_rate_that_holds_is_shown_per_1000_and_per_million_with_the_rules_that_led_there(run: Run) -> None:
    ran = run(*EXPLAIN)
    assert ran.code == 0
    assert ran.lines[:5] == [
        "acme/v/large at 2026-11-23 12:00Z",
        "Line 2 holds: acme/large from 2026-01-01 00:00Z.",
        "Source: price list",
        "It is found under the name large, by",
        "- alias 1, {vendor}/{model} → {model}. Resellers put the maker's name before the model's: openrouter.ai/docs, "
        "models; wcode.net",
    ]
    prices = [line.split() for line in ran.lines[6:12]]
    assert prices[0] == ["of", "USD_per_1000", "USD_per_million_tokens"]
    assert prices[1] == ["input", "0.0025", "2.5"]
    assert prices[3] == ["cache", "write", "0.0025", "2.5", "as", "input"]


def test_each_line_that_was_not_taken_says_why(run: Run) -> None:
    run("rates", "add", "large", "input=9", "output=9", "--provider", "acme", "--currency", "USD", "--valid-from",
        "2026-10-01", "--source", "typed", "--yes")  # fmt: skip
    run("rates", "withdraw", 7, "--why", "per million")
    found = told(run, *EXPLAIN)
    why = {one["rate"]["id"]: one["why"] for one in found["not_taken"]}
    assert why.pop(7)[0].endswith(": per million")
    assert why == {
        3: ["is for more than 200,000 input tokens, not 0"],
        4: ["is for the batch tier, not the standard one"],
        5: ["ended 2026-02-01 00:00Z", "is for 00:30-08:30 Asia/Shanghai, and it was Mon 20:00"],
        6: ["line 2 goes first: it has a name, not a pattern"],
    }
    assert "line 2 goes first: it has a name, not a pattern" in run(*EXPLAIN).out


def test_the_input_the_tier_and_the_time_choose_the_line(run: Run) -> None:
    taken = [
        told(run, *EXPLAIN, *words)["taken"]["rate"]["id"]
        for words in (
            ("--input", "200k"),
            ("--input", "200,001"),
            ("--tier", "batch"),
            ("--tier", "default"),
            ("--at", "2026-01-31T16:30Z"),
        )
    ]
    assert taken == [2, 3, 4, 2, 5]
    assert run(*EXPLAIN, "--input", "1.5M", "--tier", "batch").lines[0] == (
        "acme/v/large at 2026-11-23 12:00Z, 1,500,000 tokens in, served as batch"
    )


@pytest.mark.parametrize(("model", "provider"), [("", "acme"), (" ", "acme"), ("large", "")])
def test_a_name_that_is_empty_is_refused(run: Run, model: str, provider: str) -> None:
    ran = run("rates", "explain", model, "--provider", provider)
    assert (ran.code, ran.out) == (2, "")
    assert "is empty; expected its name" in ran.err


def test_what_is_near_is_told_in_whatever_case(run: Run) -> None:
    run("rates", "withdraw", 6, "--why", "fits any l")
    assert "Near it at acme: large." in run("rates", "explain", "LARGE", "--provider", "acme").lines
    assert "No line is of a provider ACME; near it: acme." in run("rates", "explain", "M", "--provider", "ACME").lines


def test_in_json_the_prices_are_per_1000_and_per_million(run: Run) -> None:
    taken = told(run, *EXPLAIN)["taken"]
    assert (taken["found_as"], [rule["id"] for rule in taken["aliases"]]) == ("large", [1])
    assert (taken["rate"]["input_per_1k"], taken["per_million"]["input"]) == ("0.0025", "2.5")
    assert taken["per_million"]["cache_write"] is None
    assert "web_search" not in taken["per_million"]


def test_a_pattern_that_holds_is_named(run: Run) -> None:
    lines = run("rates", "explain", "little", "--provider", "acme").lines
    assert lines[1:4] == [
        "Line 6 holds: acme/l* from 2026-01-01 00:00Z.",
        "Source: price list",
        "Its pattern l* fits the name.",
    ]


def test_where_no_line_holds_each_says_why_and_it_exits_with_1(run: Run) -> None:
    ran = run("rates", "explain", "large", "--provider", "acme", "--at", "2025-12-31")
    assert ran.code == 1
    assert ran.lines[1:3] == [
        "No rate holds: the price of such a call is unknown.",
        "For calls like it add a line: accounting rates add large …",
    ]
    assert ran.out.count("begins 2026-01-01 00:00Z") == 5
    assert told(run, "rates", "explain", "large", "--provider", "acme", "--at", "2025-12-31", code=1)["taken"] is None


def test_an_unknown_model_says_what_is_near_and_what_to_do(run: Run) -> None:
    ran = run("rates", "explain", "z-ai/glm5", "--provider", "wcode")
    assert (ran.code, ran.err) == (1, "")
    assert ran.lines[1:] == [
        "No rate holds: the price of such a call is unknown.",
        "No line is for z-ai/glm5, nor for glm5 at wcode.",
        "Near it at wcode: z-ai/glm-5.",
        "Add its price, or load a card or a price map that has it: accounting rates add, load or import",
        "If that is the same model by another name, at the same price, say so:",
        "accounting rates aliases add z-ai/glm5 z-ai/glm-5 --provider wcode --why …",
    ]
    near = told(run, "rates", "explain", "z-ai/glm5", "--provider", "wcode", code=1)["near"]
    assert near == {"providers": [], "models": ["z-ai/glm-5"], "elsewhere": []}


@pytest.mark.parametrize("model", ["z-ai/glm-5:free", "ft:glm-5"])
def test_a_variant_is_not_said_to_be_its_model_by_another_name(run: Run, model: str) -> None:
    ran = run("rates", "explain", model, "--provider", "wcode")
    assert "Near it at wcode: z-ai/glm-5." in ran.lines
    assert "aliases add" not in ran.out


def test_an_unknown_provider_says_who_is_near_and_who_has_the_model(run: Run) -> None:
    lines = run("rates", "explain", "large", "--provider", "acne").lines
    assert lines[2:5] == [
        "No line is for large at acne.",
        "No line is of a provider acne; near it: acme.",
        "It has a line at acme.",
    ]


def test_a_name_that_is_kept_from_other_names_says_by_which_rule(run: Run) -> None:
    ran = run("rates", "explain", "ft:large", "--provider", "acme")
    assert ran.code == 1
    assert "ft:{model} has a price of its own. A model of one's own, tuned from another" in ran.out
    assert told(run, "rates", "explain", "ft:large", "--provider", "acme", code=1)["own_price_by"]["target"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "noon"), "--at 'noon' is no time"),
        (("--at", "2026-11-23T12:00"), "says not where"),
        (("--input", "many"), "--input 'many' is no count"),
    ],
)
def test_what_can_not_be_read_is_refused(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run(*EXPLAIN, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
