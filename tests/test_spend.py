import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Table, select, update

from accounting.aliases import Rule
from accounting.errors import ConfigurationError
from accounting.periods import zone
from accounting.spend import Report, SpendLine, UnpricedModel, spend
from accounting.spend_rows import Scope, known_tags
from accounting.store import aliaslines, writing
from accounting.store.tables import former_project_names, keys, projects, spend_by_tag
from accounting.usage import Outcome, Quantities, Usage
from tests.books import NOON, Books, at, made, used
from tests.conftest import NewBooks
from tests.plans import plans

CARDS = """
provider = "{provider}"
currency = "{currency}"
source = "test"

[[rate]]
model = "{model}"
valid_from = 2026-01-01
input = 1
cache_read = 0.1
cache_write = 1.25
output = 5
reasoning = 10
"""


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    some = new_books("Asia/Shanghai")
    some.load(CARDS.format(provider="anthropic", currency="USD", model="claude"))
    return some


def test_a_line_carries_counts_tokens_and_cost(books: Books) -> None:
    books.deliver(made(usage=used(18, 209, read=4, thought=200)))
    books.roll()
    (line,) = books.spend("project").lines
    assert line == SpendLine(
        group="checkout",
        id="checkout",
        calls=1,
        quantities=Quantities(input=18, cache_read=4, cache_write=0, output=209, reasoning=200),
        spent={"CNY": Decimal("0.007513")},
    )


def test_each_class_of_tokens_is_charged_once_at_its_own_price(books: Books) -> None:
    usage = used(1000, 100, read=600, write=300, thought=40)
    books.deliver(made(provider="anthropic", request_model="claude", usage=usage))
    books.roll()
    # 100 fresh × 1 + 600 × 0.1 + 300 × 1.25 + 60 × 5 + 40 × 10, per 1000
    assert books.spend("project").total.spent == {"USD": Decimal("1.235")}


def test_currencies_stand_side_by_side_and_are_never_added(books: Books) -> None:
    books.deliver(
        made(number=1, usage=used(1000, 0)),
        made(number=2, provider="anthropic", request_model="claude", usage=used(1000, 0)),
    )
    books.roll()
    (line,) = books.spend("project").lines
    assert line.spent == {"CNY": Decimal("0.011"), "USD": Decimal(1)}


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", [("…a1b2 (a1a1a1a1)", "a1" * 32), ("(no key)", "")]),
        ("project", [("checkout", "checkout"), ("unassigned", "unassigned")]),
        ("model", [("z-ai/glm-5", "z-ai/glm-5"), ("(no model)", "")]),
        ("provider", [("wcode", "wcode"), ("elsewhere", "elsewhere")]),
        ("effort", [("high", "high"), ("(no effort)", "")]),
        ("day", [("2026-11-23", "2026-11-23"), ("2026-12-01", "2026-12-01")]),
        ("month", [("2026-11", "2026-11"), ("2026-12", "2026-12")]),
    ],
)
def test_every_grouping_names_its_groups(books: Books, by: str, groups: list[tuple[str, str]]) -> None:
    books.deliver(
        made(effort="high"),
        made(
            at("2026-11-30 16:00"),  # December in Shanghai
            key_fingerprint="",
            key_last4="",
            project=None,
            project_source=None,
            provider="elsewhere",
            request_model=None,
        ),
        now=NOON + timedelta(days=30),
    )
    books.roll()
    report = books.spend(by, now=NOON + timedelta(days=30))
    assert [(line.group, line.id) for line in report.lines] == groups
    assert [line.calls for line in report.lines] == [1, 1]
    assert report.total.calls == 2


def test_the_dearest_group_comes_first_and_days_in_their_order(books: Books) -> None:
    books.deliver(
        made(at("2026-11-20"), project="cheap", usage=used(1, 0)),
        made(at("2026-11-21"), project="dear", usage=used(9, 0)),
        made(at("2026-11-22"), project="middling", usage=used(5, 0)),
    )
    books.roll()
    assert [line.group for line in books.spend("project").lines] == ["dear", "middling", "cheap"]
    assert [line.group for line in books.spend("day").lines] == ["2026-11-20", "2026-11-21", "2026-11-22"]


def test_a_period_takes_its_first_day_and_leaves_out_its_end(books: Books) -> None:
    midnights = ("2026-11-01 00:00+08:00", "2026-11-30 23:59+08:00", "2026-12-01 00:00+08:00")
    books.deliver(*(made(at(text)) for text in midnights), now=at("2026-12-02"))
    books.roll()
    november, december = date(2026, 11, 1), date(2026, 12, 1)
    assert books.spend("day", november, december).total.calls == 2
    assert books.spend("day", december, None).total.calls == 1
    assert books.spend("day", None, november).total.calls == 0
    assert books.spend("day").total.calls == 3


