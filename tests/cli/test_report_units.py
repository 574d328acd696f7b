"""Reports and lists of what few calls have: units beside tokens, sub-calls, anomalies, estimates."""

import csv
import io
import json
from typing import Any

import pytest

from accounting.store import writing
from accounting.store.tables import calls
from accounting.usage import Call, Outcome, Usage, UsageSource
from tests.books import Books, at, made, used
from tests.cli.conftest import Run

MORNING = at("2026-03-23 10:58:12")
MARCH = ("--month", "2026-03")
CARD = """
provider = "wcode"
currency = "USD"
source = "test"

[[rate]]
model = "searching"
valid_from = 2026-01-01
input = 1
output = 5
cache_write_1h = 2
web_search = 10
service_tier = "*"
"""
SEARCHED = Usage(
    *(1000, None, 400, 200, None, UsageSource.PROVIDER, ("total_mismatch",)),
    cache_write_1h_tokens=300,
    audio_input_tokens=50,
    requests=1,
    web_searches=3,
    audio_seconds=1,
)


@pytest.fixture
def some(books: Books) -> Call:
    """A call that searched, and one inside it; the first."""
    books.load(CARD)
    call = made(MORNING, 1, request_model="searching", usage=SEARCHED, service_tier="priority")
    books.deliver(call, made(MORNING, 2, parent_id=call.id, usage=used(10, 1), service_tier="default"), now=MORNING)
    return call


def totals(run: Run, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("report", *MARCH, *options, "--json").out)["totals"]
    return found


def test_the_total_names_what_was_used_beside_plain_tokens(run: Run, books: Books, some: Call) -> None:
    lines = run("report", *MARCH).lines
    assert lines[-7:-2] == [
        "1 call: 0 failed, 0 interrupted, 0 unknown. Inside them 1 sub-call.",
        "Tokens: 1,010 input (cache: 0 read, 400 written), 201 output (0 reasoning).",
        "Of them: 300 written for an hour, 50 audio input.",
        "Beside tokens: 3 web searches, 1 second of audio.",
        "Cost: 0.000145 CNY and 2.33 USD; not in it: 0 unpriced, 0 without usage, 1 second of audio without a price.",
    ]


def test_columns_of_what_nobody_has_are_left_out(run: Run, books: Books, some: Call) -> None:
    heading, *_ = (line.split() for line in run("report", *MARCH).lines[2:])
    assert heading[7] == "sub-calls"
    assert heading[13:17] == ["cache_write_1h", "audio_input", "web_searches", "audio_seconds"]
    books.deliver(made(at("2026-02-01"), 3))
    assert "sub-calls" not in run("report", "--month", "2026-02").out
    assert run("report", "--month", "2026-02", "--csv").lines[0].endswith("total_tokens,spent_CNY")


def test_json_has_every_quantity_and_csv_those_that_there_are(run: Run, books: Books, some: Call) -> None:
    found = totals(run)
    assert (found["web_searches"], found["images"], found["sub_calls"], found["requests"]) == (3, 0, 1, 1)
    assert found["unpriced_units"] == {"audio_seconds": 1}
    assert found["estimated"] == {"calls": 0, "input_tokens": 0, "output_tokens": 0, "spent": {}}
    heading, *rows = csv.reader(io.StringIO(run("report", *MARCH, "--by", "model", "--csv").out))
    assert heading[14:] == [
        *("total_tokens", "sub_calls", "cache_write_1h_tokens", "audio_input_tokens", "requests", "web_searches"),
        *("audio_seconds", "unpriced_audio_seconds", "spent_CNY", "spent_USD"),
    ]
    named = {row[0]: dict(zip(heading, row, strict=True)) for row in rows}
    assert [named[model]["unpriced_audio_seconds"] for model in ("searching", "z-ai/glm-5")] == ["1", "0"]
    assert [named[model]["spent_USD"] for model in ("searching", "z-ai/glm-5")] == ["2.33", ""]


def test_spend_is_reported_by_anomaly_with_what_each_means(run: Run, books: Books, some: Call) -> None:
    text = run("report", *MARCH, "--by", "anomaly").out
    assert "total_mismatch: The total is not the sum of its parts." in text
    assert "unpriced_audio_seconds: The model's rate has no price for seconds of audio." in text
    assert "A call is in the line of each of its anomalies, and one without any in none" in text
    found = json.loads(run("report", *MARCH, "--by", "anomaly", "--json").out)
    assert {line["anomaly"]: line["calls"] for line in found["anomaly"]} == {
        "total_mismatch": 1,
        "unpriced_audio_seconds": 1,
    }
    assert found["totals"] == totals(run)
    assert "No call has an anomaly." in run("report", "--month", "2026-02", "--by", "anomaly").out


