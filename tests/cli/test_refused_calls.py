"""Refused calls in reports and lists."""

import json

from tests.books import Books
from tests.cli.conftest import Run
from tests.test_refused_calls import refused, some

NOVEMBER = ("--month", "2026-11")
__all__ = ["some"]


def test_the_report_says_how_many_of_the_failed_calls_were_refused(run: Run, some: Books) -> None:
    assert "5 calls: 4 failed (3 refused by budgets), 0 interrupted, 0 unknown." in run("report", *NOVEMBER).out
    text = run("report", *NOVEMBER, "--by", "refusal")
    assert [line.split()[:3] for line in text.lines[3:5]] == [["all", "1", "1"], ["team", "2", "2"]]
    assert "not sent and cost nothing; other calls are in no line, and the total is of all." in text.out
    found = json.loads(run("report", *NOVEMBER, "--by", "refusal", "--project", "search", "--json").out)
    assert [(line["refusal"], line["calls"]) for line in found["refusal"]] == [("team", 1)]
    assert found["refused_calls"] == found["totals"]["calls"] == 1
    assert "No call was refused by a budget." in run("report", "--month", "2026-02", "--by", "refusal").out
    assert "refused" not in run("report", "--month", "2026-02").out


def test_refused_calls_are_listed_and_name_their_budget(run: Run, some: Books) -> None:
    def listed(*options: str) -> list[str]:
        found = json.loads(run("calls", *options, "--json").out)["calls"]
        return [one["refused_by"] for one in found]

    assert listed("--refused") == ["all", "team", "team"]
    assert listed("--refused-by", "team") == ["team", "team"]
    assert listed("--refused", "--project", "search") == ["team"]
    assert "refused by all" in run("calls", "--refused").out
    id_ = str(refused(3, "all").id)
    assert "refused_by" in run("calls", "show", id_).out