def test_another_zone_cuts_the_same_calls_at_its_own_midnights(books: Books) -> None:
    books.deliver(made(at("2026-11-23 18:20")), made(at("2026-11-23 18:10")))
    books.roll()
    assert [line.group for line in books.spend("day").lines] == ["2026-11-24"]
    kathmandu = books.spend("day", None, None, zone("Asia/Kathmandu")).lines  # 5:45 ahead: midnight is 18:15 UTC
    assert [(line.group, line.calls) for line in kathmandu] == [("2026-11-23", 1), ("2026-11-24", 1)]
    day = date(2026, 11, 24)
    assert books.spend("model", day, day + timedelta(days=1), zone("Asia/Kathmandu")).total.calls == 1


def test_a_day_of_25_hours_holds_all_of_them(books: Books) -> None:
    berlin = zone("Europe/Berlin")  # clocks went back on 2026-10-25
    hours = [at("2026-10-24 22:00") + timedelta(hours=n) for n in range(-1, 26)]
    books.deliver(*map(made, hours))
    books.roll()
    assert [line.calls for line in books.spend("day", None, None, berlin).lines] == [1, 25, 1]


def test_what_a_total_hides_is_counted_and_not_taken_for_nothing(books: Books) -> None:
    books.deliver(
        made(number=1),
        made(number=2, usage=Usage()),
        made(number=3, usage=Usage(), outcome=Outcome.INTERRUPTED),
        made(number=4, usage=Usage(), outcome=Outcome.UNKNOWN),
        made(number=5, usage=Usage(), outcome=Outcome.FAILED),
        made(number=6, request_model="nobody/knows"),
        made(number=7, request_model="nobody/knows", usage=Usage()),
    )
    books.roll()
    total = books.spend("model").total
    assert (total.calls, total.failed, total.interrupted, total.unknown) == (7, 1, 1, 1)
    assert total.usage_missing == 4  # a failed call owes no usage
    assert total.unpriced == 1  # what is not known to have been used can't lack a price
    assert total.spent == {"CNY": Decimal("0.018")}


@pytest.mark.parametrize("where", [None, zone("Asia/Kathmandu")])
def test_models_without_a_rate_are_named_as_a_card_must_the_most_calls_first(
    books: Books, where: ZoneInfo | None
) -> None:
    local = "127.0.0.1:18765"
    books.deliver(
        made(number=1),
        made(number=2, request_model="nobody/knows"),
        *(made(number=number, provider=local, response_model="gpt-x") for number in (3, 4)),
        made(number=5, request_model="unsaid", usage=Usage()),
        made(number=6, request_model=None),
        made(at("2026-10-01"), request_model="earlier"),
    )
    books.roll()
    found = books.spend("project", date(2026, 11, 1), date(2026, 12, 1), where).unpriced_models
    assert found == (
        UnpricedModel(local, "gpt-x", 2, has_rate=False),
        UnpricedModel("wcode", "nobody/knows", 1, has_rate=False),
    )


def test_an_unpriced_model_whose_rate_came_later_has_one(books: Books) -> None:
    books.deliver(made(request_model="late"))
    books.roll()
    books.load(CARDS.format(provider="wcode", currency="CNY", model="late"))
    assert books.spend("project").unpriced_models == (UnpricedModel("wcode", "late", 1, has_rate=True),)


def test_a_model_has_a_rate_by_now_under_any_name_and_for_any_tier(books: Books) -> None:
    names = ("named", "family-large", "x/named", "familylarge")
    books.deliver(*(made(number=n, request_model=name) for n, name in enumerate(names)))
    books.roll()
    assert {one.has_rate for one in books.spend("project").unpriced_models} == {False}
    line = 'valid_from = 2026-11-01\nservice_tier = "batch"\ninput = 1\noutput = 1\n'
    lines = "".join(f'[[rate]]\nmodel = "{name}"\n{line}' for name in ("named", "family-*"))
    books.load(f'provider = "wcode"\ncurrency = "USD"\nsource = "test"\n{lines}')
    with writing(books.engine) as conn:
        aliaslines.append(conn, [Rule("wcode", "x/{model}", "{model}")], NOON)
    found = {one.model: one.has_rate for one in books.spend("project").unpriced_models}
    assert found == {"named": True, "family-large": True, "x/named": True, "familylarge": False}


def test_calls_in_no_line_are_on_the_report_too(books: Books) -> None:
    books.deliver(made(), still_open=2)
    report = books.spend("model")
    assert (report.completeness.open, report.completeness.unrolled) == (2, 1)
    assert (report.rejected, report.conflicts) == (0, 0)
    books.deliver(made(usage=used(1, 1)), made(NOON + timedelta(days=2)), still_open=2)
    report = books.spend("model")
    assert (report.rejected, report.conflicts) == (1, 1)


