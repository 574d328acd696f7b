import json
from pathlib import Path

import pytest

from tests.books import Books, made
from tests.cli.conftest import Run

CARD = """
provider = "acme"
currency = "USD"
source = "price list of 2026-03-01"

[[rate]]
model = "large"
valid_from = 2026-03-01
input = 0.0025
cache_read = 0
output = 0.01
"""

SEARCHING = """
provider = "acme"
currency = "USD"
source = "price list"

[[rate]]
model = "searching"
valid_from = 2026-03-01
input = 3
output = 15
cache_write = 3.75
cache_write_1h = 6
web_search = 10
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(CARD)
    return file


def test_a_card_is_loaded_once(run: Run, books: Books, card: Path) -> None:
    assert run("rates", "load", card).out == "acme.toml: 1 rate added, 0 already there.\n"
    assert run("rates", "load", card).out == "acme.toml: 0 rates added, 1 already there.\n"


def test_a_card_saved_with_a_byte_order_mark_is_loaded(run: Run, books: Books, card: Path) -> None:
    card.write_text(CARD, encoding="utf-8-sig")
    assert run("rates", "load", card).out == "acme.toml: 1 rate added, 0 already there.\n"


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (1, "1 call already in the books stays unpriced: it keeps the rate of the day it came in."),
        (3, "3 calls already in the books stay unpriced: they keep the rate of the day they came in."),
    ],
)
def test_a_card_that_comes_after_its_calls_says_that_they_stay_unpriced(
    run: Run, books: Books, card: Path, calls: int, said: str
) -> None:
    books.deliver(*(made(number=number, provider="acme", request_model="large") for number in range(calls)))
    books.deliver(made(number=10, provider="acme", request_model="small"))
    books.roll()
    assert run("rates", "load", card).lines == ["acme.toml: 1 rate added, 0 already there.", said]


def test_of_several_files_with_one_that_is_wrong_none_is_loaded(run: Run, books: Books, card: Path) -> None:
    wrong = card.with_name("wrong.toml")
    wrong.write_text(CARD.replace("0.0025", '"cheap"'))
    ran = run("rates", "load", card, wrong)
    assert ran.code == 2
    assert "wrong.toml" in ran.err
    assert "acme" not in run("rates", "list").out


def test_a_card_that_is_not_there_is_named(run: Run, books: Books, tmp_path: Path) -> None:
    ran = run("rates", "load", tmp_path / "none.toml")
    assert (ran.code, ran.out) == (2, "")
    assert "none.toml" in ran.err


def test_the_list_shows_prices_per_1000_and_leaves_out_what_the_parent_says(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    lines = run("rates", "list").lines
    assert lines[1].split()[:10] == ["acme", "large", "2026-03-01", "-", "USD", "0.0025", "0", "-", "0.010", "-"]
    assert lines[2].split()[:7] == ["wcode", "z-ai/glm-5", "2026-02-01", "-", "CNY", "0.0110", "-"]


def test_prices_in_json_are_decimal_strings(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    acme = json.loads(run("rates", "list", "--json").out)["rates"][0]
    assert acme == {
        "provider": "acme",
        "model": "large",
        "currency": "USD",
        "valid_from": "2026-03-01T00:00:00Z",
        "valid_until": None,
        "input_per_1k": "0.0025",
        "cache_read_per_1k": "0",
        "cache_write_per_1k": None,
        "output_per_1k": "0.01",
        "reasoning_per_1k": None,
        "cache_write_1h_per_1k": None,
        "audio_input_per_1k": None,
        "image_input_per_1k": None,
        "audio_output_per_1k": None,
        "image_output_per_1k": None,
        "request_per_1k": None,
        "web_search_per_1k": None,
        "image_per_1k": None,
        "audio_second_per_1k": None,
        "source": "price list of 2026-03-01",
    }


def test_what_few_models_charge_for_is_shown_where_it_has_a_price(run: Run, books: Books, tmp_path: Path) -> None:
    (tmp_path / "searching.toml").write_text(SEARCHING)
    assert "web search" not in run("rates", "list").out
    run("rates", "load", tmp_path / "searching.toml")
    heading, first, *_, explained = run("rates", "list").lines
    assert explained == "Prices per 1000 web searches, as their columns say; - is no known price."
    assert heading.split()[5:12] == ["input", "cache_read", "cache_write", "output", "reasoning", "cache_write_1h",
                                     "web_searches"]  # fmt: skip
    assert first.split()[5:12] == ["3.000", "-", "3.75", "15.000", "-", "6", "10"]
    lines = [line.split() for line in run("rates", "show", "searching").lines]
    assert ["cache", "write", "1h", "6.00", "6000"] in lines
    assert ["web", "searches", "10.00"] in lines
    assert "audio" not in run("rates", "show", "searching").out


@pytest.mark.parametrize("name", ["z-ai/glm-5", "wcode/z-ai/glm-5"])
def test_a_models_rate_is_shown_per_1000_and_per_million(run: Run, books: Books, name: str) -> None:
    lines = [line.split() for line in run("rates", "show", name).lines]
    assert ["input", "0.011", "11"] in lines
    assert ["cache", "read", "0.011", "11", "as", "input"] in lines
    assert ["reasoning", "0.035", "35", "as", "output"] in lines


def test_a_model_without_a_rate_is_answered_with_those_near_it(run: Run, books: Books) -> None:
    ran = run("rates", "show", "glm-5")
    assert (ran.code, ran.out) == (2, "")
    assert "z-ai/glm-5" in ran.err
