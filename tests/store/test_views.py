"""The views as people meet them: through a plain connection, without anything of this program."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from accounting import booked
from accounting.booked import Selection
from accounting.money import plain
from accounting.rates import CLASSES, REQUIRED
from accounting.spend import known_keys
from accounting.store import file_of, is_postgresql, open_engine, prepare, reading, schema, views, writing
from accounting.store.tables import keys, metadata, projects, rates
from accounting.usage import COUNTED, Outcome, Usage, UsageSource
from tests.books import NOON, Books, at, made, used
from tests.databases import Database

Row = dict[str, Any]

README = Path(__file__).parents[2] / "README.md"
_, _, _TOLD = README.read_text(encoding="utf-8").partition("```sql\n")
COST_BY_PROJECT_AND_MONTH, TOP_KEYS_OF_A_WEEK, COST_BY_FEATURE = _TOLD.partition(";\n```")[0].split(";\n\n")
"""The queries that the README tells people to ask."""


@contextmanager
def plainly(books: Books) -> Iterator[Any]:
    """A connection as anybody's program makes it."""
    if is_postgresql(books.engine):
        url = make_url(books.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(f"{file_of(books.engine).as_uri()}?mode=ro", uri=True)) as connection:
            yield connection


def asked(books: Books, query: str) -> list[Row]:
    with plainly(books) as connection:
        cursor = connection.execute(query)
        return [dict(zip([one[0] for one in cursor.description], row, strict=True)) for row in cursor.fetchall()]


def exact(value: Any) -> Decimal | None:
    """The amount as either database gives it."""
    assert value is None or isinstance(value, str | Decimal)
    return None if value is None else Decimal(value)


def test_every_view_has_a_row_for_each_of_its_table(books: Books) -> None:
    books.deliver(made(number=1, tags={"feature": "rerank"}), made(number=2, user="u-1"), made(number=3))
    books.roll()
    sizes = {name: asked(books, f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in views.NAMES}
    assert sizes == {"calls_named": 3, "spend_days_named": 1, "spend_quarters_named": 1, "spend_by_tag_named": 2}


def test_a_call_is_shown_with_names_instants_and_cost(books: Books) -> None:
    ended = NOON + timedelta(seconds=1.5)
    books.deliver(made(usage=used(18, 209, read=4, thought=200), ended_at=ended, user="u-1"))
    (row,) = asked(books, "SELECT * FROM calls_named")
    named = (row["project"], row["key"], row["model"], row["host"], row["end_user"])
    assert named == ("checkout", "…a1b2 (a1a1a1a1)", "z-ai/glm-5", "build-7", "u-1")
    assert (exact(row["cost"]), row["currency"]) == (Decimal("0.007513"), "CNY")
    assert exact(row["reasoning_per_1k"]) == Decimal("0.035")  # as output
    assert (str(row["billed_on"]), row["month"], row["first_token_at"]) == ("2026-11-23", "2026-11", None)
    spelt = ("2026-11-23T12:00:00.000000Z", "2026-11-23T12:00:01.500000Z")
    assert (row["started_at"], row["ended_at"]) == ((NOON, ended) if is_postgresql(books.engine) else spelt)


def test_the_same_words_choose_by_instant_and_tag_on_both_databases(books: Books) -> None:
    before, after = at("2026-11-22 23:59:59.999999"), at("2026-11-23 00:00")
    books.deliver(made(before, 1), made(after, 2, tags={"feature": "rerank"}))
    midnight, feature = "'2026-11-23T00:00:00.000000Z'", "tags ->> 'feature'"
    for where in (
        f"started_at >= {midnight} AND {feature} = 'rerank'",
        f"started_at < {midnight} AND {feature} IS NULL",
    ):
        assert asked(books, f"SELECT count(*) AS n FROM calls_named WHERE {where}") == [{"n": 1}]


def test_a_call_whose_cost_nobody_can_say_has_none(books: Books) -> None:
    books.deliver(
        made(number=1, usage=Usage()),
        made(number=2, request_model="nobody/knows"),
        made(number=3, usage=Usage(), outcome=Outcome.FAILED),
        made(number=4, usage=used(1000, 0)._replace(source=UsageSource.PARTIAL, output_tokens=None)),
    )
    found = [exact(row["cost"]) for row in asked(books, "SELECT cost FROM calls_named ORDER BY id")]
    assert found == [None, None, Decimal(0), Decimal("0.011")]


@pytest.mark.parametrize(
    ("used", "cost"),
    [
        ({"audio_seconds": 30}, None),
        ({"audio_seconds": 30, "requests": 1, "input_tokens": 0}, None),
        ({"audio_seconds": 30, "images": 1}, None),
        ({"audio_seconds": 30, "input_tokens": 1000}, "0.011"),
        ({"requests": 1}, "0"),
        ({"input_tokens": 0, "output_tokens": 0}, "0"),
    ],
)
def test_a_call_that_used_only_what_has_no_price_has_no_cost(
    books: Books, used: dict[str, Any], cost: str | None
) -> None:
    """A `-` where nobody knows, not 0 (L5). With tokens beside what they cost is known, and the rest is flagged."""
    books.deliver(made(usage=Usage(**used, source=UsageSource.PROVIDER)))
    (found,) = asked(books, "SELECT cost FROM calls_named")
    assert exact(found["cost"]) == (None if cost is None else Decimal(cost))
    with reading(books.engine) as conn:
        (one,) = booked.listed(conn, Selection())
    assert (one.cost and one.cost.amount) == exact(found["cost"])


CARD = 'provider = "wcode"\ncurrency = "USD"\nsource = "test"\n[[rate]]\nmodel = "any"\nvalid_from = 2026-01-01\n'
OPTIONAL = [each.name for each in CLASSES if each.name not in REQUIRED]

prices = st.decimals(0, 10**8 - 1, places=9) | st.sampled_from([Decimal(0), Decimal("99999999.999999999"), Decimal(12)])
tokens = st.integers(0, 10**12) | st.integers(0, 3000) | st.sampled_from([None, 10**12])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    priced=st.fixed_dictionaries({"input": prices, "output": prices}, optional=dict.fromkeys(OPTIONAL, prices)),
    used=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COUNTED, tokens)), min_size=1, max_size=20),
)
def test_the_cost_of_a_call_is_right_to_the_last_digit(
    database: Database, priced: dict[str, Decimal], used: list[dict[str, Any]]
) -> None:
    with closing(Books(database.store())) as books:
        books.load(CARD + "\n".join(f"{name} = {price:f}" for name, price in priced.items()))
        usages = [Usage(**counts, source=UsageSource.PROVIDER) for counts in used]
        books.deliver(*(made(number=n, request_model="any", usage=usage) for n, usage in enumerate(usages)))
        with reading(books.engine) as conn:
            expected = [one.cost and plain(one.cost.amount) for one in booked.every(conn, Selection())]
        found = asked(books, "SELECT cost FROM calls_named ORDER BY id DESC")
        assert len(expected) == len(usages)
        assert [None if row["cost"] is None else plain(Decimal(row["cost"])) for row in found] == expected
        if not is_postgresql(books.engine):
            assert [row["cost"] for row in found] == expected


