"""A store that an older program made and filled, after its upgrade."""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from accounting import aliasbook, aliases, ratebook
from accounting.aliases import Rule
from accounting.backup import Holdings, back_up, restore
from accounting.cli.store import upgrade
from accounting.errors import SchemaMismatch
from accounting.money import Money
from accounting.rerating import Which, rerate
from accounting.rollup import Rolled, roll_all
from accounting.store import is_postgresql, open_engine, prepare, reading, schema, writing
from accounting.store.tables import calls, metadata, rates, spend_by_tag
from accounting.usage import Call
from accounting.verify import verify
from tests.books import NOON, Books, Journal, at, made, used
from tests.databases import Database
from tests.spending import spending

StoreOf = Callable[[str], Engine]


@pytest.fixture
def store_of(database: Database) -> Iterator[StoreOf]:
    """Makes a store of a revision, empty."""
    made: list[Engine] = []

    def of(revision: str) -> Engine:
        engine = open_engine(database.empty())
        made.append(engine)
        prepare(engine)
        with writing(engine) as conn:
            config = Config()
            config.set_main_option("script_location", str(schema.migrations()).replace("%", "%%"))
            config.attributes["connection"] = conn
            command.upgrade(config, revision)
        return engine

    yield of
    for engine in made:
        engine.dispose()


@pytest.fixture
def old(store_of: StoreOf) -> Engine:
    """A store of the first revision, empty."""
    return store_of("0001")


def fill(old: Engine, books: Books) -> None:
    """What the books hold, as far as the old store has a place for it."""
    with writing(old) as conn:
        kept = _columns(conn)
        for table in metadata.sorted_tables:
            rows = books.rows(table)
            if table.name in kept and rows:
                conn.execute(table.insert(), [{name: row[name] for name in kept[table.name]} for row in rows])


def _columns(conn: Connection) -> dict[str, list[str]]:
    found = sa.inspect(conn)
    return {table: [column["name"] for column in found.get_columns(table)] for table in found.get_table_names()}


def test_calls_of_an_older_store_are_rolled_up_anew_with_their_tags(old: Engine, books: Books) -> None:
    books.deliver(made(number=1, tags={"feature": "rerank"}, user="u-1"), made(number=2, request_model="nobody/knows"))
    books.deliver(made(at("2026-11-20 23:59"), tags={"feature": "search"}))
    books.roll()
    books.deliver(made(number=3, tags={"feature": "rerank"}))
    fill(old, books)
    with reading(old) as conn:
        assert "spend_by_tag" not in _columns(conn)
    assert schema.upgrade(old) == "0001"
    roll_all(old, lambda: NOON)
    books.roll()
    upgraded = Books(old.url.render_as_string(hide_password=False))
    assert spending(upgraded) == spending(books)
    assert len(spending(books)["spend_by_tag"]) == 3
    assert verify(upgraded.engine).differences == ()
    upgraded.close()


def flagged(number: int) -> Call:
    usage = used(1000, 200)._replace(anomalies=("total_mismatch", "hidden_output"))
    return made(number=number, usage=usage, tags={"feature": "rerank"})


def test_anomalies_of_an_older_store_are_in_its_sums_after_an_upgrade(store_of: StoreOf, books: Books) -> None:
    old = store_of("0002")
    books.deliver(flagged(1), made(number=2))
    books.roll()
    books.deliver(flagged(3))
    fill(old, books)
    with writing(old) as conn:
        conn.execute(spend_by_tag.delete().where(spend_by_tag.c.tag == "anomaly"))  # nobody rolled them up then
    assert schema.upgrade(old) == "0002"
    roll_all(old, lambda: NOON)
    books.roll()
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)
        found = {(row["tag"], row["value"]): row["calls"] for row in upgraded.rows(spend_by_tag)}
        assert found[("anomaly", "total_mismatch")] == found[("anomaly", "hidden_output")] == 2
        assert verify(upgraded.engine).differences == ()


def by_id(books: Books) -> dict[Any, Any]:
    return {row["id"]: row for row in books.rows(calls)}


def charged(number: int, cost: str, model: str = "z-ai/glm-5", block: str | None = None) -> Call:
    usage = used(1000, 200)._replace(provider_cost=Money(Decimal(cost), "CNY"), block=block)
    return made(number=number, usage=usage, request_model=model, tags={"feature": "rerank"})


