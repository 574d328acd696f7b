"""A rate book with conditions, aliases and withdrawals; dated exchange rates; what providers state beside our cost.

Revision 0004, after 0003.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from accounting import aliases
from accounting.money import Money
from accounting.periods import Period
from accounting.rates import Rate
from accounting.stated import Statement, standing
from accounting.store.types import Exact, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTED = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"),
    *("cache_write_1h_tokens", "audio_input_tokens", "image_input_tokens", "audio_output_tokens"),
    *("image_output_tokens", "requests", "web_searches", "images", "audio_seconds"),
)
PRICES = (
    *("input_per_1k", "cache_read_per_1k", "cache_write_per_1k", "output_per_1k", "reasoning_per_1k"),
    *("cache_write_1h_per_1k", "audio_input_per_1k", "image_input_per_1k", "audio_output_per_1k"),
    *("image_output_per_1k", "request_per_1k", "web_search_per_1k", "image_per_1k", "audio_second_per_1k"),
)
SPEND = ("spend_quarters", "spend_days", "spend_by_tag")
CALLS_AT_ONCE = 1_000

# The columns as they are at this revision: the program's own tables move on. What is said in them of a stated cost is
# said by the program's rules of today, as of calls that come in today beside them.
calls = sa.table(
    "calls",
    *(sa.column("id", sa.Uuid()), sa.column("provider"), sa.column("usage_source"), sa.column("usage_block")),
    *(sa.column("provider_cost", Exact()), sa.column("provider_cost_currency"), sa.column("stated_as")),
    *(sa.column("rate_id"), *map(sa.column, COUNTED)),
)
rates = sa.table("rates", sa.column("id"), sa.column("currency"), *(sa.column(name, Exact()) for name in PRICES))


def upgrade() -> None:
    rates_have_conditions()
    lines_hold_for_the_tiers_that_they_priced()
    models_have_other_names()
    currencies_convert()
    calls_without_a_rate_are_found()
    stated_costs_add_up()


def rates_have_conditions() -> None:
    for column in (
        sa.Column("service_tier", sa.Text(), nullable=False, server_default=""),
        sa.Column("context_above", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("hours", sa.Text(), nullable=False, server_default=""),
        sa.Column("loaded_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("loaded_why", sa.Text(), nullable=False, server_default=""),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_why", sa.Text()),
    ):
        op.add_column("rates", column)
    op.add_column("store", sa.Column("rates_edition", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("store", sa.Column("priced_edition", sa.Integer(), nullable=False, server_default="0"))


def lines_hold_for_the_tiers_that_they_priced() -> None:
    """Before, a line was for whatever tier served a call: all lines of models that another one served go on so.

    All of a model, as a line that names a tier goes before a newer one for any. No two began at once until now.
    """
    op.execute(
        "UPDATE rates SET service_tier = '*' WHERE EXISTS (SELECT 1 FROM rates AS line "
        "WHERE line.provider = rates.provider AND line.model = rates.model AND line.id IN "
        "(SELECT DISTINCT rate_id FROM calls WHERE lower(coalesce(service_tier, '')) "
        "NOT IN ('', 'default', 'standard', 'standard_only', 'auto', 'on_demand')))"
    )


def models_have_other_names() -> None:
    table = op.create_table(
        "aliases",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("pattern", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        *_withdrawal(),
        sa.PrimaryKeyConstraint("id", name="pk_aliases"),
    )
    said = {"added_at": datetime.now(UTC), "added_by": "shipped"}
    names = ("provider", "pattern", "target", "source")
    op.bulk_insert(table, [{name: getattr(rule, name) for name in names} | said for rule in aliases.shipped()])


def currencies_convert() -> None:
    op.create_table(
        "fx_rates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rate", Exact(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("loaded_at", Instant(), nullable=False),
        sa.Column("loaded_by", sa.Text(), nullable=False),
        *_withdrawal(),
        sa.PrimaryKeyConstraint("id", name="pk_fx_rates"),
    )
    held = sa.text("withdrawn_at IS NULL")
    op.create_index(
        "ix_fx_rates_day_base_quote",
        "fx_rates",
        ["day", "base", "quote"],
        unique=True,
        sqlite_where=held,
        postgresql_where=held,
    )


def calls_without_a_rate_are_found() -> None:
    unpriced = sa.text("rate_id = 0")
    op.create_index(
        "ix_calls_unpriced",
        "calls",
        ["provider", "model", "id"],
        sqlite_where=unpriced,
        postgresql_where=unpriced,
    )


def stated_costs_add_up() -> None:
    op.add_column("calls", sa.Column("stated_as", sa.Text()))
    op.add_column("spend_by_tag", sa.Column("stated", Exact()))
    roll_up_stated_costs()


def roll_up_stated_costs() -> None:
    """What providers stated is in no table of sums yet, so the next rollup adds every batch again.

    Books in which no call has a stated cost are as they should be.
    """
    if not stamp_stated_costs(op.get_bind()):
        return
    for table in SPEND:
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    op.execute("UPDATE batches SET rolled_at = NULL")


def stamp_stated_costs(conn: sa.Connection) -> bool:
    """Whether there were any."""
    held = {row.id: _rate(row) for row in conn.execute(sa.select(rates))}
    stated = sa.select(calls).where(calls.c.provider_cost.is_not(None)).order_by(calls.c.id).limit(CALLS_AT_ONCE)
    this = sa.update(calls).where(calls.c.id == sa.bindparam("this")).values(stated_as=sa.bindparam("how"))
    upto = None
    while some := conn.execute(stated if upto is None else stated.where(calls.c.id > upto)).all():
        conn.execute(this, [{"this": row.id, "how": str(_standing(row, held.get(row.rate_id)))} for row in some])
        upto = some[-1].id
    return upto is not None


def _rate(row: Any) -> Rate:
    prices = {name: getattr(row, name) for name in PRICES}
    return Rate(provider="", model="", currency=row.currency, period=Period(None, None), **prices)


def _standing(row: Any, rate: Rate | None) -> str:
    cost = Money(row.provider_cost, row.provider_cost_currency)
    counts = [getattr(row, name) for name in COUNTED]
    return standing(Statement(cost, row.provider, counts, row.usage_source, row.usage_block), rate)


def _withdrawal() -> list[sa.Column[object]]:
    return [
        sa.Column("withdrawn_at", Instant()),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_why", sa.Text()),
    ]
