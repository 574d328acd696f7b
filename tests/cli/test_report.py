import json
from dataclasses import replace
from decimal import Decimal

from accounting.money import Money
from accounting.usage import Outcome, Usage, UsageSource
from tests.books import Books, at, made, used
from tests.cli.conftest import Run

MORNING = at("2026-03-23 10:58:12")
UNSEEN = Usage()


def test_a_call_delivered_a_moment_ago_is_on_the_report(run: Run, books: Books) -> None:
    books.deliver(made(MORNING))
    ran = run("report", "--month", "2026-03")
    assert ran.code == 0
    assert ran.lines[0] == "Spend by project, from 2026-03-01 to 2026-03-31 (UTC)"
    assert ran.lines[2].split()[:3] == ["project", "calls", "failed"]
    assert ran.lines[3].split()[:2] == ["checkout", "1"]
    assert ran.lines[3].split()[-1] == "0.018"
    assert ran.lines[4].split()[0] == "total"


def test_the_total_names_what_its_cost_does_not_cover(run: Run, books: Books) -> None:
    books.deliver(
        made(MORNING, 1),
        made(MORNING, 2, outcome=Outcome.FAILED, usage=UNSEEN, http_status=500),
        made(MORNING, 3, outcome=Outcome.INTERRUPTED, usage=UNSEEN),
        made(MORNING, 4, outcome=Outcome.UNKNOWN, usage=UNSEEN, http_status=None),
        made(MORNING, 5, request_model="glm-9"),
        still_open=2,
        now=MORNING,
    )
    text = run("report", "--month", "2026-03").out
    assert "5 calls: 1 failed, 1 interrupted, 1 unknown." in text
    assert "Tokens: 2,000 input (cache: 0 read, 0 written), 400 output (0 reasoning)." in text
    assert "Cost: 0.018 CNY; not in it: 1 unpriced, 2 without usage." in text
    assert "Open calls: 2. Complete until 2026-03-23 10:58:12 UTC." in text


def test_models_without_a_rate_are_named_with_the_way_to_one(run: Run, books: Books) -> None:
    local = [made(MORNING, number, provider="127.0.0.1:18765", request_model="gpt-x") for number in range(12)]
    books.deliver(*local)
    hint = "Without a rate: 127.0.0.1:18765/gpt-x (12 calls). Add one: accounting rates load FILE"
    assert hint in run("report", "--month", "2026-03").lines
    found = json.loads(run("report", "--month", "2026-03", "--json").out)["unpriced_models"]
    assert found == [{"provider": "127.0.0.1:18765", "model": "gpt-x", "calls": 12, "has_rate": False}]
    assert "Without a rate" not in run("report", "--month", "2026-02").out


def test_of_many_models_without_a_rate_three_are_named_and_the_rest_counted(run: Run, books: Books) -> None:
    books.deliver(*(made(MORNING, number, request_model=f"m{number}") for number in range(5)))
    hint = "Without a rate: wcode/m0 (1 call), wcode/m1 (1 call), wcode/m2 (1 call) and 2 more. Add one: "
    assert hint in run("report", "--month", "2026-03").out


def test_json_carries_lines_under_their_grouping_totals_and_completeness(run: Run, books: Books) -> None:
    books.deliver(made(MORNING), still_open=1, now=MORNING)
    found = json.loads(run("report", "--by", "model", "-s", "20260301", "-u", "2026-03-31", "--json").out)
    line = found["model"][0]
    assert line["model"] == "z-ai/glm-5"
    assert line["spent"] == {"CNY": "0.018"}
    assert line["total_tokens"] == 1200
    assert found["totals"]["calls"] == 1
    assert found["totals"]["spent"] == {"CNY": "0.018"}
    assert (found["since"], found["until"], found["zone"]) == ("2026-03-01", "2026-03-31", "UTC")
    assert found["open_calls"] == 1
    assert found["complete_until"] == "2026-03-23T10:58:12Z"


def test_every_grouping_has_the_same_total(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, 1), made(MORNING, 2, project="search", effort="high", request_model="glm-9"))
    totals = [
        json.loads(run("report", "--by", by, "--month", "2026-03", "--json").out)["totals"]
        for by in ("key", "project", "model", "provider", "day", "month", "effort")
    ]
    assert all(total == totals[0] for total in totals)
    assert totals[0]["calls"] == 2