def test_every_count_is_bounded_so_that_the_dearest_call_is_priced_in_whole_numbers(books: Books) -> None:
    dearest = "99999999.999999999"
    books.load(CARD + "\n".join(f"{each.name} = {dearest}" for each in CLASSES))
    most: dict[str, Any] = dict.fromkeys(COUNTED, 10**12)
    least_rest = most | {"input_tokens": 0, "output_tokens": 0}
    usages = [Usage(**counts, source=UsageSource.PROVIDER) for counts in (most, least_rest)]
    books.deliver(*(made(number=n, request_model="any", usage=usage) for n, usage in enumerate(usages)))
    with reading(books.engine) as conn:
        expected = [one.cost.amount for one in booked.every(conn, Selection()) if one.cost]
    found = [exact(row["cost"]) for row in asked(books, "SELECT cost FROM calls_named ORDER BY id DESC")]
    assert found == expected


def two_months(books: Books) -> None:
    c3: dict[str, Any] = {"key_fingerprint": "c3" * 32, "key_last4": "c3d4"}
    rerank = {"feature": "rerank"}
    books.deliver(
        made(at("2026-10-31"), 1),
        made(at("2026-11-16"), 2, tags=rerank),
        made(at("2026-11-20"), 3, tags=rerank, usage=used(10, 0)),
        made(at("2026-11-23"), 4, tags={"feature": "chat"}, usage=used(20, 0), **c3),
        made(at("2026-11-23"), 5, project="search", tags=rerank, usage=used(30, 0), **c3),
        made(at("2026-11-23"), 6, project="search", request_model="nobody/knows"),
    )
    books.roll()


def costs(books: Books, query: str) -> list[tuple[Any, ...]]:
    """Rows with their cost to nine digits: a sum on SQLite is a float."""
    return [tuple(_rounded(value) for value in row.values()) for row in asked(books, query)]


def _rounded(value: Any) -> Any:
    return f"{value:.9f}".rstrip("0") if isinstance(value, float | Decimal) and value % 1 else value


def test_cost_by_project_and_month(books: Books) -> None:
    two_months(books)
    assert costs(books, COST_BY_PROJECT_AND_MONTH) == [
        ("checkout", "2026-10", "CNY", "0.018", 1),
        ("checkout", "2026-11", "CNY", "0.01833", 3),
        ("search", "2026-11", "CNY", "0.00033", 1),
        ("search", "2026-11", None, None, 1),
    ]


