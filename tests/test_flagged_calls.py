"""Anomalies in the books: named on the call, summed by name, found again."""

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from accounting.anomalies import meaning
from accounting.booked import Selection, listed
from accounting.differences import Repaired
from accounting.entries import MAX_ANOMALIES
from accounting.errors import ConfigurationError
from accounting.periods import zone
from accounting.ports import Verdict
from accounting.rebuild import rebuild
from accounting.spend import Report
from accounting.spend_rows import Scope
from accounting.store import reading, writing
from accounting.store.tables import calls, rates, spend_by_tag
from accounting.usage import Call, Outcome, Usage
from accounting.verify import verify
from tests.books import Books, made, used
from tests.spending import rolled_anew, spending

CARD = """
provider = "wcode"
currency = "CNY"
source = "test"

[[rate]]
model = "searching"
valid_from = 2026-01-01
input = 1
output = 1
web_search = 10

[[rate]]
model = "drawing"
valid_from = 2026-01-01
input = 1
output = 1
image = 0
"""


def flagged(number: int, *names: str, **changes: Any) -> Call:
    return made(number=number, usage=used(1000, 200)._replace(anomalies=names), **changes)


def lines(report: Report) -> dict[str, int]:
    return {line.group: line.calls for line in report.lines}


def test_a_call_is_in_the_line_of_each_of_its_anomalies_and_the_total_is_of_all(books: Books) -> None:
    books.deliver(
        flagged(1, "total_mismatch", "hidden_output"), flagged(2, "hidden_output"), made(number=3), flagged(4, "")
    )
    books.roll()
    report = books.spend("anomaly")
    assert lines(report) == {"hidden_output": 2, "total_mismatch": 1, "(empty)": 1}
    assert report.total == books.spend("project").total
    assert {line.group: line.spent["CNY"] for line in report.lines}["hidden_output"] == Decimal("0.036")
    assert verify(books.engine).differences == ()


def test_a_tag_of_that_name_is_something_else(books: Books) -> None:
    books.deliver(made(number=1, tags={"anomaly": "mine"}), flagged(2, "theirs"))
    books.roll()
    assert lines(books.spend("anomaly")) == {"theirs": 1}
    assert lines(books.spend("tag:anomaly")) == {"mine": 1, "(untagged)": 1}


def test_anomalies_are_reported_by_project_but_neither_by_key_nor_by_the_days_of_a_zone(books: Books) -> None:
    books.deliver(flagged(1, "odd"), flagged(2, "odd", project="search"))
    books.roll()
    assert lines(books.spend("anomaly", scope=Scope(projects=("search",)))) == {"odd": 1}
    with pytest.raises(ConfigurationError, match="by project, not by key"):
        books.spend("anomaly", scope=Scope(keys=("a1b2",)))
    with pytest.raises(ConfigurationError, match="leave out --tz"):
        books.spend("anomaly", None, None, zone("Asia/Tokyo"))


def test_an_anomaly_that_was_delivered_twice_on_a_call_counts_once(books: Books) -> None:
    books.deliver(flagged(1, "odd", "odd"))
    books.roll()
    assert lines(books.spend("anomaly")) == {"odd": 1}


def test_calls_are_found_by_their_anomaly(books: Books) -> None:
    books.deliver(flagged(1, "odd", "even"), flagged(2, "odd_one"), flagged(3, "even"))
    with reading(books.engine) as conn:
        found = {
            name: [one.call.id.int & 7 for one in listed(conn, Selection(anomaly=name))]
            for name in ("odd", "even", "none")
        }
    assert found == {"odd": [1], "even": [3, 1], "none": []}


def test_an_anomaly_leaves_with_what_a_later_outcome_says(books: Books) -> None:
    cut = flagged(1, "partial_total", "odd", outcome=Outcome.INTERRUPTED)
    books.deliver(cut)
    books.roll()
    assert books.deliver(flagged(1, "odd")) == [Verdict.SUPERSEDED]
    assert lines(books.spend("anomaly")) == {"odd": 1}
    assert spending(books) == rolled_anew(books)


def test_a_rebuild_brings_back_anomalies_that_are_in_no_sum(books: Books) -> None:
    books.deliver(flagged(1, "odd", "even"), flagged(2, "odd", tags={"feature": "rerank"}, user="u-1"))
    books.roll()
    right = spending(books)
    with writing(books.engine) as conn:
        conn.execute(spend_by_tag.delete().where(spend_by_tag.c.tag == "anomaly"))
    assert not verify(books.engine).balanced
    assert rebuild(books.engine).tables == {"spend_by_tag": Repaired(missing=2)}
    assert spending(books) == right


def test_anomalies_that_nobody_can_read_are_named(books: Books) -> None:
    books.deliver(made())
    with writing(books.engine) as conn:
        conn.execute(calls.update().values(anomalies=sa.cast(sa.literal("{}"), calls.c.anomalies.type)))
    (found,) = verify(books.engine).differences
    assert str(found).endswith("anomalies is {}, expected a JSON array of texts")


def test_a_call_with_more_anomalies_than_any_has_is_put_aside(books: Books) -> None:
    some = tuple(f"a{number}" for number in range(MAX_ANOMALIES + 1))
    assert books.deliver(flagged(1, *some[1:]), flagged(2, *some)) == [Verdict.INSERTED, Verdict.REJECTED]
    assert books.deliver(flagged(3, "a" * 2401)) == [Verdict.REJECTED]  # no index would take it


@pytest.mark.parametrize(
    ("model", "usage", "names", "cost"),
    [
        ("z-ai/glm-5", Usage(web_searches=3), ["unpriced_web_searches"], "0"),
        ("z-ai/glm-5", Usage(images=2, audio_seconds=9), ["unpriced_images", "unpriced_audio_seconds"], "0"),
        ("z-ai/glm-5", Usage(requests=1, web_searches=0), [], "0"),
        ("searching", Usage(web_searches=3), [], "0.03"),
        ("searching", Usage(web_searches=3, images=1), ["unpriced_images"], "0.03"),
        ("drawing", Usage(images=1), [], "0"),
        ("nobody/knows", Usage(web_searches=3), [], None),
    ],
)
def test_units_that_the_rate_has_no_price_for_are_named_on_the_call(
    books: Books, model: str, usage: Usage, names: list[str], cost: str | None
) -> None:
    """Unknown is not zero (L5): a price of 0 says that they are free, and no price says nothing."""
    books.load(CARD)
    known = usage._replace(input_tokens=0, output_tokens=0, source=used(0, 0).source)
    books.deliver(made(request_model=model, usage=known))
    books.roll()
    (row,) = books.rows(calls)
    assert row["anomalies"] == names
    assert all(meaning(name) for name in names)
    total = books.spend("project").total
    assert total.unpriced_units == {name.removeprefix("unpriced_"): getattr(usage, name[9:]) for name in names}
    assert total.spent == ({} if cost is None else {"CNY": Decimal(cost)})
    assert (row["rate_id"] == 0) == (model == "nobody/knows")
    assert len(books.rows(rates)) > 2
