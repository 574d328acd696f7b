import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from accounting.money import Money
from accounting.usage import Call
from tests.books import Books, at, made, used
from tests.cli.conftest import Run

MORNING = at("2026-03-23 10:58:12")
OF_BOTH = ("ours", "stated", "difference", "explained", "unexplained", "share_explained")
COMPARE = ("report", "--compare-provider", "--month", "2026-03")


def stating(number: int, cost: str, currency: str = "CNY", block: str | None = None, **changes: Any) -> Call:
    """Of 0.018 CNY by the shipped rate, if nothing else is said."""
    usage = used(1000, 200)._replace(provider_cost=Money(Decimal(cost), currency), block=block)
    return made(MORNING, number, usage=usage, **changes)


@pytest.fixture
def stated(books: Books) -> Books:
    books.deliver(
        stating(1, "0.018"),
        stating(2, "0.001", block='{"is_byok":true,"cost_details":{"upstream_inference_cost":0.018}}'),
        stating(3, "0.019"),
        stating(4, "0.5", request_model="nobody/knows"),
        stating(5, "0.01", "USD"),
        made(MORNING, 6),
    )
    return books


def test_each_model_has_ours_and_theirs_and_what_is_explained(run: Run, stated: Books) -> None:
    lines = run(*COMPARE).lines
    assert lines[0] == "Costs as providers state them beside ours, by model, from 2026-03-01 to 2026-03-31 (UTC)"
    heading, *rows = (line.split() for line in lines[2:6])
    words = "model provider calls equal not_compared currency ours stated difference explained unexplained"
    assert heading == [*words.split(), "share_explained"]
    assert rows == [
        ["z-ai/glm-5", "wcode", "3", "1", "0", "CNY", *["0.054", "0.038", "-0.016", "0.017", "0.001", "94.4", "%"]],
        ["nobody/knows", "wcode", "1", "0", "1", "CNY", *"------"],
        ["z-ai/glm-5", "wcode", "1", "0", "1", "USD", *"------"],
    ]


def test_the_totals_are_in_words_each_reason_with_its_meaning(run: Run, stated: Books) -> None:
    lines = run(*COMPARE).lines
    assert (
        "CNY: 3 calls cost 0.054 by our rates and 0.038 as stated, a difference of -0.016; 94.4 % of what differs is "
        "explained, 0.001 is not."
    ) in lines
    assert "USD: no call to compare." in lines
    assert any(line.startswith("  byok: 1 call, -0.017. The caller brought a key of its own") for line in lines)
    assert any(line.startswith("  higher: 1 call, +0.001. They ask for more, and nobody knows why.") for line in lines)
    assert any(line.startswith("  Not compared: 1 call stated as 0.5 CNY. We have no rate") for line in lines)
    assert any(line.startswith("  Not compared: 1 call stated as 0.01 USD. Our rate is in another") for line in lines)
    assert any(line.startswith("Of 6 calls, sub-calls among them, 5 have a stated cost.") for line in lines)
    assert "Open calls: 0. Complete until 2026-11-23 12:00:00 UTC." in lines


def test_what_evens_out_is_not_said_to_be_equal(run: Run, books: Books) -> None:
    books.deliver(stating(1, "0.0180000000000000001"), stating(2, "0.0179999999999999999"))
    lines = run(*COMPARE).lines
    assert (
        "CNY: 2 calls cost 0.036 by our rates and 0.036 as stated, a difference of 0; what some calls differ by evens "
        "out."
    ) in lines
    assert any(line.startswith("  rounding: 2 calls, 0. No more than") and "even out" in line for line in lines)


def test_where_all_are_equal_nothing_differs(run: Run, books: Books) -> None:
    books.deliver(stating(1, "0.018"), stating(2, "0.5", request_model="nobody/knows"))
    (said,) = (line for line in run(*COMPARE).lines if line.startswith("CNY: 1 call "))
    assert said.endswith("; nothing differs.")


def test_json_has_every_reason_and_each_currency_by_itself(run: Run, stated: Books) -> None:
    found = json.loads(run(*COMPARE, "--json").out)
    assert found["model"][0] == {
        "model": "z-ai/glm-5",
        "provider": "wcode",
        "currency": "CNY",
        "calls": 3,
        "compared": 3,
        "ours": "0.054",
        "stated": "0.038",
        "difference": "-0.016",
        "explained": "0.017",
        "unexplained": "0.001",
        "share_explained": "0.944",
        "by_reason": {
            "equal": {"calls": 1},
            "byok": {"calls": 1, "difference": "-0.017"},
            "higher": {"calls": 1, "difference": "0.001"},
        },
    }
    assert [(total["currency"], total["calls"], total["compared"]) for total in found["totals"]] == [
        ("CNY", 4, 3),
        ("USD", 1, 0),
    ]
    assert found["totals"][1]["by_reason"] == {"other_currency": {"calls": 1, "stated": "0.01"}}
    for one in (*found["model"][1:], found["totals"][1]):
        assert (one["compared"], *(one[name] for name in OF_BOTH)) == (0, *[None] * len(OF_BOTH))
    assert (found["calls"], found["since"], found["zone"]) == (6, "2026-03-01", "UTC")


def test_csv_has_a_column_for_each_reason_and_the_totals_beside(run: Run, stated: Books) -> None:
    ran = run(*COMPARE, "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["model"], row["currency"], row["byok_difference"], row["unpriced_stated"]) for row in rows] == [
        ("z-ai/glm-5", "CNY", "-0.017", "0"),
        ("nobody/knows", "CNY", "0", "0.5"),
        ("z-ai/glm-5", "USD", "0", "0"),
    ]
    assert [[row[name] for name in OF_BOTH] for row in rows[1:]] == [[""] * len(OF_BOTH)] * 2
    assert "CNY: 3 calls cost 0.054" in ran.err


def test_the_calls_of_a_kind_are_listed(run: Run, stated: Books) -> None:
    found = json.loads(run("calls", "--stated", "higher", "--json").out)["calls"]
    assert [(one["provider_cost"], one["cost"], one["stated_as"]) for one in found] == [("0.019", "0.018", "higher")]
    every = json.loads(run("calls", "--json").out)["calls"]
    assert sorted(one["stated_as"] or "" for one in every) == sorted(
        ["", "equal", "byok", "higher", "unpriced", "other_currency"]
    )
    assert run("calls", "--stated", "dearer").code == 2


def test_where_no_provider_states_anything_it_says_so(run: Run, books: Books) -> None:
    books.deliver(made(MORNING))
    assert "No provider stated a cost for any of 1 call." in run(*COMPARE).lines
    assert json.loads(run(*COMPARE, "-j").out)["model"] == []


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (("--by", "project"), "--compare-provider is by model; leave out --by project."),
        (("--tz", "Asia/Tokyo"), "leave out --tz"),
        (("--currency", "CNY"), "leave out --currency"),
        (("--key", "a1b2"), "leave out --key"),
    ],
)
def test_what_these_sums_are_not_kept_by_is_refused(
    run: Run, books: Books, asked: tuple[str, str], refused: str
) -> None:
    books.deliver(made(MORNING))
    ran = run(*COMPARE, *asked)
    assert ran.code != 0
    assert refused in ran.err


def test_by_model_is_what_it_is(run: Run, stated: Books) -> None:
    assert run(*COMPARE, "--by", "model").out == run(*COMPARE).out
