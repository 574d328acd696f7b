import json
from dataclasses import replace
from pathlib import Path

import pytest

from accounting import ratebook
from accounting.rates import Rate
from accounting.settings import whoami
from accounting.store import reading
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
input = 0.003
output = 0.015
cache_write = 0.00375
cache_write_1h = 0.006
web_search = 10
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(CARD)
    return file


def test_the_list_shows_prices_per_1000_and_leaves_out_what_the_parent_says(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    lines = run("rates", "list").lines
    assert lines[1].split()[:11] == ["2", "acme", "large", "2026-03-01", "-", "USD", "0.0025", "0", "-", "0.010", "-"]
    assert lines[2].split()[:8] == ["1", "wcode", "z-ai/glm-5", "2026-02-01", "-", "CNY", "0.0110", "-"]


def test_prices_in_json_are_decimal_strings(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    acme = json.loads(run("rates", "list", "--json").out)["rates"][0]
    assert acme.pop("loaded_at")
    assert acme == {
        "id": 2,
        "provider": "acme",
        "model": "large",
        "currency": "USD",
        "valid_from": "2026-03-01T00:00:00Z",
        "valid_until": None,
        "service_tier": "",
        "context_above": 0,
        "hours": None,
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
        "loaded_by": whoami(),
        "loaded_why": "",
        "withdrawn_at": None,
        "withdrawn_by": None,
        "withdrawn_why": None,
    }


def test_what_few_models_charge_for_is_shown_where_it_has_a_price(run: Run, books: Books, tmp_path: Path) -> None:
    (tmp_path / "searching.toml").write_text(SEARCHING)
    assert "web search" not in run("rates", "list").out
    run("rates", "load", tmp_path / "searching.toml")
    heading, first, *_, explained = run("rates", "list").lines
    assert explained == "Prices per 1000 web searches, as their columns say; - is no known price."
    assert heading.split()[6:13] == ["input", "cache_read", "cache_write", "output", "reasoning", "cache_write_1h",
                                     "web_searches"]  # fmt: skip
    assert first.split()[6:13] == ["0.003", "-", "0.00375", "0.015", "-", "0.006", "10"]
    lines = [line.split() for line in run("rates", "show", "searching").lines]
    assert ["cache", "write", "1h", "0.00600", "6.00"] in lines
    assert ["web", "searches", "10.00000"] in lines
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


PRICES = """
provider = "acme"
currency = "USD"
source = "'{source}"

[[rate]]
model = "large"
valid_from = 2026-03-01
input = 0.0025
output = 0.01

[[rate]]
model = "large"
valid_from = 2026-03-01
context_above = 200000
input = 0.005
output = 0.015

[[rate]]
model = "large"
valid_from = 2026-05-01T10:00:00+08:00
valid_until = 2026-09-01
service_tier = "batch"
hours = "mon-fri 00:30-08:30 Asia/Shanghai"
input = 0.00125
cache_read = 0
output = 0.005

[[rate]]
model = "large"
valid_from = 2026-06-01
input = 0.002
output = 0.008

[[rate]]
model = "small-*"
valid_from = 2026-03-01
input = 0.000000001
output = 0.000000002
"""


@pytest.fixture
def loaded(run: Run, books: Books, tmp_path: Path) -> list[str]:
    """Several lines of two cards of acme's, beside the shipped ones."""
    for n, source in enumerate(("list", "other"), 1):
        text = PRICES if n == 1 else PRICES.replace("large", "huge").replace("small-", "tiny-")
        (tmp_path / f"{source}.toml").write_text(text.replace("{source}", source))
    ran = run("rates", "load", tmp_path / "list.toml", tmp_path / "other.toml")
    assert ran.code == 0
    return ran.lines


def ids(run: Run, *options: str) -> list[int]:
    return [rate["id"] for rate in json.loads(run("rates", "list", "--json", *options).out)["rates"]]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--provider", "wcode"], [1]),
        (["--model", "large"], [2, 3, 4, 5]),
        (["--model", "acme/large"], [2, 3, 4, 5]),
        (["--model", "*l*"], [2, 3, 4, 5, 6, 1]),
        (["--provider", "acme", "--model", "t*"], [11]),
        (["--provider", "nobody"], []),
        (["--provider", "acme", "--model", "large", "--at", "2026-03-01"], [2, 3]),
        (["--provider", "acme", "--model", "large", "--at", "2026-02-28T23:59:59Z"], []),
        (["--provider", "acme", "--model", "large", "--at", "2026-05-01T09:59+08:00"], [2, 3]),
        (["--provider", "acme", "--model", "large", "--at", "2026-05-02"], [2, 3, 4]),
        (["--provider", "acme", "--model", "large", "--at", "2026-06-01"], [4, 5]),
        (["--provider", "acme", "--model", "large", "--at", "2026-09-01"], [5]),
    ],
)
def test_the_list_is_of_those_asked_for(run: Run, loaded: list[str], options: list[str], found: list[int]) -> None:
    assert ids(run, *options) == found