def test_an_empty_book_makes_an_empty_report(books: Books) -> None:
    report = books.spend("key")
    assert report.lines == ()
    assert report.total == SpendLine(group="total", id="")


@pytest.mark.parametrize(("by", "table"), [("project", projects), ("key", keys)])
def test_calls_of_a_project_or_key_that_is_not_in_the_books_are_reported_by_its_number(
    books: Books, by: str, table: Table
) -> None:
    books.deliver(made())
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(table.delete())
    (line,) = books.spend(by).lines
    assert (line.group, line.id, line.calls) == (f"(unknown {by} 1)", f"(unknown {by} 1)", 1)


@pytest.mark.parametrize("by", ["colour", "tag:", "tag:KEY", "tags:feature", ""])
def test_an_unknown_grouping_is_refused_with_the_known_ones(books: Books, by: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"'{by}'; expected one of key, project, model.*user, anomaly, refusal, tag:KEY"
    ):
        books.spend(by)


def groups(report: Report) -> dict[str, int]:
    return {line.group: line.calls for line in report.lines}


def test_calls_without_the_tag_are_a_line_of_their_own(books: Books) -> None:
    books.deliver(
        made(number=1, tags={"feature": "rerank", "team": "core"}),
        made(number=2, tags={"feature": "rerank"}),
        made(number=3, tags={"feature": ""}),
        made(number=4, tags={"team": "core"}),
        made(number=5, tags={"feature": "(untagged)"}),
    )
    books.roll()
    report = books.spend("tag:feature")
    assert [(line.group, line.id, line.calls) for line in report.lines] == [
        ("rerank", "rerank", 2),
        ("(empty)", "", 1),
        ("(untagged)", "", 1),
        ("(untagged)", "(untagged)", 1),
    ]
    named = {row["value"]: row["calls"] for row in books.rows(spend_by_tag) if row["tag"] == "tag:feature"}
    assert named == {line.id: line.calls for line in report.lines if (line.group, line.id) != ("(untagged)", "")}
    assert report.total.spent == {"CNY": Decimal("0.09")}
    assert report.known_tags == ("feature", "team")


def test_calls_without_a_user_are_a_line_of_their_own(books: Books) -> None:
    books.deliver(made(number=1, user="u-1"), made(number=2), made(number=3, tags={"user": "not one"}))
    books.roll()
    report = books.spend("user")
    assert [(line.group, line.id, line.calls) for line in report.lines] == [("(no user)", "", 2), ("u-1", "u-1", 1)]
    assert report.known_tags is None


def test_the_untagged_line_has_the_warnings_of_its_own_calls(books: Books) -> None:
    tagged = {"feature": "rerank"}
    books.deliver(
        made(number=1, tags=tagged),
        made(number=2, tags=tagged, usage=Usage()),
        made(number=3, usage=Usage()),
        made(number=4, usage=Usage(), outcome=Outcome.FAILED),
        made(number=5, request_model="nobody/knows"),
        made(number=6, provider="anthropic", request_model="claude", usage=used(1000, 0)),
    )
    books.roll()
    untagged, rerank = sorted(books.spend("tag:feature").lines, key=lambda line: line.id)
    assert (untagged.calls, untagged.failed, untagged.usage_missing, untagged.unpriced) == (4, 1, 1, 1)
    assert untagged.spent == {"CNY": Decimal(0), "USD": Decimal(1)}
    assert (rerank.calls, rerank.failed, rerank.usage_missing, rerank.unpriced) == (2, 0, 1, 0)
    assert rerank.spent == {"CNY": Decimal("0.018")}


def test_under_a_tag_nobody_used_everything_is_untagged(books: Books) -> None:
    books.deliver(made(number=1, tags={"team": "core", "Füße": "2"}, user="u-1"), made(number=2))
    books.roll()
    report = books.spend("tag:feature")
    assert groups(report) == {"(untagged)": 2}
    assert report.known_tags is not None
    assert sorted(report.known_tags) == ["Füße", "team"]


def test_without_calls_no_tag_is_known(books: Books) -> None:
    report = books.spend("tag:feature")
    assert (report.lines, report.known_tags) == ((), ())


def test_tags_are_reported_by_the_days_of_the_books(books: Books) -> None:
    books.deliver(
        made(at("2026-11-30 15:59"), user="u-1"), made(at("2026-11-30 16:00"), user="u-2"), now=at("2026-12-01")
    )
    books.roll(at("2026-12-01"))
    november = books.spend("user", date(2026, 11, 1), date(2026, 12, 1))
    assert groups(november) == {"u-1": 1}


@pytest.mark.parametrize("by", ["user", "tag:feature"])
def test_tags_are_not_kept_by_zone_or_key_and_it_says_so(books: Books, by: str) -> None:
    with pytest.raises(ConfigurationError, match="leave out --tz"):
        books.spend(by, None, None, zone("UTC"))
    with pytest.raises(ConfigurationError, match="leave out --key"):
        books.spend(by, scope=Scope(keys=("a1b2",)))


