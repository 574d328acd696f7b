"""`accounting price`: what a call costs, part by part, by the books, by files or by what ships."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from accounting.cards import parse_card
from accounting.ratesheets import write_csv
from tests.books import Books
from tests.cli.conftest import Run

CARD = """
provider = "acme"
currency = "USD"
source = "price list of March"

[[rate]]
model = "large"
valid_from = 2026-03-01
input = 0.002
cache_read = 0.0005
output = 0.01

[[rate]]
model = "large"
valid_from = 2026-03-01
context_above = 200000
input = 0.004
output = 0.02

[[rate]]
model = "large"
valid_from = 2026-03-01
service_tier = "batch"
input = 0.001
output = 0.005

[[rate]]
model = "large"
valid_from = 2026-05-01
input = 0.003
output = 0.012
"""
ANSWER = {
    "id": "c1",
    "choices": [{"finish_reason": "stop"}],
    "model": "large",
    "usage": {"prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "cost": 0.004},
}
USED = ("--input", 1500, "--output", 200)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(CARD)
    return file


def told(run: Run, *args: object) -> dict[str, Any]:
    ran = run("price", *args, "--json")
    assert ran.code == 0, ran.err
    fields: dict[str, Any] = json.loads(ran.out)
    return fields


def total(run: Run, *args: object) -> str:
    return str(told(run, *args)["total"][0]["amount"])


def test_each_part_is_shown_per_1000_and_per_million_and_from_where_the_prices_are(run: Run, card: Path) -> None:
    ran = run(
        *("price", "--rates", card, "-m", "large", "--at", "2026-03-02", "--input", "1.5k", "--cache-read", 1000),
        *("--output", 200, "--reasoning", 50),
    )
    assert ran.code == 0
    assert ran.out == (
        "acme/large from 2026-03-01 00:00Z, of acme.toml\n"
        "Source: price list of March\n"
        "At 2026-03-02 00:00Z\n"
        "\n"
        "what        quantity  USD_per_1000  USD_per_million     USD\n"
        "input            500        0.0020              2.0  0.0010\n"
        "cache read      1000        0.0005              0.5  0.0005\n"
        "output           150        0.0100             10.0  0.0015\n"
        "reasoning         50        0.0100             10.0  0.0005  as output\n"
        "total                                                0.0035\n"
    )


def test_what_was_written_for_an_hour_stands_with_what_was_written(run: Run, card: Path) -> None:
    used = ("--input", 100, "--cache-write", 50, "--cache-write-1h", 20, "--audio-input", 10, *("--output", 5))
    parts = told(run, "--rates", card, "-m", "large", "--at", "2026-03-02", *used)["charges"][0]["parts"]
    assert [(part["class"], part["quantity"]) for part in parts] == [
        *(("input", 40), ("cache_write", 30), ("cache_write_1h", 20), ("audio_input", 10), ("output", 5)),
    ]


def test_a_program_gets_the_same_as_exact_text(run: Run, card: Path) -> None:
    fields = told(run, "--rates", card, "-m", "large", "--at", "2026-03-02", "--input", 7, "--output", 1)
    assert fields["total"] == [{"amount": "0.000024", "currency": "USD"}]
    (charge,) = fields["charges"]
    assert charge["parts"][0] == {
        **{"class": "input", "quantity": 7, "price_per_1k": "0.002", "price_per_1m": "2"},
        **{"amount": "0.000014", "priced_as": "input"},
    }
    assert (charge["rate"]["valid_from"], charge["rate"]["source"]) == ("2026-03-01T00:00:00Z", "price list of March")
    assert fields["is_whole"] is True


@pytest.mark.parametrize(
    ("more", "amount"),
    [
        ((*USED, "--at", "2026-04-30T23:59:59.999999+00:00"), "0.005"),
        ((*USED, "--at", "2026-05-01T08:00+08:00"), "0.0069"),
        ((*USED, "--at", "2026-03-02", "--tier", "batch"), "0.0025"),
        (("--input", "200k", "--at", "2026-03-02"), "0.4"),
        (("--input", "200,001", "--at", "2026-03-02"), "0.800004"),
    ],
)
def test_time_tier_and_size_choose_the_line(run: Run, card: Path, more: tuple[object, ...], amount: str) -> None:
    assert total(run, "--rates", card, "-m", "acme/large", *more) == amount


def test_the_rates_may_be_a_sheet(run: Run, tmp_path: Path) -> None:
    sheet = tmp_path / "acme.csv"
    sheet.write_text(write_csv(parse_card(CARD, "acme")))
    assert total(run, "--rates", sheet, "-m", "large", *USED, "--at", "2026-03-02") == "0.005"


def test_the_rates_may_be_a_price_map_of_litellm(run: Run, tmp_path: Path) -> None:
    entry = {"litellm_provider": "acme", "input_cost_per_token": 1.5e-06, "output_cost_per_token": 7e-06}
    (tmp_path / "map.json").write_text(json.dumps({"acme/large": entry}))
    assert total(run, "--rates", tmp_path / "map.json", "-m", "large", *USED) == "0.00365"


def test_the_books_own_rates_go_before_the_shipped_ones(run: Run, books: Books, card: Path) -> None:
    assert run("rates", "load", card).code == 0
    fields = told(run, "-m", "large", *USED, "--at", "2026-03-02")
    assert fields["rates_of"] == "the books"
    assert fields["charges"][0]["rate"]["id"] > 0
    assert fields["total"][0]["amount"] == "0.005"


def test_without_books_it_is_priced_by_what_ships(run: Run) -> None:
    fields = told(run, "-m", "z-ai/glm-5", "-p", "wcode", *USED, "--at", "2026-03-02")
    assert "shipped" in fields["rates_of"]
    assert fields["total"] == [{"amount": "0.0235", "currency": "CNY"}]


def test_the_alias_that_led_to_the_line_is_told(run: Run, card: Path) -> None:
    asked = ("-m", "some/large", "-p", "acme", *USED, "--rates", card, "--at", "2026-03-02")
    assert "Found as large, by the alias {vendor}/{model} → {model}\n" in run("price", *asked).out
    (charge,) = told(run, *asked)["charges"]
    assert (charge["found_as"], charge["aliases"]) == ("large", [["{vendor}/{model}", "{model}"]])


def test_what_has_no_price_is_told_beside_the_total(run: Run, card: Path) -> None:
    asked = ("-m", "large", *USED, "--web-searches", 3, "--rates", card, "--at", "2026-03-02")
    assert "Beside it 3 web searches, for which the rate has no price: it cost more." in run("price", *asked).out
    fields = told(run, *asked)
    assert (fields["is_whole"], fields["charges"][0]["unpriced"]) == (False, {"web_searches": 3})


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(ANSWER))
    return file


def test_a_saved_answer_says_itself_what_it_used(run: Run, card: Path, answer: Path) -> None:
    ran = run("price", "--usage", answer, "--rates", card, "--at", "2026-03-02")
    assert ran.code == 0, ran.err
    assert "total                                            0.005" in ran.out
    assert ran.lines[-1] == "The provider states 0.004 USD."


@pytest.mark.parametrize(
    ("usage", "told", "is_whole"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 20}},
            ["cached_exceeds_input"],
            True,
        ),
        ({"prompt_tokens": 10}, ["output_missing"], False),
    ],
)
def test_what_was_off_with_the_usage_is_told_with_its_price(
    run: Run, card: Path, answer: Path, usage: dict[str, Any], told: list[str], is_whole: bool
) -> None:
    answer.write_text(json.dumps({**ANSWER, "usage": usage}))
    asked = ("price", "--usage", answer, "--rates", card, "--at", "2026-03-02")
    ran = run(*asked)
    assert [line.partition(":")[0] for line in ran.lines if line.partition(":")[0] in told] == told
    assert ("Not all that was used is stated: it cost at least this." in ran.lines) is not is_whole
    fields = json.loads(run(*asked, "--json").out)
    assert (fields["charges"][0]["anomalies"], fields["is_whole"]) == (told, is_whole)


def test_the_answer_may_come_by_the_input(run: Run, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ANSWER).encode())))
    assert total(run, "--usage", "-", "--rates", card, "--at", "2026-03-02") == "0.005"


def test_of_an_answer_with_a_sub_call_both_are_priced_or_it_is_said_that_one_is_not(
    run: Run, card: Path, tmp_path: Path
) -> None:
    file = tmp_path / "message.json"
    steps = [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "unheard-of", "input_tokens": 10, "output_tokens": 5},
    ]
    usage = {"input_tokens": 1000, "output_tokens": 100, "iterations": steps}
    file.write_text(json.dumps({"type": "message", "model": "large", "usage": usage}))
    ran = run("price", "--usage", file, "-p", "acme", "--rates", card, "--at", "2026-03-02")
    assert ran.code == 0, ran.err
    assert "Beside it, of the model unheard-of:\nNo rate for acme/unheard-of" in ran.out
    assert ran.lines[-1] == "Together at least: 0.003 USD"


def test_an_answer_without_usage_has_no_price(run: Run, card: Path, answer: Path) -> None:
    answer.write_text(json.dumps({**ANSWER, "usage": None}))
    ran = run("price", "--usage", answer, "--rates", card)
    assert (ran.code, ran.out) == (1, "")
    assert "unknown and not nothing" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("-m", "large"), "What was used? Give --input and --output"),
        (USED, "Which model? Give --model"),
        (("-m", "large", "--input", "many"), "--input 'many' is no count"),
        (("-m", "large", "--input", "0.5"), "--input '0.5' is no count"),
        (("-m", "large", "--input", "-1"), "--input '-1' is no count"),
        (("-m", "large", "--input", "9" * 18), "is too much; expected a whole number from 0 to 1,000,000,000,000."),
        (("-m", "large", "--input", 10, "--cache-read", 11), "The input is 10 and its parts are more: cache_read 11"),
        (("-m", "large", *USED, "--at", "yesterday"), "--at 'yesterday' is no time"),
        (("-m", "large", *USED, "--at", "2026-03-02T10:00"), "says not where; add the offset"),
        (("-m", "larg", *USED), "No rate for larg: no card names it; near it: large"),
        (("-m", "large", *USED, "--usage", "answer.json"), "--usage says what was used; leave out --input"),
        (("-m", "large", *USED, "--rates", "none.toml"), "none.toml"),
        (("-m", "large", *USED, "--rates", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_priced_is_refused_with_a_reason(
    run: Run, card: Path, args: tuple[object, ...], said: str
) -> None:
    rates = () if "--rates" in args else ("--rates", card)
    ran = run("price", *args, *rates)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_extract_shows_the_price_where_it_is_asked(run: Run, books: Books, card: Path, answer: Path) -> None:
    assert run("rates", "load", card).code == 0
    ran = run("extract", answer, "--provider", "acme", "--price")
    assert ran.code == 0
    assert "What it costs:\n\nacme/large from 2026-05-01 00:00Z, of the books, line " in ran.out
    fields = json.loads(run("extract", answer, "--provider", "acme", "--price", "--json").out)
    assert fields["price"]["total"] == [{"amount": "0.0069", "currency": "USD"}]
    assert "price" not in json.loads(run("extract", answer, "--json").out)


def test_extract_says_why_there_is_no_price(run: Run, answer: Path) -> None:
    ran = run("extract", answer, "--price")
    assert ran.code == 0
    assert "What it costs:\n\nNo rate for large: no card names it" in ran.out