def test_a_list_of_none_says_so(run: Run, loaded: list[str]) -> None:
    assert run("rates", "list", "--model", "nope").out.startswith("None of 11 rates is such a one.")
    ran = run("rates", "list", "--at", "soon")
    assert (ran.code, ran.out) == (2, "")
    assert "--at: expected a date like 2026-02-01" in ran.err


def test_conditions_stand_in_the_list(run: Run, loaded: list[str]) -> None:
    lines = run("rates", "list", "--model", "large").lines
    assert "only" in lines[0].split()
    assert "above 200,000 input tokens" in lines[2]
    assert "batch, mon-fri 00:30-08:30 Asia/Shanghai" in lines[3]


def test_withdrawn_lines_are_listed_only_if_asked_for(run: Run, loaded: list[str]) -> None:
    run("rates", "withdraw", 2, 3, "--why", "typed wrong")
    assert ids(run, "--model", "large") == [4, 5]
    assert ids(run, "--model", "large", "--withdrawn") == [2, 3, 4, 5]
    assert "withdrawn" not in run("rates", "list").lines[0]
    assert "withdrawn" in run("rates", "list", "--withdrawn").lines[0].split()


def test_a_line_is_shown_with_its_history(run: Run, loaded: list[str]) -> None:
    run("rates", "withdraw", 2, "--why", "typed wrong")
    heading, source, loaded_, withdrawn, priced, *_ = run("rates", "show", "2").lines
    assert heading == "Line 2, acme/large: from 2026-03-01, withdrawn"
    assert source == "Source: 'list"
    assert loaded_.startswith("Loaded ")
    assert loaded_.endswith(f" by {whoami()}")
    assert withdrawn.startswith("Withdrawn ")
    assert withdrawn.endswith(f" by {whoami()}: typed wrong")
    assert priced == "No call in the books is priced by it."
    (found,) = json.loads(run("rates", "show", "2", "--json").out)["rates"]
    assert (found["withdrawn_by"], found["withdrawn_why"], found["priced"]["calls"]) == (whoami(), "typed wrong", 0)


def test_the_calls_that_a_line_prices_are_shown_with_it(run: Run, books: Books) -> None:
    books.deliver(made(number=1), made(number=2))
    books.roll()
    said = "It prices 2 calls in the books, since 2026-11-23 12:00:00 UTC: 0.036 CNY."
    assert said in run("rates", "show", "z-ai/glm-5").lines


def test_of_a_model_it_is_shown_which_line_takes_over_from_which(run: Run, loaded: list[str]) -> None:
    headings = [line for line in run("rates", "show", "large").lines if line.startswith("Line ")]
    assert headings == [
        "Line 2, acme/large: from 2026-03-01 until 2026-06-01, when line 5 takes over",
        "Line 3, acme/large (above 200,000 input tokens): from 2026-03-01 until 2026-06-01, when line 5 takes over",
        "Line 4, acme/large (batch, mon-fri 00:30-08:30 Asia/Shanghai): from 2026-05-01 02:00Z until 2026-09-01",
        "Line 5, acme/large: from 2026-06-01 until a later rate takes over (holds now)",
    ]
    run("rates", "withdraw", 5, "--why", "too early")
    assert not any(line.startswith("Line 5") for line in run("rates", "show", "large").lines)
    assert "Line 5, acme/large: from 2026-06-01, withdrawn" in run("rates", "show", "large", "--withdrawn").lines


