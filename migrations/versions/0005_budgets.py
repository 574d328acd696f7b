"""Budgets with periods and reservations; answers' lengths by reasoning effort; calls that were refused.

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from accounting.store.types import Exact, Instant, Json

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("store", sa.Column("budgets_edition", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("calls", sa.Column("refused_by", sa.Text()))
    budgets_limit()
    calls_reserve()
    answers_are_by_effort()


def budgets_limit() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Integer()),
        sa.Column("key_id", sa.Integer()),
        sa.Column("scope_name", sa.Text()),
        sa.Column("scope_value", sa.Text()),
        sa.Column("amount", Exact(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("every", sa.Text(), nullable=False),
        sa.Column("every_days", sa.Integer()),
        sa.Column("since", sa.Date()),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("thresholds", Json(), nullable=False),
        sa.Column("when_away", sa.Text(), nullable=False),
        sa.Column("fx", Json(), nullable=False),
        sa.Column("max_output", sa.BigInteger()),
        sa.Column("counted_from", sa.Date(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("paused_at", Instant()),
        sa.Column("removed_at", Instant()),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_budgets_project_id"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_budgets_key_id"),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    kept = sa.text("removed_at IS NULL")
    op.create_index("ix_budgets_name", "budgets", ["name"], unique=True, sqlite_where=kept, postgresql_where=kept)
    op.create_table(
        "budget_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("budget_id", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("fields", Json(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_budget_changes_budget_id"),
        sa.PrimaryKeyConstraint("id", name="pk_budget_changes"),
    )


def calls_reserve() -> None:
    op.create_table(
        "budget_periods",
        sa.Column("id", _LONG, nullable=False),
        sa.Column("budget_id", sa.Integer(), nullable=False),
        sa.Column("begins_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date()),
        sa.Column("amount", Exact(), nullable=False),
        *(sa.Column(name, Exact(), nullable=False) for name in ("spent", "reserved", "held", "overrun")),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("foreign_calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name="fk_budget_periods_budget_id"),
        sa.PrimaryKeyConstraint("id", name="pk_budget_periods"),
        sa.UniqueConstraint("budget_id", "begins_on", name="uq_budget_periods_budget_id_begins_on"),
    )
    op.create_table(
        "reservations",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("period_id", _LONG, nullable=False, autoincrement=False),
        sa.Column("amount", Exact(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reserved_at", Instant(), nullable=False),
        sa.Column("leased_until", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["period_id"], ["budget_periods.id"], name="fk_reservations_period_id"),
        sa.PrimaryKeyConstraint("call_id", "period_id", name="pk_reservations"),
    )
    op.create_index("ix_reservations_period_id", "reservations", ["period_id", "call_id"])
    lapsing = sa.text("state = 'reserved'")
    op.create_index(
        "ix_reservations_lapsing", "reservations", ["leased_until"], sqlite_where=lapsing, postgresql_where=lapsing
    )


def answers_are_by_effort() -> None:
    """What was learned of answers is learned again within the hour."""
    op.drop_table("answer_sizes")
    op.create_table(
        "answer_sizes",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("effort", sa.Text(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("median_tokens", sa.BigInteger(), nullable=False),
        sa.Column("high_tokens", sa.BigInteger(), nullable=False),
        sa.Column("learned_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "model", "key_id", "effort", name="pk_answer_sizes"),
    )


_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