def test_what_providers_stated_to_an_older_store_is_in_its_sums_after_an_upgrade(
    store_of: StoreOf, books: Books
) -> None:
    old = store_of("0003")
    costs = ("0.018", "0.0180000000000000001", "0.02", "0.01")
    books.deliver(*(charged(number, cost) for number, cost in enumerate(costs)), charged(5, "0.3", "nobody/knows"))
    books.roll()
    own_key = '{"is_byok":true,"cost_details":{"upstream_inference_cost":0.2}}'
    books.deliver(charged(6, "7"), made(number=7), charged(8, "0.01", block=own_key))
    fill(old, books)
    with writing(old) as conn:
        conn.execute(spend_by_tag.delete().where(spend_by_tag.c.tag == "stated"))  # nobody rolled them up then
    assert schema.upgrade(old) == "0003"
    roll_all(old, lambda: NOON)
    books.roll()
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)
        assert by_id(upgraded) == by_id(books)
        found = {
            row["value"].split()[0]: row["stated"] for row in upgraded.rows(spend_by_tag) if row["tag"] == "stated"
        }
        assert found == {
            "equal": Decimal("0.018"),
            "rounding": Decimal("0.0180000000000000001"),
            "higher": Decimal("7.02"),
            "lower": Decimal("0.01"),
            "byok_higher": Decimal("0.01"),
            "unpriced": Decimal("0.3"),
        }
        assert verify(upgraded.engine).differences == ()


def test_sums_without_any_stated_cost_stay_as_they_are(store_of: StoreOf, books: Books) -> None:
    old = store_of("0003")
    books.deliver(flagged(1), made(number=2))
    books.roll()
    fill(old, books)
    assert schema.upgrade(old) == "0003"
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)


CARD = """
provider = "p"
currency = "USD"
source = "test"
""" + "\n".join(
    f'[[rate]]\nmodel = "{model}"\nvalid_from = 2026-01-01\ninput = {price}\noutput = 2\n{more}'
    for price, (model, more) in enumerate({"any": 'service_tier = "*"', "usual": "", "withdrawn": ""}.items(), 1)
)


def priced(number: int, model: str, tier: str | None = None) -> Call:
    return made(number=number, provider="p", request_model=model, service_tier=tier)


def test_everything_is_priced_after_an_upgrade_as_it_was(store_of: StoreOf, books: Books) -> None:
    books.load(CARD)
    books.deliver(priced(1, "any", "Batch"), priced(2, "any"), priced(3, "usual", "default"), priced(4, "withdrawn"))
    books.roll()
    lines = {row["model"]: row["id"] for row in books.rows(rates) if row["provider"] == "p"}
    with writing(books.engine) as conn:
        ratebook.withdraw(conn, [lines["withdrawn"]], NOON, "ann@desk", "typed wrong")
    books.deliver(priced(5, "any", "flex"), priced(6, "nobody/knows"), priced(7, "withdrawn"))
    old = store_of("0003")
    fill(old, books)  # without the tiers that lines are for: every line was for any then
    assert schema.upgrade(old) == "0003"
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)
        assert rated(upgraded) == rated(books)
        assert [*rated(upgraded).values()] == [
            *(lines[name] for name in ("any", "any", "usual", "withdrawn", "any")),
            0,
            0,
        ]
        found = {row["model"]: row["service_tier"] for row in upgraded.rows(rates) if row["provider"] == "p"}
        assert found == {"any": "*", "usual": "", "withdrawn": ""}
        roll_all(old, lambda: NOON)
        books.roll()
        assert spending(upgraded) == spending(books)
        assert verify(upgraded.engine).differences == ()
        with writing(upgraded.engine) as conn:
            schema.finish_copy(conn)  # new rows have ids beyond those that were filled in
        upgraded.journal = Journal("after the upgrade")
        upgraded.deliver(priced(8, "any", "priority"), priced(9, "usual"), priced(10, "withdrawn"))
        assert [*rated(upgraded).values()][-3:] == [lines["any"], lines["usual"], 0]


DEARER = """
provider = "p"
currency = "USD"
source = "test"
""" + "\n".join(
    f'[[rate]]\nmodel = "m"\nvalid_from = {since}\ninput = {price}\noutput = 2\nservice_tier = "*"'
    for since, price in (("2026-01-01", 10), ("2026-06-01", 1))
)


@pytest.mark.parametrize("served_flex", ["2026-03-01", "2026-11-20"])
def test_a_models_newest_line_prices_every_tier_after_an_upgrade(
    store_of: StoreOf, books: Books, served_flex: str
) -> None:
    def served(number: int, day: str, tier: str | None = None) -> Call:
        return made(at(day), number, provider="p", request_model="m", service_tier=tier)

    books.load(DEARER)
    first, second = (row["id"] for row in books.rows(rates) if row["provider"] == "p")
    books.deliver(served(1, served_flex, "flex"), served(2, "2026-03-02"), served(3, "2026-11-21"))
    books.roll()
    old = store_of("0003")
    fill(old, books)
    schema.upgrade(old)
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        with writing(upgraded.engine) as conn:
            schema.finish_copy(conn)
        upgraded.journal = Journal("after the upgrade")
        upgraded.deliver(*(served(number, "2026-11-22", tier) for number, tier in ((4, None), (5, "flex"))))
        assert rated(upgraded) == {**rated(books), 4: second, 5: second}
        assert rated(books)[2] == first
        upgraded.roll()
        again = rerate(upgraded.engine, Which(), lambda: NOON, "ann@desk", dry_run=True)
        assert (again.done.seen, again.done.changed) == (5, 0)