CLOSE = """
provider = "acme"
currency = "USD"
source = "list"

[[rate]]
model = "large"
valid_from = 2026-01-01T10:00:00Z
input = 1
output = 2

[[rate]]
model = "large"
valid_from = 2026-01-01T10:00:30.000001Z
input = 2
output = 3

[[rate]]
model = "large"
valid_from = 2026-01-01T10:00:00.5Z
valid_until = 2026-02-01
service_tier = "batch"
input = 1
output = 1
"""


def test_lines_of_one_minute_can_be_told_apart_and_which_of_them_holds(run: Run, books: Books) -> None:
    books.load(CLOSE)
    titles, two, other, three = run("rates", "list", "--model", "large").lines[:4]
    assert titles.split()[4:8] == ["valid_from", "valid_until", "holds_now", "currency"]
    assert two.split()[4:9] == ["2026-01-01", "10:00Z", "-", "-", "USD"]
    assert three.split()[4:9] == ["2026-01-01", "10:00:30.000001Z", "-", "yes", "USD"]
    assert other.split()[4:9] == ["2026-01-01", "10:00:00.500000Z", "2026-02-01", "-", "USD"]
    assert "from 2026-01-01 10:00Z until 2026-01-01 10:00:30.000001Z, when line 3" in run("rates", "show", "2").out
    ran = run("rates", "explain", "large", "-p", "acme", "--at", "2026-01-01T10:00:30Z")
    assert "acme/large at 2026-01-01 10:00:30Z\nLine 2 holds: acme/large from 2026-01-01 10:00Z." in ran.out
    assert "begins 2026-01-01 10:00:30.000001Z" in ran.out


def test_where_each_line_holds_now_the_list_says_nothing_of_it(run: Run, books: Books) -> None:
    assert "holds_now" not in run("rates", "list").lines[0]


def held(books: Books) -> set[Rate]:
    with reading(books.engine) as conn:
        return {replace(line.rate, id=0) for line in ratebook.lines(conn, withdrawn=False)}


@pytest.mark.parametrize("form", ["toml", "csv"])
def test_an_export_is_loaded_as_it_was(
    run: Run, books: Books, loaded: list[str], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rates", "withdraw", 6, "--why", "wrong")
    if form == "toml":
        assert "Wrote 10 rates into 3 cards" in run("rates", "export", "--into", tmp_path / "out").out
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "rates.csv").write_text(run("rates", "export", "--csv").out, encoding="utf-8", newline="")
    before = held(books)
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    others = Books(tmp_path / "other")
    try:
        run("rates", "withdraw", 1, "--why", "to have none")
        ran = run("rates", "load", *sorted((tmp_path / "out").iterdir()))
        assert (ran.code, ran.err) == (0, "")
        assert held(others) == before
        assert len(before) == 10
    finally:
        others.close()


def test_one_card_is_printed_and_several_are_not(run: Run, loaded: list[str], tmp_path: Path) -> None:
    ran = run("rates", "export", "--model", "large")
    (tmp_path / "again.toml").write_text(ran.out)
    assert run("rates", "load", tmp_path / "again.toml").out == "again.toml: 0 rates added, 4 already there.\n"
    several = run("rates", "export")
    assert (several.code, several.out) == (2, "")
    assert "These are 3 cards" in several.err
    assert "--into" in several.err


def test_an_export_writes_over_no_file(run: Run, loaded: list[str], tmp_path: Path) -> None:
    run("rates", "export", "--into", tmp_path / "out")
    (tmp_path / "out" / "acme.toml").write_text("mine")
    (tmp_path / "out" / "wcode.toml").unlink()
    ran = run("rates", "export", "--into", tmp_path / "out")
    assert ran.code == 2
    assert "acme.toml" in ran.err
    assert (tmp_path / "out" / "acme.toml").read_text() == "mine"
    assert not (tmp_path / "out" / "wcode.toml").exists()


def test_what_is_in_force_at_a_time_is_exported_alone(run: Run, loaded: list[str]) -> None:
    out = run("rates", "export", "--csv", "--model", "large", "--at", "2026-06-02").lines
    assert [line.split(",")[8] for line in out[1:]] == ["0.00125", "0.002"]
