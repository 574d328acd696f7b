"""`accounting rates import`: what it says, what it asks, and what is in the books then."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accounting import ratebook, ratesheets
from accounting.cli import rate_effects
from accounting.rates import Rate
from accounting.store import reading
from tests.books import Books, made
from tests.cli.conftest import Run

SHEET = """provider,model,currency,valid_from,input,output,service_tier,source
acme,large,USD,2026-02-01,0.0025,0.01,,list
acme,large,USD,2026-02-01,0.00125,0.005,batch,list
acme,small,USD,2026-02-01,0.0005,0.002,,list
"""
CARD = """provider = "acme"
source = "list"

[[rate]]
model = "large"
valid_from = 2026-02-01
input = 0.0025
output = 0.01
"""


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    return written(tmp_path, "list.csv", SHEET)


def written(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def price_map(tmp_path: Path, **entries: Any) -> Path:
    return written(tmp_path, "map.json", json.dumps(entries))


def in_force(books: Books, provider: str = "acme") -> list[Rate]:
    with reading(books.engine) as conn:
        return [one.rate for one in ratebook.lines(conn, withdrawn=False) if one.rate.provider == provider]


def test_a_sheet_is_imported_and_the_same_once_more_is_nothing(run: Run, books: Books, sheet: Path) -> None:
    ran = run("rates", "import", sheet)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[0] == f"{sheet}: 3 lines for 2 models at 1 provider."
    assert ran.lines[-1] == "Imported: 3 added, 0 changed, 0 gone; 0 lines as before."
    assert ratesheets.write_csv(in_force(books)) == ratesheets.write_csv(ratesheets.read_csv(SHEET, "list.csv"))
    again = run("rates", "import", sheet)
    assert again.lines[-1] == "Nothing to import: 3 lines of the source in the books, as they are in it."
    assert len(in_force(books)) == 3


def test_a_dry_run_shows_the_difference_and_changes_nothing(run: Run, books: Books, sheet: Path) -> None:
    run("rates", "import", sheet)
    before = in_force(books)
    lines = SHEET.splitlines(keepends=True)
    other = [*lines[:2], "acme,large,USD,2026-02-01,0.002,0.005,batch,list\n", "acme,new,USD,2026-02-01,1,2,,list\n"]
    ran = run("rates", "import", written(sheet.parent, "list.csv", "".join(other)), "--dry-run")
    rows = [line.split() for line in ran.lines]
    assert ["acme", "1", "1"] in rows
    when = ["2026-02-01", "00:00:00", "UTC"]
    assert ["acme", "large", "batch", *when, "input", "0.00125", "USD", "0.002", "USD"] in rows
    assert ["acme", "small", "-", *when] in rows
    assert ran.lines[-1] == "A dry run, nothing was changed. To import: 1 added, 1 changed, 1 gone; 1 line as before."
    assert in_force(books) == before


def test_calls_that_were_delivered_a_moment_ago_are_touched_too(run: Run, books: Books, sheet: Path) -> None:
    books.deliver(made(provider="acme", request_model="large"))
    touched = json.loads(run("rates", "import", sheet, "--dry-run", "--json").out)["touched"]
    assert (touched["calls"], touched["unrolled"]) == (1, 0)


def test_the_difference_in_json_has_whole_lines(run: Run, books: Books, sheet: Path) -> None:
    run("rates", "import", sheet)
    ran = run("rates", "import", written(sheet.parent, "list.csv", SHEET.replace("0.002,,", "0.003,,")), "--json")
    found = json.loads(ran.out)
    assert (found["imported"], found["added"], found["gone"], found["kept"]) == (True, [], [], 2)
    (change,) = found["changed"]
    assert change["from"] == "2026-02-01T00:00:00Z"
    assert (change["was"]["output_per_1k"], change["now"]["output_per_1k"]) == ("0.002", "0.003")
    assert change["now"] | {"model": "small", "valid_until": None, "hours": None, "source": "list"} == change["now"]


def test_who_withdrew_a_line_and_why_is_kept(run: Run, books: Books, sheet: Path) -> None:
    run("rates", "import", sheet)
    run("rates", "import", written(sheet.parent, "list.csv", SHEET.replace("0.002,,", "0.003,,")), "--why", "a typo")
    with reading(books.engine) as conn:
        (line,) = [one for one in ratebook.lines(conn, withdrawn=True) if one.withdrawn_at]
    assert (line.rate.model, line.withdrawn_why) == ("small", f"Import of {sheet}: a typo")
    assert line.withdrawn_by


def test_litellms_map_is_imported_with_what_was_left_out_counted(run: Run, books: Books, tmp_path: Path) -> None:
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    file = price_map(
        tmp_path,
        **{"acme/large": {**tokens, "input_cost_per_token_batches": 1.25e-06, "input_cost_per_pixel": 1}},
        **{"acme/odd": {**tokens, "input_cost_per_token": 1.00000000000001e-06}},
    )
    ran = run("rates", "import", file)
    rows = [line.split() for line in ran.lines]
    assert ["input_cost_per_pixel", "1", "acme/large"] in [[row[0], *row[-2:]] for row in rows if row]
    assert "input is 0.00100000000000001; expected at most 9 decimals" in ran.out
    assert "gives no date are taken to hold since 2020-01-01" in ran.out
    assert ran.lines[-1].startswith("Imported: 2 added")
    assert [(rate.model, rate.service_tier) for rate in in_force(books)] == [("large", ""), ("large", "batch")]
    left = json.loads(run("rates", "import", file, "--json").out)["left_out"]
    assert [(one["model"], one["price"]) for one in left] == [("large", "input_cost_per_pixel"), ("odd", None)]


def test_a_size_that_is_gone_is_told_with_what_such_calls_cost_now(run: Run, books: Books, tmp_path: Path) -> None:
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    run("rates", "import", price_map(tmp_path, large={**tokens, "input_cost_per_token_above_200k_tokens": 5e-06}))
    ran = run("rates", "import", price_map(tmp_path, large=tokens), "--dry-run")
    (row,) = [line for line in ran.lines if "above 200,000 input tokens" in line]
    assert row.split()[-8:] == ["input", "0.005", "USD", "0.0025", "USD,", "as", "any", "call"]


def test_a_price_that_somebody_insisted_on_is_not_asked_about_as_it_ends(run: Run, books: Books, sheet: Path) -> None:
    written(sheet.parent, "list.csv", SHEET.replace("0.0025,0.01", "2.5,10"))
    run("rates", "import", sheet, "--yes")
    ran = run(
        "rates",
        "import",
        written(sheet.parent, "list.csv", SHEET.split("acme")[0] + "acme,small,USD,2026-02-01,0.0005,0.002,,list\n"),
    )
    assert "a thousand times off" not in ran.err


def test_only_the_providers_and_models_that_are_named_are_imported(run: Run, books: Books, sheet: Path) -> None:
    run("rates", "import", sheet, "--provider", "acme", "--model", "s*")
    assert [rate.model for rate in in_force(books)] == ["small"]
    assert run("rates", "import", sheet, "--provider", "a*", "--model", "small").lines[-1].startswith("Nothing")
    assert [rate.model for rate in in_force(books)] == ["small"]


def test_a_name_that_the_source_does_not_have_is_refused_with_those_near_it(
    run: Run, books: Books, sheet: Path
) -> None:
    ran = run("rates", "import", sheet, "--provider", "acme", "--provider", "acne")
    assert (ran.code, "--provider 'acne' is none that the source names. Near it: acme." in ran.err) == (2, True)
    ran = run("rates", "import", sheet, "--provider", "ac*", "--model", "smal")
    assert (ran.code, "--model 'smal' is none that the source names. Near it: small." in ran.err) == (2, True)
    assert in_force(books) == []


def test_what_is_gone_from_the_source_may_be_named(run: Run, books: Books, sheet: Path) -> None:
    run("rates", "import", sheet)
    written(sheet.parent, "list.csv", "".join(SHEET.splitlines(keepends=True)[:3]))
    assert run("rates", "import", sheet, "--model", "small", "--yes").lines[-1].startswith("Imported: 0 added")


def test_a_hand_made_line_wins_over_a_price_list_and_is_named(run: Run, books: Books, tmp_path: Path) -> None:
    books.load(CARD.replace("list", "contract").replace("source", 'currency = "EUR"\nsource'))
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    file = price_map(tmp_path, large={**tokens, "input_cost_per_token_batches": 1.25e-06}, small=tokens)
    ran = run("rates", "import", file)
    assert ["contract", "1", "acme/large"] in [line.split() for line in ran.lines]
    assert [(rate.model, rate.service_tier, rate.source) for rate in in_force(books)] == [
        ("large", "", "contract"),
        ("large", "batch", "litellm"),
        ("small", "", "litellm"),
    ]


def test_a_suppliers_next_price_list_takes_over_though_its_source_bears_another_date(
    run: Run, books: Books, tmp_path: Path
) -> None:
    first, second = CARD.replace("source", 'currency = "EUR"\nsource'), "price list of 2026-11-20"
    run("rates", "import", written(tmp_path, "d1.toml", first))
    newer = first.replace('"list"', f'"{second}"').replace("2026-02-01", "2026-11-20").replace("0.01", "0.02")
    assert run("rates", "import", written(tmp_path, "d2.toml", newer)).lines[-1].startswith("Imported: 1 added")
    assert [rate.source for rate in in_force(books)] == ["list", second]


def test_a_pattern_of_another_source_is_named_where_a_list_goes_before_it(
    run: Run, books: Books, tmp_path: Path
) -> None:
    books.load(CARD.replace("source", 'currency = "EUR"\nsource').replace("large", "*").replace("list", "contract"))
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    ran = run("rates", "import", price_map(tmp_path, large=tokens), "--yes")
    assert ran.lines[-1].startswith("Imported: 1 added")
    title = "No more priced by another source's line for more models"
    assert ran.lines[ran.lines.index(title) + 1].split() == ["source", "models", "such_as"]
    assert ["contract", "1", "acme/large"] in [row.split() for row in ran.lines]


def test_prices_that_look_a_thousand_times_off_are_imported_only_where_somebody_insists(
    run: Run, books: Books, sheet: Path
) -> None:
    written(sheet.parent, "list.csv", SHEET.replace("0.0025,0.01", "2.5,10"))
    ran = run("rates", "import", sheet)
    assert ran.code == 2
    assert "input is 2.5 USD per 1000, far above" in ran.err
    assert ran.err.endswith("If right, insist: --yes\n")
    assert in_force(books) == []
    assert run("rates", "import", sheet, "--yes").code == 0
    assert len(in_force(books)) == 3


def card(tmp_path: Path, provider: str, *models: str) -> Path:
    head, _, rate = (
        CARD.replace("acme", provider)
        .replace('source = "list"', 'source = "list"\ncurrency = "USD"')
        .partition("[[rate]]")
    )
    rates = "".join(f"[[rate]]{rate}".replace("large", model) for model in models)
    return written(tmp_path, f"{provider}.toml", head + rates)


def test_a_card_ends_no_line_of_another_provider_whose_source_has_the_same_name(
    run: Run, books: Books, tmp_path: Path
) -> None:
    one, other = card(tmp_path, "acme", "large"), card(tmp_path, "beta", "large")
    run("rates", "load", one, other)
    assert run("rates", "import", one).lines[-1].startswith("Nothing to import: 1 line")
    assert [rate.period.end for rate in in_force(books, "beta")] == [None]


def test_lines_end_only_where_somebody_insists(run: Run, books: Books, tmp_path: Path) -> None:
    run("rates", "import", card(tmp_path, "acme", "large", "small"))
    shorter = card(tmp_path, "acme", "large")
    ran = run("rates", "import", shorter)
    assert ran.code == 2
    assert "acme/small from 2026-02-01 00:00Z would end." in ran.err
    assert "1 line of the source is not in it any more, so nothing was imported." in ran.err
    assert [rate.period.end for rate in in_force(books)] == [None, None]
    assert run("rates", "import", shorter, "--yes").lines[-1].endswith("1 gone; 1 line as before.")


def test_a_line_that_somebody_withdrew_is_not_imported_again_and_named(run: Run, books: Books, tmp_path: Path) -> None:
    file = card(tmp_path, "acme", "large")
    run("rates", "import", file)
    (line,) = in_force(books)
    run("rates", "withdraw", line.id, "--why", "not ours")
    ran = run("rates", "import", file)
    assert any(row.split()[:4] == ["acme", "large", "-", str(line.id)] and "not ours" in row for row in ran.lines)
    assert in_force(books) == []
    (told,) = json.loads(run("rates", "import", file, "--json").out)["refused"]
    assert (told["line"]["model"], told["withdrawn"]["id"], told["withdrawn"]["why"]) == ("large", line.id, "not ours")


def test_a_currency_is_given_where_a_file_has_none(run: Run, books: Books, tmp_path: Path) -> None:
    card = written(tmp_path, "card.toml", CARD)
    assert "currency is missing" in run("rates", "import", card).err
    assert run("rates", "import", card, "--currency", "CNY").code == 0
    sheet = written(tmp_path, "sheet.csv", "provider,model,valid_from,input,output\nbeta,m,2026-02-01,0.001,0.002\n")
    assert run("rates", "import", sheet, "--currency", "EUR").code == 0
    assert [rate.currency for rate in (*in_force(books), *in_force(books, "beta"))] == ["CNY", "EUR"]


def test_the_form_is_named_where_the_files_name_does_not_tell(run: Run, books: Books, tmp_path: Path) -> None:
    file = written(tmp_path, "prices.txt", SHEET)
    assert "--format litellm|csv|toml" in run("rates", "import", file).err
    assert "expected genai-prices, litellm, csv, toml" in run("rates", "import", file, "--format", "xls").err
    assert run("rates", "import", file, "--format", "csv").code == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.csv", SHEET + "acme,x,USD,2026-02-01,cheap,1,,list\n", "line 5 (x): input: 'cheap'"),
        ("bad.toml", CARD, "currency is missing"),
        ("bad.json", "{", "bad.json is no JSON"),
        ("none.csv", None, "none.csv: No such file"),
    ],
)
def test_a_bad_file_is_refused_and_loses_nothing_that_was_there(
    run: Run, books: Books, sheet: Path, name: str, text: str | None, said: str
) -> None:
    run("rates", "import", sheet)
    before = in_force(books)
    if text is not None:
        written(sheet.parent, name, text)
    ran = run("rates", "import", sheet.parent / name)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert in_force(books) == before


def test_it_says_which_calls_in_the_books_it_is_about(run: Run, books: Books, sheet: Path) -> None:
    books.deliver(made(provider="acme", request_model="large"))
    books.roll()
    ran = run("rates", "import", sheet, "--dry-run")
    assert "1 call in the books" in ran.out
    assert "accounting rerate" in ran.out


def test_the_library_of_prices_is_imported_whole(run: Run, books: Books) -> None:
    ran = run("rates", "import", "genai-prices", "--yes", "--json")
    assert ran.code == 0
    assert len(json.loads(ran.out)["added"]) > 5000
    assert run("rates", "import", "genai-prices").lines[-1].startswith("Nothing to import")
    assert "leave out --currency" in run("rates", "import", "genai-prices", "--currency", "EUR").err


def test_prices_of_too_many_decimals_are_taken_rounded_where_somebody_says_so(
    run: Run, books: Books, tmp_path: Path
) -> None:
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
    file = price_map(tmp_path, **{"acme/fine": {**tokens, "cache_read_input_token_cost": 8.333333333333334e-08}})
    assert "--round" in run("rates", "import", file).out
    assert in_force(books) == []
    ran = run("rates", "import", file, "--round")
    row = ["acme", "fine", "-", "cache_read", "0.00008333333333333334", "0.000083333", "USD", "-0.0004", "%"]
    assert row in [line.split() for line in ran.lines]
    assert ran.lines[-2:] == [
        "1 price of 1 list rounded to 9 decimals per 1000.",
        "Imported: 1 added, 0 changed, 0 gone; 0 lines as before.",
    ]
    assert [str(rate.cache_read_per_1k) for rate in in_force(books)] == ["0.000083333"]
    assert run("rates", "import", file, "--round").lines[-1].startswith("Nothing to import: 1 line")
    assert run("rates", "import", file).lines[-1].startswith("Nothing to import")
    (told,) = json.loads(run("rates", "import", file, "--round", "--json").out)["rounded"]
    assert (told["line"]["model"], told["price"], told["stated"], told["taken"], told["off"]) == (
        *("fine", "cache_read", "0.00008333333333333334", "0.000083333", "-0.000004"),
    )


def test_the_prices_of_a_file_of_ones_own_are_not_rounded(run: Run, books: Books, sheet: Path) -> None:
    ran = run("rates", "import", sheet, "--round")
    assert (ran.code, in_force(books)) == (2, [])
    assert "leave out --round" in ran.err


def test_an_import_holds_from_when_somebody_agreed_to_it(
    run: Run, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {"litellm_provider": "acme", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05}
    run("rates", "import", price_map(tmp_path, **{"acme/large": tokens}))
    agreed: list[datetime] = []

    def asked(*_: Any, **__: Any) -> bool:
        agreed.append(datetime.now(UTC))
        return True

    monkeypatch.setattr(rate_effects, "asks", lambda: True)
    monkeypatch.setattr("typer.confirm", asked)
    file = price_map(
        tmp_path, **{"acme/large": {**tokens, "input_cost_per_token": 2e-03, "output_cost_per_token": 1e-2}}
    )
    assert run("rates", "import", file).code == 0
    _, new = sorted(in_force(books), key=lambda rate: rate.valid_from)
    assert agreed[0] < new.valid_from
