"""A rate book with conditions, aliases and withdrawals; dated exchange rates; what providers state beside our cost.

Revision 0004, after 0003.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from accounting import aliases
from accounting.store.types import Exact, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


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
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_why", sa.Text()),
    ):
        op.add_column("rates", column)
    op.add_column("store", sa.Column("rates_edition", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("store", sa.Column("priced_edition", sa.Integer(), nullable=False, server_default="0"))


def lines_hold_for_the_tiers_that_they_priced() -> None:
    """Before, a line was for whatever tier served a call: those that priced another than the standard one go on so."""
    op.execute(
        "UPDATE rates SET service_tier = '*' WHERE id IN (SELECT DISTINCT rate_id FROM calls "
        "WHERE lower(coalesce(service_tier, '')) "
        "NOT IN ('', 'default', 'standard', 'standard_only', 'auto', 'on_demand'))"
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


def _withdrawal() -> list[sa.Column[object]]:
    return [
        sa.Column("withdrawn_at", Instant()),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_why", sa.Text()),
    ]