def three_projects(books: Books) -> None:
    c3: dict[str, Any] = {"key_fingerprint": "c3" * 32, "key_last4": "c3d4"}
    books.deliver(
        made(number=1, tags={"feature": "rerank"}),
        made(number=2, project="search", tags={"feature": "rerank"}, **c3),
        made(number=3, project="search", request_model="nobody/knows"),
        made(number=4, project="index", **c3),
    )
    books.roll()


@pytest.mark.parametrize(
    ("by", "scope", "expected"),
    [
        ("project", Scope(projects=("search",)), {"search": 2}),
        ("project", Scope(projects=("search", "index")), {"search": 2, "index": 1}),
        ("tag:feature", Scope(projects=("search",)), {"rerank": 1, "(untagged)": 1}),
        ("project", Scope(keys=("c3d4",)), {"search": 1, "index": 1}),
        ("project", Scope(keys=("c3c3",)), {"search": 1, "index": 1}),
        ("key", Scope(projects=("search",), keys=("a1b2",)), {"…a1b2 (a1a1a1a1)": 1}),
    ],
)
def test_a_report_can_be_of_some_projects_and_keys(
    books: Books, by: str, scope: Scope, expected: dict[str, int]
) -> None:
    three_projects(books)
    report = books.spend(by, scope=scope)
    assert groups(report) == expected
    assert report.total.calls == sum(expected.values())
    if "key" not in by and not by.startswith("tag:"):
        assert groups(books.spend(by, None, None, zone("Asia/Kathmandu"), scope=scope)) == expected


def test_models_without_a_rate_are_those_of_the_scope(books: Books) -> None:
    three_projects(books)
    assert books.spend("key", scope=Scope(projects=("search",))).unpriced_models != ()
    assert books.spend("key", scope=Scope(projects=("index",))).unpriced_models == ()


def test_a_project_is_found_by_a_name_it_had_before_and_a_key_by_its_own(books: Books) -> None:
    three_projects(books)
    with writing(books.engine) as conn:
        conn.execute(update(projects).where(projects.c.name == "search").values(name="find"))
        conn.execute(update(keys).where(keys.c.last4 == "c3d4").values(name="nightly"))
        was = {"name": "search", "project_id": 2, "renamed_at": NOON, "renamed_by": "ann@build-7"}
        found = conn.execute(select(projects.c.id).where(projects.c.name == "find")).scalar_one()
        conn.execute(former_project_names.insert().values({**was, "project_id": found}))
    assert groups(books.spend("project", scope=Scope(projects=("search",)))) == {"find": 2}
    assert groups(books.spend("key", scope=Scope(keys=("nightly",)))) == {"nightly (…c3d4)": 2}


def test_a_project_or_key_that_is_not_in_the_books_is_refused(books: Books) -> None:
    books.deliver(made())
    with pytest.raises(ConfigurationError, match=r"no project 'chekout'\. Near it: checkout"):
        books.spend("key", scope=Scope(projects=("chekout",)))
    with pytest.raises(ConfigurationError, match="no key 'x%'"):
        books.spend("key", scope=Scope(keys=("x%",)))


A_RANGE = re.compile(
    r"\((tag=\? AND )?(?P<time>billed_on|quarter)>\? AND (?P=time)<\?\)"  # SQLite's words, then PostgreSQL's
    r"|Index Cond: .*(?P<start>billed_on|quarter) >= .* AND .*(?P=start) < "
)


@pytest.mark.parametrize(
    ("by", "where"),
    [("project", None), ("project", zone("Asia/Kathmandu")), ("tag:feature", None), ("user", None)],
)
def test_a_month_is_read_by_a_range_of_the_keys_of_the_spend_tables(
    books: Books, by: str, where: ZoneInfo | None
) -> None:
    books.deliver(made(request_model="nobody/knows"))
    books.roll()
    month = (date(2026, 11, 1), date(2026, 12, 1))
    every = plans(books.engine, lambda conn: spend(conn, by, *month, where, now=NOON))
    of_spend = [plan for plan in every if re.search(r"(SEARCH|SCAN|Scan .*on) spend_", plan) and "found" not in plan]
    # The last two: which models have no rate, and how many calls were refused.
    assert len(of_spend) == (2 if by == "project" else 3) + (where is None)
    assert all(A_RANGE.search(plan) for plan in of_spend), of_spend


def test_which_tags_are_known_takes_a_step_for_each_and_not_one_for_each_row(books: Books) -> None:
    (plan,) = plans(books.engine, known_tags)
    assert "SCAN spend_by_tag" not in plan
    assert "Seq Scan on spend_by_tag" not in plan
