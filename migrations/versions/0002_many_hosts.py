"""Many hosts: projects and keys that people manage, calls that may change, spend by tag.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from accounting.store.types import Exact, Instant, Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    books_may_come_back()
    people_manage_projects_and_keys()
    calls_may_change()
    calls_may_come_again()
    spend_by_tag()
    roll_up_anew()


def books_may_come_back() -> None:
    op.add_column("store", sa.Column("restored_at", Instant()))
    op.add_column("store", sa.Column("restored_until", Instant()))


def people_manage_projects_and_keys() -> None:
    op.add_column("projects", sa.Column("currency", sa.Text()))
    op.add_column("keys", sa.Column("name", sa.Text()))
    op.create_index("ix_keys_name", "keys", ["name"], unique=True)
    op.create_table(
        "former_project_names",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("renamed_at", Instant(), nullable=False),
        sa.Column("renamed_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_former_project_names_project_id"),
        sa.PrimaryKeyConstraint("name", name="pk_former_project_names"),
    )
    op.create_table(
        "project_zones",
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project_zones_project_id"),
        sa.PrimaryKeyConstraint("project_id", "valid_from", name="pk_project_zones"),
    )
    op.create_table(
        "key_projects",
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("valid_from", Instant(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_key_projects_key_id"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_key_projects_project_id"),
        sa.PrimaryKeyConstraint("key_id", "valid_from", name="pk_key_projects"),
    )


def calls_may_change() -> None:
    op.add_column("batches", sa.Column("superseded", sa.Integer(), nullable=False, server_default="0"))
    for table in ("rejected", "conflicts"):
        op.add_column(table, sa.Column("settled_at", Instant()))
        op.add_column(table, sa.Column("settled_how", sa.Text()))
    op.create_table(
        "restatements",
        sa.Column("id", Long, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("what", Json(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("began_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant()),
        sa.Column("upto", sa.Uuid()),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_restatements"),
    )
    op.create_table(
        "restated_calls",
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("restatement_id", Long, nullable=False, autoincrement=False),
        sa.Column("before", Json(), nullable=False),
        sa.ForeignKeyConstraint(["restatement_id"], ["restatements.id"], name="fk_restated_calls_restatement_id"),
        sa.PrimaryKeyConstraint("call_id", "restatement_id", name="pk_restated_calls"),
    )


def calls_may_come_again() -> None:
    op.create_table(
        "repeats",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name="fk_repeats_source_id"),
        sa.PrimaryKeyConstraint("source_id", "number", name="pk_repeats"),
    )


def spend_by_tag() -> None:
    counts = ("calls", "failed", "interrupted", "unknown")
    tokens = ("input", "cache_read", "cache_write", "output", "reasoning")
    op.create_table(
        "spend_by_tag",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("billed_on", sa.Date(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("rate_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("usage_source", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        *(sa.Column(f"{name}_tokens", sa.BigInteger(), nullable=False) for name in tokens),
        sa.Column("amount", Exact()),
        sa.Column("currency", sa.Text()),
        sa.PrimaryKeyConstraint(
            "tag", "billed_on", "value", "project_id", "rate_id", "usage_source", name="pk_spend_by_tag"
        ),
    )


def roll_up_anew() -> None:
    """Tags of calls that are rolled up already are in no table yet, so the next rollup adds every batch again."""
    op.execute("DELETE FROM spend_quarters")
    op.execute("DELETE FROM spend_days")
    op.execute("UPDATE batches SET rolled_at = NULL")