def test_the_calls_of_an_anomaly_are_listed(run: Run, books: Books, some: Call) -> None:
    listed = json.loads(run("calls", "--anomaly", "total_mismatch", "--json").out)["calls"]
    assert [one["id"] for one in listed] == [str(some.id)]
    assert "No such calls" in run("calls", "--anomaly", "hidden_output").out


def test_an_anomaly_that_there_is_not_is_refused_with_those_near_it(run: Run, books: Books, some: Call) -> None:
    ran = run("calls", "--anomaly", "totl_mismatch")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no anomaly 'totl_mismatch'. Near it: total_mismatch" in ran.err
    books.deliver(made(MORNING, 3, usage=used(1, 1)._replace(anomalies=("of_another_version",))))
    for roll in (False, True):
        assert not roll or books.roll().calls
        assert run("calls", "--anomaly", "of_another_version").code == 0
    assert "No such calls" in run("calls", "--anomaly", "input_tokens_negative").out


def test_a_call_shows_what_it_used_its_tier_and_whose_part_it_is(run: Run, books: Books, some: Call) -> None:
    heading, inner, outer = run("calls").lines[2:5]
    assert heading.split()[12:16] == ["cache_write_1h", "audio_input", "web_searches", "audio_seconds"]
    assert outer.split()[14:18] == ["300", "50", "3", "1"]
    assert "total_mismatch, unpriced_audio_seconds, priority tier" in outer
    assert f"sub-call of {some.id}" in inner
    assert "tier" not in inner
    one = json.loads(run("calls", "--json").out)["calls"][1]
    assert (one["service_tier"], one["parent_id"], one["web_searches"]) == ("priority", None, 3)


def test_a_call_of_which_no_part_has_a_price_shows_no_cost(run: Run, books: Books) -> None:
    books.load(CARD)
    heard = Usage(source=UsageSource.PROVIDER, requests=1, audio_seconds=30)
    books.deliver(made(MORNING, 1, request_model="searching", usage=heard), now=MORNING)
    heading, line = (line.split() for line in run("calls").lines[2:4])
    assert (heading[-3:], line[-3:-1]) == (["cost", "notes", "id"], ["-", "unpriced_audio_seconds"])
    (one,) = json.loads(run("calls", "--json").out)["calls"]
    assert (one["cost"], one["currency"], one["audio_seconds"]) == (None, None, 30)
    assert totals(run)["unpriced_units"] == {"audio_seconds": 30}


def test_an_estimate_stands_beside_the_cost_and_never_in_it(run: Run, books: Books) -> None:
    books.load(CARD)
    books.deliver(
        made(MORNING, 1, usage=Usage(), outcome=Outcome.INTERRUPTED, request_model="searching"),
        made(MORNING, 2, usage=used(10, 1)._replace(source=UsageSource.PARTIAL), request_model="searching"),
        made(MORNING, 3, usage=Usage(), outcome=Outcome.UNKNOWN, request_model="nobody/knows"),
        made(MORNING, 0, usage=Usage(), endpoint="audio/speech", request_model="searching"),
        now=MORNING,
    )
    with writing(books.engine) as conn:  # before they are rolled up
        conn.execute(calls.update().values(estimated_input_tokens=None, estimated_output_tokens=None))
        beyond = {"estimated_input_tokens": 1200, "estimated_output_tokens": 300}
        is_text = calls.c.endpoint == "chat/completions"
        conn.execute(calls.update().where(is_text, calls.c.usage_source == "missing").values(beyond))
        conn.execute(calls.update().where(calls.c.usage_source == "partial").values(estimated_output_tokens=2))
    text = run("report", *MARCH).out
    assert "Cost: 0.015 USD; not in it: 0 unpriced, 3 without usage, what 1 left unsaid." in text
    assert (
        "Estimated beside: ≈ 2.71 USD (2,400 input and 602 output tokens), for 3 calls that ended without all of their "
        "usage; 1 more has no estimate." in text
    )
    found = totals(run)
    assert (found["spent"], found["input_tokens"]) == ({"USD": "0.015"}, 10)
    assert found["estimated"] == {"calls": 3, "input_tokens": 2400, "output_tokens": 602, "spent": {"USD": "2.71"}}
    heading, row = csv.reader(io.StringIO(run("report", *MARCH, "--csv").out))
    assert dict(zip(heading, row, strict=True))["estimated_USD"] == "2.71"
    unknown, partial, cut = run("calls").lines[3:6]
    assert "no usage, ≈ 1,200 in and 300 out " in unknown
    assert "partial usage, ≈ 0 in and 2 out for 0.01 USD" in partial
    assert "no usage, ≈ 1,200 in and 300 out for 2.7 USD" in cut
    one = json.loads(run("calls", "--json").out)["calls"][2]
    assert (one["cost"], one["estimated_cost"], one["estimated_cost_currency"]) == (None, "2.7", "USD")
