"""Books with something in every table, and in them what is hard to carry; and all that books hold, to be compared."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import sqlalchemy as sa

from accounting import aliasbook, backfill, budgets, keys, projects, ratebook, restate
from accounting.aliases import Rule
from accounting.budgets import Terms
from accounting.cycles import Cycle, Every
from accounting.ingest import ingest
from accounting.money import Money
from accounting.restate import Order
from accounting.scopes import Kind, Scope
from accounting.store import aliaslines, open_engine, reading, tables, writing
from accounting.usage import Outcome, Usage
from tests.books import NOON, Books, Journal, made, used

CARD = """
provider = "wcode"
currency = "USD"
source = "a card"

[[rate]]
model = "odd/prices"
valid_from = 2026-01-01
input = 0.000000123
output = 0.100

[[rate]]
model = "odd/*"
valid_from = 2026-01-01T00:00:00.000001Z
service_tier = "batch"
context_above = 200_000
hours = "mon-fri 00:30-08:30 Asia/Shanghai"
input = 0.1
output = 0.2

[[rate]]
model = "odd/wrong"
valid_from = 2026-01-01
input = 1
output = 2
"""


TINY = Money(Decimal("0.00000000000012"), "USD")
LATER = NOON + timedelta(days=400)


def fill(books: Books) -> None:
    """A row in every table, and in them what is hard to carry."""
    books.load(CARD)
    some = [made(NOON + timedelta(minutes=number), number) for number in range(1, 40)]
    books.deliver(*some[:20])
    books.deliver(
        replace(some[20], tags={"feature": 'tab\t, \\N, "quotes"', "naïve": "日本\n"}, user="o'hara"),
        replace(some[21], response_model="odd/prices", usage=used(123_456_789, 7, read=3)),
        replace(some[22], outcome=Outcome.INTERRUPTED, http_status=None, stream=True),
        replace(
            some[23], usage=used(5, 6)._replace(provider_cost=Money(Decimal("0.00000000000012"), "USD")), project="\\."
        ),
    )
    books.deliver(replace(some[0], usage=used(1, 1)))  # in conflict with one that is there
    books.journal.numbers[some[30].id] = 90
    books.deliver(replace(some[30], outcome=None))  # rejected, and ahead of a gap
    ingest(books.engine, Journal("copy").batch(some[1]), NOON)  # again, by another number
    books.deliver(replace(some[28], outcome=Outcome.FAILED, http_status=None, usage=Usage(), refused_by="o'hara's"))
    books.roll()
    books.deliver(*some[24:28])
    with writing(books.engine) as conn:
        project = projects.find(conn, "checkout")
        projects.rename(conn, project, "till", NOON, "ann@desk")
        key = keys.known(conn)[0]
        keys.rename(conn, key, "the key")
        conn.execute(sa.insert(tables.jobs).values(name="rollup", due_at=NOON))
        conn.execute(sa.insert(tables.job_runs).values(job="rollup", started_at=NOON, state="done", detail="1 call"))
        conn.execute(sa.insert(tables.project_zones).values(
            project_id=project.id, valid_from=LATER.date(), zone="Asia/Tokyo", decided_at=NOON, decided_by="ann@desk"
        ))  # fmt: skip
        conn.execute(sa.insert(tables.key_projects).values(
            key_id=key.id, valid_from=LATER, project_id=project.id, decided_at=NOON, decided_by="ann@desk", why="hers"
        ))  # fmt: skip
        conn.execute(sa.insert(tables.estimate_lines).values(
            provider="wcode", model="z-ai/glm-5", endpoint="chat/completions", stream=True, script="", fixed=-12,
            per_million=1_500_000, calls=40, examined=20, error=51, high_error=93, bias=-7, prior_error=480,
            learned_at=NOON,
        ))  # fmt: skip
        conn.execute(sa.insert(tables.answer_sizes).values(
            provider="wcode", model="z-ai/glm-5", key_id=key.id, effort="high", calls=40, median_tokens=120,
            high_tokens=900, learned_at=NOON,
        ))  # fmt: skip
        conn.execute(sa.insert(tables.fx_rates).values(
            base="USD", quote="CNY", day=NOON.date(), rate=Decimal("7.100000000012"), source="a bank's list",
            loaded_at=NOON, loaded_by="ann@desk",
        ))  # fmt: skip
        conn.execute(sa.insert(tables.budgets).values(
            name="o'hara's", scope="tag", scope_name="feature", scope_value="日本\n", amount=Decimal("0.000000000012"),
            currency="USD", every="days", every_days=10, since=NOON.date(), mode="strict", thresholds=["50", "99.5"],
            when_away="pass", fx={"CNY": "0.14"}, max_output=4_096, counted_from=NOON.date(), created_at=NOON,
            created_by="ann@desk",
        ))  # fmt: skip
        conn.execute(sa.insert(tables.budget_periods).values(
            budget_id=1, begins_on=NOON.date(), ends_on=NOON.date() + timedelta(days=10),
            amount=Decimal("0.000000000012"), spent=Decimal("0"), reserved=TINY.amount, held=Decimal("0"),
            overrun=TINY.amount, unpriced=0, foreign_calls=0,
        ))  # fmt: skip
        conn.execute(sa.insert(tables.reservations).values(
            call_id=some[35].id, period_id=1, amount=TINY.amount, state="reserved", reserved_at=NOON,
            leased_until=LATER,
        ))  # fmt: skip
        backfill.fill(conn, budgets.by_id(conn, 1))
        conn.execute(sa.insert(tables.budget_changes).values(
            budget_id=1, at=NOON, who="ann@desk", what="added", fields={"amount": [None, "1"]}, why="naïve\n",
        ))  # fmt: skip
        for scope in (Scope(Kind.PROJECT, project.id), Scope(Kind.KEY, key.id)):
            terms = Terms(name=f"a {scope.kind}'s", limit=Decimal(7), fx={"USD": Decimal("7.1")})
            budget = budgets.add(conn, scope, "CNY", Cycle(Every.MONTH), terms, NOON, "ann@desk")
            backfill.fill(conn, budget)
        rules = [Rule("azure", f"{ours}-{{model}}", "gpt-{model}", "o'hara's") for ours in ("our", "your")]
        _, wrong = aliaslines.append(conn, rules, NOON, "ann@desk")
        aliasbook.withdraw(conn, [wrong.id], LATER, "bob@desk", "naïve\n")
        line = next(rate for rate in ratebook.rates(conn) if rate.model == "odd/wrong")
        ratebook.withdraw(conn, [line.id], LATER, "bob@desk", "a tab\t, typed 'wrong'")
    move(books, "search")


def move(books: Books, effort: str) -> None:
    """Restate a few calls."""
    order = Order("tried", {"to": effort}, "ann@desk", "a test")
    few = tables.calls.c.bytes_in == 0
    restate.restate(books.engine, order, few, lambda _, some: {row["id"]: {"effort": effort} for row in some[::3]},
                    lambda: NOON)  # fmt: skip


def contents(url: str) -> dict[str, list[dict[str, object]]]:
    """All rows of a store, as the program reads them."""
    engine = open_engine(url)
    try:
        with reading(engine) as conn:
            return {table.name: _rows(conn, table) for table in tables.metadata.sorted_tables}
    finally:
        engine.dispose()


def contents_but_for_a_restore(url: str) -> dict[str, list[dict[str, object]]]:
    """All rows of a store, but whether it came back from a backup."""
    rows = contents(url)
    return {**rows, "store": [{**row, "restored_at": None, "restored_until": None} for row in rows["store"]]}


def _rows(conn: sa.Connection, table: sa.Table) -> list[dict[str, object]]:
    key = [column.name for column in table.primary_key]
    found = [dict(row) for row in conn.execute(sa.select(table)).mappings()]
    return sorted(found, key=lambda row: [str(row[name]) for name in key])
