import csv
import io
import json
from decimal import Decimal

import pytest

from accounting.money import Money
from accounting.usage import COUNTED, Outcome, Usage, UsageSource
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


def test_a_terminal_shows_no_progress_where_there_is_nothing_to_roll_up(
    run: Run, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    books.deliver(made(MORNING))
    assert "Rolling up" in run("report").err
    assert run("report").err == ""


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
    usage = used(1000, 200)._replace(provider_cost=stated)
    books.deliver(made(MORNING, usage=usage))
    one = json.loads(run("calls", "--json").out)["calls"][0]
    assert (one["cost"], one["currency"]) == ("0.018", "CNY")
    assert (one["provider_cost"], one["provider_cost_currency"]) == ("0.001", "USD")
    assert one["started_at"] == "2026-03-23T10:58:12Z"
    assert one["input_tokens"] == 1000


FEATURES: tuple[dict[str, str], ...] = ({"feature": "rerank"}, {"feature": "=1+1"}, {})


def features(books: Books) -> None:
    books.deliver(*(made(MORNING, number, tags=tags, user="u-1") for number, tags in enumerate(FEATURES)))


def test_spend_is_reported_by_tag_and_by_user(run: Run, books: Books) -> None:
    features(books)
    lines = run("report", "--by", "tag:feature", "--month", "2026-03").lines
    assert lines[2].split()[:2] == ["tag:feature", "calls"]
    assert sorted(line.split()[0] for line in lines[3:6]) == ["(untagged)", "=1+1", "rerank"]
    assert run("report", "--by", "user", "--month", "2026-03").lines[3].split()[:2] == ["u-1", "3"]


@pytest.mark.parametrize(("by", "option"), [("tag:feature", "--tag=feature={id}"), ("user", "--user={id}")])
def test_the_calls_of_a_line_of_a_report_can_be_listed(run: Run, books: Books, by: str, option: str) -> None:
    features(books)
    books.deliver(made(MORNING, 8, tags={"feature": ""}), made(MORNING, 9, tags={"feature": "x"}, user="="))
    lines = json.loads(run("report", "--by", by, "--month", "2026-03", "--json").out)[by]
    some = [line for line in lines if line[by] not in ("(untagged)", "(no user)")]
    found = {line[by]: run("calls", option.format(id=line["id"]), "--csv").out.count("\r\n") - 1 for line in some}
    assert found == {line[by]: line["calls"] for line in some}
    assert found == ({"rerank": 1, "=1+1": 1, "(empty)": 1, "x": 1} if by != "user" else {"u-1": 3, "=": 1})


def test_a_heading_in_a_pipe_has_the_tag_s_own_name(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, tags={"fea ture": "a"}))
    assert run("report", "--by", "tag:fea ture", "--month", "2026-03").lines[2].startswith("tag:fea ture  calls  ")


def test_a_tag_nobody_has_used_is_answered_with_the_known_ones(run: Run, books: Books) -> None:
    empty = run("report", "--by", "tag:team", "--month", "2026-03")
    assert "No call has a tag yet." in empty.out
    features(books)
    text = run("report", "--by", "tag:team", "--month", "2026-03").out
    assert "Nobody has used the tag team, so all calls are untagged. Known tags: feature." in text
    assert "Known tags" not in run("report", "--by", "tag:feature", "--month", "2026-02").out
    found = json.loads(run("report", "--by", "tag:team", "--month", "2026-03", "--json").out)
    assert [(line["tag:team"], line["id"], line["calls"]) for line in found["tag:team"]] == [("(untagged)", "", 3)]
    assert found["known_tags"] == ["feature"]