def test_a_zone_moves_a_call_to_its_own_day(run: Run, books: Books) -> None:
    books.deliver(made(at("2026-03-22 20:00:00")))
    assert run("report", "--by", "day", "--month", "2026-03").lines[3].startswith("2026-03-22")
    ran = run("report", "--by", "day", "--month", "2026-03", "--tz", "Asia/Shanghai")
    assert ran.lines[0].endswith("(Asia/Shanghai)")
    assert ran.lines[3].startswith("2026-03-23")


def test_without_days_the_report_is_of_the_current_month(run: Run, books: Books) -> None:
    books.deliver(made(at("2025-01-05 00:00:00")))
    ran = run("report")
    assert "0 calls" in ran.out
    assert "2025-01" not in ran.out.partition("Open calls")[0]


def test_since_and_until_are_included(run: Run, books: Books) -> None:
    books.deliver(*(made(at(f"2026-03-0{day} 12:00"), day) for day in (1, 2, 3, 4)))
    found = json.loads(run("report", "--by", "day", "--since", "2026-03-02", "--until", "20260303", "-j").out)
    assert [line["day"] for line in found["day"]] == ["2026-03-02", "2026-03-03"]


def test_a_wrong_option_is_answered_with_what_was_expected(run: Run, books: Books) -> None:
    books.deliver(made(MORNING))
    for args, said in {
        ("--by", "colour"): "expected one of key, project, model",
        ("--since", "yesterday"): "expected YYYY-MM-DD",
        ("--month", "November"): "expected YYYY-MM",
        ("--month", "9999-12"): "out of range",
        ("--until", "9999-12-31"): "out of range",
        ("--since", "2026-03-02", "--until", "2026-03-01"): "exchange them",
        ("--month", "2026-03", "--since", "2026-03-02"): "leave out",
        ("--tz", "Mars/Olympus"): "expected an IANA name",
    }.items():
        ran = run("report", *args)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
        assert "Traceback" not in ran.err


def test_without_a_store_the_url_is_named(run: Run, store: str) -> None:
    for command in ("report", "calls", "verify", "rollup"):
        ran = run(command)
        assert (ran.code, ran.out) == (2, "")
        assert store in ran.err


def test_calls_are_listed_newest_first_with_their_cost(run: Run, books: Books) -> None:
    books.deliver(made(at("2026-03-22 10:00:00"), 1), made(at("2026-03-23 10:00:00"), 2, project="search"))
    heading, *rows = [line.split() for line in run("calls").lines[2:]]
    assert [row[:3] for row in rows] == [["2026-03-23", "10:00:00", "search"], ["2026-03-22", "10:00:00", "checkout"]]
    assert heading[-3:] == ["cost_CNY", "notes", "id"]
    assert rows[0][-3:-1] == ["0.018", "-"]


def test_a_call_says_why_it_has_no_cost(run: Run, books: Books) -> None:
    odd = Usage(input_tokens=1, output_tokens=1, source=UsageSource.PARTIAL, anomalies=("hidden_output",))
    books.deliver(made(MORNING, 1, usage=UNSEEN), made(MORNING, 2, request_model="glm-9"), made(MORNING, 3, usage=odd))
    text = run("calls").out
    assert "partial usage, hidden_output" in text
    assert "unpriced" in text
    assert "no usage" in text


def test_calls_can_be_chosen_and_paged(run: Run, books: Books) -> None:
    books.deliver(*(made(MORNING, n, project=("search", "checkout")[n % 2]) for n in range(1, 7)))
    first = json.loads(run("calls", "--project", "search", "--limit", 2, "--json").out)
    rest = json.loads(run("calls", "--project", "search", "--before", first["next"], "--json").out)
    ids = [one["id"] for one in (*first["calls"], *rest["calls"])]
    assert len(set(ids)) == 3
    assert ids == sorted(ids, reverse=True)
    assert rest["next"] is None


def test_a_call_in_json_has_its_cost_and_the_providers_as_text(run: Run, books: Books) -> None:
    stated = Money(Decimal("0.00100"), "USD")
    usage = replace(used(1000, 200), provider_cost=stated)
    books.deliver(made(MORNING, usage=usage))
    one = json.loads(run("calls", "--json").out)["calls"][0]
    assert (one["cost"], one["currency"]) == ("0.018", "CNY")
    assert (one["provider_cost"], one["provider_cost_currency"]) == ("0.001", "USD")
    assert one["started_at"] == "2026-03-23T10:58:12Z"
    assert one["input_tokens"] == 1000