def test_the_top_keys_of_a_week(books: Books) -> None:
    two_months(books)
    assert costs(books, TOP_KEYS_OF_A_WEEK) == [
        ("…c3d4 (c3c3c3c3)", "CNY", "0.00055"),
        ("…a1b2 (a1a1a1a1)", "CNY", "0.00011"),
    ]


def test_cost_by_feature_of_each_project(books: Books) -> None:
    two_months(books)
    assert costs(books, COST_BY_FEATURE) == [
        ("checkout", "rerank", "CNY", "0.01811"),
        ("checkout", "chat", "CNY", "0.00022"),
        ("search", "rerank", "CNY", "0.00033"),
    ]


def test_a_sum_on_postgresql_is_exact_and_on_sqlite_the_amounts_are(books: Books) -> None:
    two_months(books)
    total = books.spend("project").total.spent["CNY"]
    if is_postgresql(books.engine):
        assert asked(books, "SELECT sum(amount) AS total FROM spend_days_named") == [{"total": total}]
    rows = asked(books, "SELECT amount FROM spend_days_named WHERE amount IS NOT NULL")
    assert sum(filter(None, (exact(row["amount"]) for row in rows)), Decimal()) == total


def test_a_key_and_a_project_go_by_the_names_that_reports_give_them(books: Books) -> None:
    books.deliver(
        made(number=1),
        made(number=2, key_fingerprint="", key_last4=""),
        made(number=3, key_fingerprint="c3" * 32, key_last4="c3d4"),
    )
    books.roll()
    with writing(books.engine) as conn:
        conn.execute(keys.update().where(keys.c.last4 == "c3d4").values(name="nightly"))
    with reading(books.engine) as conn:
        labels = {key.label for key in known_keys(conn).values()}
    for view in ("calls_named", "spend_days_named", "spend_quarters_named"):
        assert {row["key"] for row in asked(books, f"SELECT * FROM {view}")} == labels
    with writing(books.engine) as conn:
        conn.execute(projects.delete())
        conn.execute(keys.delete())
    expected = {line.group for by in ("project", "key") for line in books.spend(by).lines}
    rows = asked(books, "SELECT * FROM spend_days_named")
    assert {row[name] for row in rows for name in ("project", "key")} == expected


def test_days_are_read_by_their_range_through_the_view(books: Books) -> None:
    two_months(books)
    with plainly(books) as connection:
        if is_postgresql(books.engine):
            connection.execute("SET enable_seqscan = off")
        explain = "EXPLAIN" if is_postgresql(books.engine) else "EXPLAIN QUERY PLAN"
        plan = "\n".join(str(row[-1]) for row in connection.execute(f"{explain}\n{TOP_KEYS_OF_A_WEEK}").fetchall())
    assert "(billed_on>? AND billed_on<?)" in plan or "Index Cond: ((billed_on >= " in plan, plan


def definitions(books_url: str) -> list[str]:
    engine = open_engine(books_url)
    with reading(engine) as conn:
        known = "pg_views WHERE schemaname = 'public'" if is_postgresql(conn) else "sqlite_master WHERE type = 'view'"
        column = "definition" if is_postgresql(conn) else "sql"
        found = [str(sql) for (sql,) in conn.exec_driver_sql(f"SELECT {column} FROM {known} ORDER BY 1")]
    engine.dispose()
    return found


def test_a_migrated_store_has_the_views_of_a_new_one_and_they_are_no_tables(database: Database) -> None:
    new, migrated = database.store(), database.empty()
    engine = open_engine(migrated)
    prepare(engine)
    with writing(engine) as conn:
        schema.migrate(conn)
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    engine.dispose()
    assert len(definitions(new)) == len(views.NAMES)
    assert definitions(migrated) == definitions(new)


def test_an_upgrade_brings_back_a_view_that_was_dropped(books: Books) -> None:
    before = definitions(books.url)
    with writing(books.engine) as conn:
        conn.exec_driver_sql("DROP VIEW calls_named")
    schema.upgrade(books.engine)
    assert definitions(books.url) == before


def test_an_upgrade_keeps_what_people_built_upon_a_view(books: Books) -> None:
    with writing(books.engine) as conn:
        conn.exec_driver_sql("CREATE VIEW ours AS SELECT project FROM spend_days_named")
        if is_postgresql(conn):
            conn.exec_driver_sql("GRANT SELECT ON spend_days_named TO PUBLIC")
    schema.upgrade(books.engine)
    assert asked(books, "SELECT * FROM ours") == []
    if is_postgresql(books.engine):
        granted = "SELECT count(*) AS n FROM information_schema.role_table_grants WHERE table_name = 'spend_days_named'"
        assert asked(books, f"{granted} AND grantee = 'PUBLIC'") == [{"n": 1}]