def rated(books: Books) -> dict[int, int]:
    """The ids of the calls' rates, in the order in which the calls were made."""
    return {row["id"].int % 2**16: row["rate_id"] for row in sorted(books.rows(calls), key=lambda row: row["id"])}


def of_before(store_of: StoreOf, books: Books) -> Engine:
    """A store of the revision before, with sums that the upgrade has to make anew."""
    old = store_of("0002")
    books.deliver(flagged(1), made(number=2))
    books.roll()
    fill(old, books)
    return old


def test_the_command_leaves_no_sum_empty_until_somebody_asks_for_a_report(
    store_of: StoreOf, books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = of_before(store_of, books)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", old.url.render_as_string(hide_password=False))
    upgrade()
    assert capsys.readouterr().out.splitlines()[1:] == ["Rolled up 2 calls: the sums are whole."]
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)
    upgrade()
    assert "nothing to do" in capsys.readouterr().out


def test_an_upgrade_that_is_interrupted_among_the_sums_says_how_to_go_on(
    store_of: StoreOf, books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Rolled:
        raise KeyboardInterrupt

    old = of_before(store_of, books)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", old.url.render_as_string(hide_password=False))
    monkeypatch.setattr("accounting.cli.books.roll_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        upgrade()
    assert capsys.readouterr().err.endswith("To add the others: accounting rollup\n")


def test_an_upgraded_store_has_the_shipped_aliases(store_of: StoreOf) -> None:
    old = store_of("0003")
    assert schema.upgrade(old) == "0003"
    with reading(old) as conn:
        lines = aliasbook.lines(conn, withdrawn=True)
    assert [(line.rule.pattern, line.rule.target) for line in lines] == [
        (rule.pattern, rule.target) for rule in aliases.shipped()
    ]
    assert {line.added_by for line in lines} == {aliasbook.SHIPPED}


def test_aliases_that_a_newer_version_ships_come_in_with_an_upgrade(
    books: Books, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = [*aliases.shipped()[1:], Rule("", "new-{model}", "{model}", "newer")]
    monkeypatch.setattr(aliases, "shipped", lambda: shipped)
    monkeypatch.setenv("ACCOUNTING_STORE_URL", books.url)
    upgrade()
    assert capsys.readouterr().out.splitlines()[1] == (
        "1 alias added, 1 withdrawn, as this version ships them. "
        "What you added or withdrew stays: accounting rates aliases list"
    )
    with reading(books.engine) as conn:
        assert aliasbook.aliases(conn).names("acme", "new-m")[0][0] == "m"


def test_sums_of_an_older_store_without_an_anomaly_stay_as_they_are(store_of: StoreOf, books: Books) -> None:
    old = store_of("0002")
    books.deliver(made(number=1, tags={"feature": "rerank"}), made(number=2))
    books.roll()
    books.deliver(made(number=3, tags={"feature": "rerank"}))
    fill(old, books)
    schema.upgrade(old)
    with closing(Books(old.url.render_as_string(hide_password=False))) as upgraded:
        assert spending(upgraded) == spending(books)
        assert verify(upgraded.engine).differences == ()
        assert roll_all(old, lambda: NOON) == books.roll() == Rolled(batches=1, calls=1)
        assert spending(upgraded) == spending(books)


def test_a_backup_comes_before_an_upgrade(old: Engine, books: Books, tmp_path: Path) -> None:
    file = tmp_path / "before.sqlite3"
    books.deliver(made(number=1), made(number=2))
    fill(old, books)
    way = "pg_dump" if is_postgresql(old) else "accounting store backup FILE"
    with pytest.raises(SchemaMismatch, match=f"Make a backup first .{way}"), reading(old) as conn:
        schema.check(conn)
    if is_postgresql(old):
        with pytest.raises(SchemaMismatch, match="pg_dump"):
            back_up(old, file, NOON)
        return
    assert back_up(old, file, NOON) == Holdings(2, None, "0001")
    assert restore(file, old, NOON, replace=True).held.calls == 2
    with reading(old) as conn:
        assert schema.revision(conn) == schema.HEAD