def test_a_report_of_some_projects_says_so(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, 1), made(MORNING, 2, project="search"), made(MORNING, 3, project="index"))
    ran = run("report", "--month", "2026-03", "-p", "search", "--project", "index", "--key", "a1b2")
    heading = "Spend by project of project search and index, key a1b2, from 2026-03-01 to 2026-03-31 (UTC)"
    assert ran.lines[0] == heading
    assert [line.split()[:2] for line in ran.lines[3:6]] == [["index", "1"], ["search", "1"], ["total", "2"]]
    found = json.loads(run("report", "--month", "2026-03", "-p", "search", "--json").out)
    assert (found["projects"], found["keys"], found["totals"]["calls"]) == (["search"], [], 1)


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_report_in_csv_has_a_row_for_each_line_and_the_total_beside_it(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, 1), made(MORNING, 2, request_model="glm-9", usage=used(5, 1)), now=MORNING)
    ran = run("report", "--by", "model", "--month", "2026-03", "--csv")
    assert ran.out == (
        "model,id,calls,failed,interrupted,unknown,usage_missing,usage_partial,unpriced,input_tokens,"
        "cache_read_tokens,cache_write_tokens,output_tokens,reasoning_tokens,total_tokens,spent_CNY\r\n"
        "z-ai/glm-5,z-ai/glm-5,1,0,0,0,0,0,0,1000,0,0,200,0,1200,0.018\r\n"
        "glm-9,glm-9,1,0,0,0,0,0,1,5,0,0,1,0,6,\r\n"
    )
    assert "Cost: 0.018 CNY; not in it: 1 unpriced" in ran.err
    assert "Complete until 2026-03-23 10:58:12 UTC." in ran.err


def test_a_csv_of_nothing_has_its_headings(run: Run, books: Books) -> None:
    assert [row[:2] for row in rows(run("report", "--csv").out)] == [["project", "id"]]
    assert [row[:2] for row in rows(run("calls", "--csv").out)] == [["id", "started_at"]]


def test_the_columns_of_a_csv_are_those_of_json(run: Run, books: Books) -> None:
    features(books)
    heading, *_ = rows(run("calls", "--csv").out)
    assert heading == list(json.loads(run("calls", "--json").out)["calls"][0])
    heading, *_ = rows(run("report", "--month", "2026-03", "--csv").out)
    line = json.loads(run("report", "--month", "2026-03", "--json").out)["project"][0]
    assert heading == [name for name in line if name in heading] + ["spent_CNY"]
    assert (
        {*line} - {*heading}
        == {  # nobody has any of these, or they have a level below in JSON
            *COUNTED[5:],
            *("sub_calls", "unpriced_units", "spent", "estimated"),
        }
    )


def test_calls_in_csv_are_all_that_were_chosen_with_instants_amounts_and_tags(run: Run, books: Books) -> None:
    books.deliver(*(made(MORNING, number, tags={"feature": "搜索"}) for number in range(60)))
    heading, *some = rows(run("calls", "--csv").out)
    assert len(some) == 60  # a page would end without a word
    one = dict(zip(heading, some[0], strict=True))
    assert (one["started_at"], one["billed_on"]) == ("2026-03-23T10:58:12Z", "2026-03-23")
    assert (one["cost"], one["currency"], one["input_tokens"], one["cache_read_tokens"]) == ("0.018", "CNY", "1000", "")
    assert (one["tags"], one["stream"], one["anomalies"]) == ('{"feature": "搜索"}', "false", "[]")
    assert len(rows(run("calls", "--csv", "--limit", 5).out)) == 6


def test_a_name_can_not_become_a_formula(run: Run, books: Books) -> None:
    features(books)
    groups = [row[0] for row in rows(run("report", "--by", "tag:feature", "--month", "2026-03", "--csv").out)]
    assert sorted(groups) == ["'=1+1", "(untagged)", "rerank", "tag:feature"]


def test_excel_gets_the_mark_by_which_it_knows_utf8(run: Run, books: Books) -> None:
    books.deliver(made(MORNING, project="搜索"))
    plain, marked = (run("calls", option).out for option in ("--csv", "--csv-excel"))
    assert marked == "\ufeff" + plain


@pytest.mark.parametrize("command", ["report", "calls"])
def test_one_answer_has_one_form(run: Run, books: Books, command: str) -> None:
    for options in (("--csv", "--json"), ("--csv", "--csv-excel")):
        ran = run(command, *options)
        assert (ran.code, ran.out) == (2, "")
        assert f"{options[1] if 'json' in options[1] else options[0]} and" in ran.err
