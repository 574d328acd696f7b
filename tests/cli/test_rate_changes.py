import json
import shlex
import sys
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from accounting.cli import rate_effects
from accounting.settings import whoami
from accounting.store.tables import calls, rates
from accounting.store.tables import store as stores
from tests.books import Books, made
from tests.cli.conftest import Ran, Run

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

ACME = ("--provider", "acme", "--currency", "USD", "--source", "price page")
SINCE = ("--valid-from", "2026-03-01")
UNTOUCHED = "No call in the books is touched."
DRY = "This is a dry run: nothing was changed."
BY_A_JOB = "Those without a rate are priced by accounting work within minutes, or at once:"
BY_HAND = "keep the rates that they have until priced again (--dry-run shows what that changes):"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    file = tmp_path / "acme.toml"
    file.write_text(CARD)
    return file


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Somebody sits there and answers."""

    def answers(text: str) -> None:
        monkeypatch.setattr(rate_effects, "asks", lambda: True)
        monkeypatch.setattr(sys, "stdin", StringIO(text))

    return answers


def held(books: Books) -> list[dict[str, Any]]:
    return sorted(books.rows(rates), key=lambda row: int(row["id"]))


def edition(books: Books) -> int:
    (row,) = books.rows(stores)
    return int(row["rates_edition"])


def added(run: Run, *words: str, model: str = "large") -> Ran:
    return run("rates", "add", model, *words, *ACME)


def large(*numbers: int, model: str = "large") -> list[Any]:
    return [made(number=number, provider="acme", request_model=model) for number in numbers]


def test_a_card_is_loaded_once(run: Run, books: Books, card: Path) -> None:
    assert run("rates", "load", card).lines == ["acme.toml: 1 rate added, 0 already there.", UNTOUCHED]
    assert run("rates", "load", card).lines == ["acme.toml: 0 rates added, 1 already there."]
    assert held(books)[-1]["loaded_by"] == whoami()


@pytest.mark.parametrize("words", [("load",), ("add", "small", "input=0.001", "output=0.002", *ACME, *SINCE)])
def test_the_reason_of_a_line_is_kept_with_it(run: Run, books: Books, card: Path, words: tuple[str, ...]) -> None:
    more = (card,) if words == ("load",) else ()
    assert run("rates", *words, *more, "--why", " ").code == 2
    assert run("rates", *words, *more, "--why", "agreed with them").code == 0
    assert held(books)[-1]["loaded_why"] == "agreed with them"
    assert f"by {whoami()}: agreed with them" in run("rates", "show", 2).out


def test_a_card_saved_with_a_byte_order_mark_is_loaded(run: Run, books: Books, card: Path) -> None:
    card.write_text(CARD, encoding="utf-8-sig")
    assert run("rates", "load", card).lines[0] == "acme.toml: 1 rate added, 0 already there."


def test_of_several_files_with_one_that_is_wrong_none_is_loaded(run: Run, books: Books, card: Path) -> None:
    wrong = card.with_name("wrong.toml")
    wrong.write_text(CARD.replace("0.0025", '"cheap"'))
    ran = run("rates", "load", card, wrong)
    assert ran.code == 2
    assert "wrong.toml" in ran.err
    assert len(held(books)) == 1


def test_of_several_files_that_contradict_each_other_none_is_loaded(run: Run, books: Books, card: Path) -> None:
    other = card.with_name("other.toml")
    other.write_text(CARD.replace("0.0025", "0.0024"))
    ran = run("rates", "load", card, other)
    assert ran.code == 2
    assert "Two rates for acme/large" in ran.err
    assert len(held(books)) == 1


def test_where_another_price_is_in_the_books_its_line_is_named(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    ran = added(run, "input=0.002", "output=0.01", *SINCE)
    assert (ran.code, ran.out) == (2, "")
    assert "Line 2 is in the books." in ran.err
    assert run("rates", "withdraw", 2, "--why", "typed wrong").code == 0
    assert added(run, "input=0.002", "output=0.01", *SINCE).code == 0


def test_a_card_that_is_not_there_is_named(run: Run, books: Books, tmp_path: Path) -> None:
    ran = run("rates", "load", tmp_path / "none.toml")
    assert (ran.code, ran.out) == (2, "")
    assert "none.toml" in ran.err


def test_a_dry_run_says_what_loading_would_and_changes_nothing(run: Run, books: Books, card: Path) -> None:
    books.deliver(*large(1, 2))
    before = edition(books), held(books)
    assert run("rates", "load", card, "--dry-run").lines == [
        f"1 rate would be added, 0 already there. {DRY}",
        "It touches at most 2 calls in the books, since 2026-11-23 12:00:00 UTC, of acme/large: without a rate by now.",
    ]
    assert (edition(books), held(books)) == before


def test_of_calls_without_a_rate_it_is_told_how_they_get_one(run: Run, books: Books, card: Path) -> None:
    books.deliver(*large(1, 2), *large(3, model="small"))
    told, touches, how, command = run("rates", "load", card).lines
    assert told == "acme.toml: 1 rate added, 0 already there."
    assert touches.startswith("It touches at most 2 calls in the books")
    assert how == BY_A_JOB
    words = shlex.split(command)
    assert words[:6] == ["accounting", "rerate", "--provider", "acme", "--model", "large"]
    ran = run(*words[1:], "--yes")
    assert ran.code == 0, ran.err
    unpriced = [row["request_model"] for row in books.rows(calls) if row["rate_id"] == 0]
    assert unpriced == ["small"]


def test_of_calls_with_a_rate_it_is_told_how_they_are_priced_again(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    books.deliver(*large(1, 2))
    lines = added(run, "input=0.003", "output=0.012", "--valid-from", "2026-11-01").lines
    *_, touches, how, command = lines
    assert touches.endswith("of acme/large: 0.009 USD by the rates that they have.")
    assert how == f"They {BY_HAND}"
    words = shlex.split(command)
    assert "--unpriced" not in words
    assert words[-2:] == ["--why", "price page"]
    assert run(*words[1:], "--yes").code == 0
    new = held(books)[-1]["id"]
    assert {row["rate_id"] for row in books.rows(calls)} == {new}


def test_calls_with_and_without_a_rate_are_told_apart(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    books.deliver(*large(1), *large(2, 3, model="small"))
    card.write_text(CARD.replace("2026-03-01\n", "2026-11-01\n") + CARD.partition("\n\n")[2].replace("large", "small"))
    _, touches, how, unpriced, others, *again = run("rates", "load", card).lines
    assert touches.startswith("It touches at most 3 calls in the books")
    assert touches.endswith("of acme/large, acme/small: 2 without a rate by now, the others 0.0045 USD by the rates "
                            "that they have.")  # fmt: skip
    assert (how, others) == (BY_A_JOB, f"The others {BY_HAND}")
    assert unpriced.startswith("accounting rerate --provider acme --since 2026-11-23T12:00:00+00:00 --unpriced --why")
    assert [line.split()[4:6] for line in again] == [["--model", "large"], ["--model", "small"]]


def test_conditions_make_it_at_most(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    books.deliver(*large(1))
    lines = added(run, "input=0.003", "output=0.012", *SINCE, "--context-above", "900").lines
    assert any(line.startswith("It touches at most 1 call in the books") for line in lines)


def test_of_many_models_one_command_prices_all_of_their_provider(run: Run, books: Books) -> None:
    added(run, "input=0.001", "output=0.001", *SINCE, model="*")
    books.deliver(*(call for n in range(4) for call in large(n, model=f"large-{n}")))
    *_, command = added(run, "input=0.002", "output=0.001", *SINCE, model="large-*").lines
    assert "--model" not in command
    assert command.startswith("accounting rerate --provider acme --since 2026-11-23T12:00:00+00:00")
    assert added(run, "input=0.003", "output=0.001", *SINCE, model="large-0").lines[-1].split()[4:6] == [
        "--model",
        "large-0",
    ]


def test_a_line_is_added_and_shown_per_1000_and_per_million(run: Run, books: Books) -> None:
    lines = added(run, "input=0.0025", "output=0.01", "web_search=10", *SINCE).lines
    assert lines[0] == "Added line 2, acme/large from 2026-03-01 00:00Z."
    assert ["input", "0.0025", "2.5"] in [line.split() for line in lines]
    assert lines[-1] == UNTOUCHED


def test_prices_of_tokens_may_be_given_per_million(run: Run, books: Books) -> None:
    added(run, "input=2.50", "cache_read=0", "output=10", "web_search=10", *SINCE, "--per-million")
    row = held(books)[-1]
    assert [row[f"{name}_per_1k"] for name in ("input", "cache_read", "output", "web_search", "reasoning")] == [
        Decimal("0.0025"), Decimal(0), Decimal("0.01"), Decimal(10), None,
    ]  # fmt: skip


@pytest.mark.parametrize("said", ["200000", "200,000", "200k", "0.2M"])
def test_the_size_of_the_input_is_given_as_people_write_it(run: Run, books: Books, said: str) -> None:
    assert added(run, "input=0.1", "output=0.1", *SINCE, "--context-above", said, "--yes").code == 0
    assert held(books)[-1]["context_above"] == 200_000


@pytest.mark.parametrize("command", [("withdraw",), ("end", "--at", "2026-12-01"), ("aliases", "withdraw")])
@pytest.mark.parametrize("id_", ["-1", "0", "abc", "1.5", "²", "9" * 19, "9" * 5000])
def test_what_is_no_number_of_a_line_is_refused_in_a_sentence(
    run: Run, books: Books, command: tuple[str, ...], id_: str
) -> None:
    ran = run("rates", *command, "--why", "wrong", "--", id_)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ID {id_!r} is no number of the list; expected one like 12.\n"


def test_a_line_has_the_conditions_that_were_given(run: Run, books: Books) -> None:
    conditions = ("--tier", "Batch", "--context-above", "200000", "--hours", "mon-fri 0:30-08:30 Asia/Shanghai")
    assert "hours: " in added(run, "input=0.1", "output=0.1", *SINCE, *conditions).err
    right = [word.replace(" 0:30", " 00:30") for word in conditions]
    until = ("--valid-until", "2026-04-01T00:00+08:00")
    ran = added(run, "input=0.001", "output=0.001", *SINCE, *until, *right)
    assert "acme/large (batch, above 200,000 input tokens, mon-fri 00:30-08:30 Asia/Shanghai)" in ran.lines[0]
    assert "until 2026-03-31 16:00Z" in ran.lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["input=-1", "output=1"], "input is -1; a price can't be negative"),
        (["input=-1", "output=1", "--per-million"], "input is -1 per million; a price can't be negative"),
        (["input=nan", "output=1"], "'nan' is not a finite number"),
        (["input=inf", "output=1", "--per-million"], "'inf' is not a finite number"),
        (["input=cheap", "output=1"], "'cheap' is not a decimal number"),
        (["input=0.0000000001", "output=1"], "at most 9 decimals per 1000"),
        (["input=0.0000001", "output=1", "--per-million"], "at most 9 decimals per 1000"),
        (["input=1"], "output is missing"),
        (["input=1", "input=2", "output=1"], "input has two prices, 1 and 2"),
        (["tokens=1", "output=1"], "'tokens=1' is no price; expected one like input=0.011"),
        (["1", "2"], "'1' is no price"),
        (["input=1", "output=1", "--valid-until", "2026-02-01"], "is not after valid_from"),
        (["input=1", "output=1", "--valid-until", "soon"], "--valid-until: expected a date like 2026-02-01"),
        (
            ["input=1", "output=1", "--valid-from", "2026-02-01T10:00"],
            "--valid-from is 2026-02-01 10:00:00; add an offset",
        ),
        (["input=1", "output=1", "--currency", "RMB"], "Did you mean CNY?"),
        (["input=1", "output=1", "--source", " "], "--source is empty"),
        (["input=1", "output=1", "--provider", ""], "--provider is empty"),
        (["input=1", "output=1", "--hours", "always"], "are no hours"),
        (["input=1", "output=1", "--context-above", "-5"], "--context-above '-5' is no count"),
    ],
)
def test_a_line_that_can_not_be_is_refused_with_what_was_found(
    run: Run, books: Books, words: list[str], said: str
) -> None:
    ran = run("rates", "add", "large", *ACME, *SINCE, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(held(books)) == 1


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_line_that_is_there_is_not_added_again(run: Run, books: Books, options: tuple[str, ...]) -> None:
    added(run, "input=0.0025", "output=0.01", *SINCE)
    ran = added(run, "input=0.0025", "output=0.01", *SINCE, *options)
    assert (ran.code, ran.err) == (0, "")
    said = "acme/large from 2026-03-01 00:00Z is in the books already, with these prices, as line 2. It is left so."
    assert ran.lines == [said]
    told = json.loads(added(run, "input=0.0025", "output=0.01", *SINCE, *options, "--json").out)
    assert (told["added"], told["unchanged"], len(held(books))) == ([], 1, 2)


DOUBTFUL = ("input=2.5", "output=10", *SINCE)


def test_a_price_a_thousand_times_off_is_refused_where_nobody_can_be_asked(run: Run, books: Books, card: Path) -> None:
    ran = added(run, *DOUBTFUL)
    assert (ran.code, ran.out) == (2, "")
    assert "input is 2.5 USD per 1000, far above 1" in ran.err
    assert ran.err.endswith("2 prices look a thousand times off, so nothing was added. If right, insist: --yes\n")
    card.write_text(CARD.replace("0.0025", "2.5"))
    assert run("rates", "load", card).code == 2
    assert len(held(books)) == 1


def test_whoever_insists_has_it_added(run: Run, books: Books) -> None:
    assert added(run, *DOUBTFUL, "--yes").code == 0
    assert len(held(books)) == 2


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_whoever_is_there_is_asked(run: Run, books: Books, answer: Any, said: str, code: int) -> None:
    answer(said)
    ran = added(run, *DOUBTFUL)
    assert ran.code == code
    assert "2 prices look a thousand times off. Add the lines as they are?" in ran.err
    assert ran.err.endswith("Nothing was added.\n") == (code == 2)
    assert len(held(books)) == (2 if code == 0 else 1)


def test_of_very_many_doubtful_prices_only_the_first_are_printed(run: Run, books: Books, card: Path) -> None:
    head, line = CARD.split("\n\n", 1)
    many = (line.replace("large", f"m{n}").replace("0.0025", "2.5").replace("0.01", "10") for n in range(5))
    card.write_text("\n".join([head, *many]))
    said = "And 4 more: --dry-run --json names all."
    assert said in run("rates", "load", card).err
    ran = run("rates", "load", card, "--dry-run")
    assert (said in ran.out, ran.out.count("Is it the price of a million?")) == (True, 6)
    assert len(json.loads(run("rates", "load", card, "--dry-run", "--json").out)["suspicious"]) == 10


def test_a_dry_run_asks_nobody(run: Run, books: Books) -> None:
    ran = added(run, *DOUBTFUL, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert "Is it the price of a million?" in ran.out
    assert len(held(books)) == 1


def test_a_line_for_any_tier_that_a_newer_one_takes_the_standard_calls_from_is_named(
    run: Run, books: Books, card: Path
) -> None:
    added(run, "input=0.005", "output=0.02", *SINCE, "--tier", "*")
    later = ("input=0.002", "output=0.02", "--valid-from", "2026-11-01")
    (staying,) = json.loads(added(run, *later, "--dry-run", "--json").out)["staying"]
    assert (staying["line"]["id"], staying["beside"]["valid_from"]) == (2, "2026-11-01T00:00:00Z")
    for options in (("--dry-run",), ()):
        said = "From 2026-11-01 00:00Z on line 2, acme/large (any service tier)"
        assert any(line.startswith(said) for line in added(run, *later, *options).lines)


def test_a_newer_line_that_replaces_those_with_conditions_says_so(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    added(run, "input=0.005", "output=0.02", *SINCE, "--context-above", "200000")
    later = ("input=0.002", "output=0.02", "--valid-from", "2026-11-01")
    (replaced,) = json.loads(added(run, *later, "--dry-run", "--json").out)["replaced"]
    assert (replaced["line"]["id"], replaced["by"]["valid_from"]) == (3, "2026-11-01T00:00:00Z")
    for options in (("--dry-run",), ()):
        said = "From 2026-11-01 00:00Z on line 3, acme/large (above 200,000 input tokens)"
        assert any(line.startswith(said) for line in added(run, *later, *options).lines)


def test_withdrawn_lines_stay_in_the_books_with_who_and_why(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    books.deliver(*large(1))
    before = edition(books)
    lines = run("rates", "withdraw", 2, "--why", "typed wrong").lines
    assert lines[0] == "Withdrew line 2, acme/large from 2026-03-01 00:00Z."
    assert "It touches 1 call in the books" in lines[1]
    assert lines[2] == f"They {BY_HAND}"
    assert lines[-1].startswith("No other line stands in its place for calls of acme/large that begin now.")
    row = held(books)[-1]
    assert (row["withdrawn_by"], row["withdrawn_why"]) == (whoami(), "typed wrong")
    assert edition(books) == before + 1
    words = shlex.split(lines[3])
    assert run(*words[1:], "--yes").code == 0
    assert [call["rate_id"] for call in books.rows(calls)] == [0]


@pytest.mark.parametrize("words", [("withdraw", "1", "7"), ("withdraw", "9"), ("end", "9", "--at", "2026-12-01")])
def test_a_line_that_is_not_there_is_named_and_nothing_changes(run: Run, books: Books, words: tuple[str, ...]) -> None:
    ran = run("rates", *words, "--why", "wrong")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no rate" in ran.err
    assert held(books)[0]["withdrawn_at"] is None


@pytest.mark.parametrize("words", [("withdraw", "1"), ("end", "1", "--at", "2026-12-01")])
def test_a_reason_is_asked_for(run: Run, books: Books, words: tuple[str, ...]) -> None:
    assert run("rates", *words).code == 2
    assert "--why is empty" in run("rates", *words, "--why", " ").err
    assert held(books)[0]["withdrawn_at"] is None


@pytest.mark.parametrize("words", [("withdraw", "1"), ("end", "1", "--at", "2026-11-20")])
def test_a_dry_run_withdraws_and_ends_nothing(run: Run, books: Books, words: tuple[str, ...]) -> None:
    books.deliver(made())
    before = held(books)
    ran = run("rates", *words, "--why", "wrong", "--dry-run")
    assert DRY in ran.out
    assert "It touches 1 call in the books" in ran.out
    assert "accounting rerate" not in ran.out
    assert held(books) == before


def test_a_line_that_ends_is_replaced_by_one_with_the_end(run: Run, books: Books, card: Path) -> None:
    run("rates", "load", card)
    lines = run("rates", "end", 2, "--at", "2026-12-01T00:00+08:00", "--why", "price change announced").lines
    assert lines == [
        "Line 2, acme/large from 2026-03-01 00:00Z, ends at 2026-11-30 16:00Z; line 3 says so in its place.",
        UNTOUCHED,
    ]
    old, new = held(books)[1:]
    assert (old["withdrawn_why"], old["withdrawn_by"]) == ("price change announced", whoami())
    assert (new["loaded_by"], new["loaded_why"]) == (whoami(), "price change announced")
    assert (new["withdrawn_at"], new["source"]) == (None, "price list of 2026-03-01")


def test_programs_read_what_changed(run: Run, books: Books, card: Path) -> None:
    books.deliver(*large(1))
    would = json.loads(run("rates", "load", card, "--dry-run", "--json").out)
    done = json.loads(run("rates", "load", card, "--json").out)
    assert [(each["dry_run"], each["added"][0]["id"]) for each in (would, done)] == [(True, None), (False, 2)]
    assert would["touched"] == done["touched"] == {
        "calls": 1, "unpriced": 1, "spent": {}, "models": [{"provider": "acme", "model": "large"}],
        "first": "2026-11-23T12:00:00Z", "at_most": True, "unrolled": 0,
    }  # fmt: skip
    line = json.loads(added(run, *DOUBTFUL[:2], "--valid-from", "2026-12-01", "--json", "--dry-run").out)
    assert [(one["class"], one["price"], one["than"]) for one in line["suspicious"]] == [
        ("input", "2.5", "0.0025"), ("output", "10", "0.01"),
    ]  # fmt: skip
    ended = json.loads(run("rates", "end", 2, "--at", "2026-11-01", "--why", "x", "--json").out)
    assert ([one["id"] for one in ended["added"]], [one["id"] for one in ended["withdrawn"]]) == ([3], [2])
    assert ended["without_rate_now"] == [{"provider": "acme", "model": "large"}]
    gone = json.loads(run("rates", "withdraw", 3, "--why", "x", "--json").out)
    assert ([one["id"] for one in gone["withdrawn"]], gone["added"]) == ([3], [])


def test_calls_that_come_in_while_a_question_stands_are_told_too(
    run: Run, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(run, "input=0.002", "output=0.01", *SINCE)

    def asked(*_: Any, **__: Any) -> bool:
        books.deliver(*large(1, 2))
        return True

    monkeypatch.setattr(rate_effects, "asks", lambda: True)
    monkeypatch.setattr("typer.confirm", asked)
    ran = added(run, "input=2", "output=10", "--valid-from", "2026-04-01")
    assert "It touches 2 calls in the books" in ran.out