@pytest.mark.parametrize("view", views.NAMES)
def test_every_instant_amount_and_price_can_be_read(books: Books, view: str) -> None:
    books.deliver(made(tags={"feature": "rerank"}))
    books.roll()
    (row,) = asked(books, f"SELECT * FROM {view}")
    prices = [name for name in row if name.endswith("_per_1k")]
    assert [name for name in prices if exact(row[name]) is None] == [
        *("request_per_1k", "web_search_per_1k", "image_per_1k", "audio_second_per_1k")  # they have no parent
    ]
    assert len(prices) == len(CLASSES)
    assert (row["project"], row["currency"], row["rate_id"]) == ("checkout", "CNY", books.rows(rates)[0]["id"])


OF_0002 = {
    "calls_named": (
        "id started_at first_token_at ended_at billed_on month project key key_name key_last4 key_fingerprint "
        "provider model outcome http_status end_user tags input_tokens cache_read_tokens cache_write_tokens "
        "output_tokens reasoning_tokens usage_source cost currency input_per_1k cache_read_per_1k "
        "cache_write_per_1k output_per_1k reasoning_per_1k provider_cost provider_cost_currency anomalies "
        "endpoint request_model response_model response_id attempt link_id stream effort max_tokens "
        "finish_reason bytes_in bytes_out host project_id project_source key_id rate_id source_id batch_id "
    ),
    "spend_days_named": (
        "billed_on month project key key_name key_last4 key_fingerprint provider model usage_source effort "
        "calls failed interrupted unknown input_tokens cache_read_tokens cache_write_tokens output_tokens "
        "reasoning_tokens amount currency input_per_1k cache_read_per_1k cache_write_per_1k output_per_1k "
        "reasoning_per_1k project_id key_id rate_id "
    ),
    "spend_quarters_named": (
        "quarter billed_on month project key key_name key_last4 key_fingerprint provider model usage_source "
        "effort calls failed interrupted unknown input_tokens cache_read_tokens cache_write_tokens "
        "output_tokens reasoning_tokens amount currency input_per_1k cache_read_per_1k cache_write_per_1k "
        "output_per_1k reasoning_per_1k project_id key_id rate_id "
    ),
    "spend_by_tag_named": (
        "tag value billed_on month project provider model usage_source calls failed interrupted unknown "
        "input_tokens cache_read_tokens cache_write_tokens output_tokens reasoning_tokens amount currency "
        "input_per_1k cache_read_per_1k cache_write_per_1k output_per_1k reasoning_per_1k project_id rate_id "
    ),
}
"""The columns that the views had in revision 0002, in their order."""


@pytest.mark.parametrize("view", views.NAMES)
def test_columns_are_only_ever_added_at_the_end(books: Books, view: str) -> None:
    """PostgreSQL replaces a view in place only then, and people read rows by the place of a column."""
    books.deliver(made(tags={"feature": "rerank"}))
    books.roll()
    former = OF_0002[view].split()
    (row,) = asked(books, f"SELECT * FROM {view}")
    assert list(row)[: len(former)] == former
    assert {"web_searches", "estimated_input_tokens", "web_search_per_1k"} <= {*list(row)[len(former) :]}


def test_what_few_calls_have_is_in_the_views(books: Books) -> None:
    call = made(number=1)
    usage = used(10, 1)._replace(web_searches=2, anomalies=("odd",))
    books.deliver(call, made(number=2, parent_id=call.id, service_tier="standard", usage=usage))
    books.roll()
    chosen = "web_searches, service_tier, parent_id IS NULL AS whole"
    rows = [tuple(row.values()) for row in asked(books, f"SELECT {chosen} FROM calls_named ORDER BY id")]
    assert rows == [(None, None, True), (2, "standard", False)]
    (day,) = asked(books, "SELECT calls, sub_calls, web_searches, web_search_per_1k FROM spend_days_named")
    assert tuple(day.values()) == (1, 1, 2, None)
    flagged = "SELECT value, sub_calls FROM spend_by_tag_named WHERE tag = 'anomaly' ORDER BY value"
    assert [tuple(row.values()) for row in asked(books, flagged)] == [("odd", 1), ("unpriced_web_searches", 1)]


def test_a_refused_call_names_its_budget_in_the_views(books: Books) -> None:
    books.deliver(made(number=1), made(number=2, outcome=Outcome.FAILED, usage=Usage(), refused_by="o'hara's"))
    books.roll()
    rows = asked(books, "SELECT refused_by, cost FROM calls_named ORDER BY id")
    assert [row["refused_by"] for row in rows] == [None, "o'hara's"]
    assert Decimal(rows[1]["cost"]) == 0
    by_tag = "SELECT value, calls, failed FROM spend_by_tag_named WHERE tag = 'refusal'"
    assert [tuple(row.values()) for row in asked(books, by_tag)] == [("o'hara's", 1, 1)]
