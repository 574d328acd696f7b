"""Every unit that is billed: more classes of tokens, searches, images, audio; sub-calls, anomalies and estimates.

Revision 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

from accounting.store.types import Exact, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

QUANTITIES = (
    *("cache_write_1h_tokens", "audio_input_tokens", "image_input_tokens", "audio_output_tokens"),
    *("image_output_tokens", "requests", "web_searches", "images", "audio_seconds"),
)
ESTIMATES = ("estimated_input_tokens", "estimated_output_tokens")
PRICES = (
    *("cache_write_1h", "audio_input", "image_input", "audio_output", "image_output"),
    *("request", "web_search", "image", "audio_second"),
)
SPEND = ("spend_quarters", "spend_days", "spend_by_tag")


def upgrade() -> None:
    calls_use_more()
    spend_holds_more()
    rates_price_more()
    calls_teach()
    roll_up_anomalies()


def calls_use_more() -> None:
    for name in (*QUANTITIES, *ESTIMATES):
        op.add_column("calls", sa.Column(name, sa.BigInteger()))
    op.add_column("calls", sa.Column("parent_id", sa.Uuid()))
    op.add_column("calls", sa.Column("service_tier", sa.Text()))
    op.add_column("calls", sa.Column("script", sa.Text()))


def spend_holds_more() -> None:
    for table in SPEND:
        for name in ("sub_calls", *QUANTITIES, *ESTIMATES, "estimated_calls"):
            op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))


def rates_price_more() -> None:
    for name in PRICES:
        op.add_column("rates", sa.Column(f"{name}_per_1k", Exact()))


def calls_teach() -> None:
    op.create_table(
        "estimate_lines",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("fixed", sa.BigInteger(), nullable=False),
        sa.Column("per_million", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("examined", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("error", "high_error", "bias", "prior_error")),
        sa.Column("learned_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "model", "endpoint", "stream", "script", name="pk_estimate_lines"),
    )
    op.create_table(
        "answer_sizes",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("median_tokens", sa.BigInteger(), nullable=False),
        sa.Column("high_tokens", sa.BigInteger(), nullable=False),
        sa.Column("learned_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "model", "key_id", name="pk_answer_sizes"),
    )


def roll_up_anomalies() -> None:
    """Anomalies of calls that are rolled up already are in no table yet, so the next rollup adds every batch again.

    Books in which no call has any are as they should be.
    """
    flagged = sa.text("SELECT 1 FROM calls WHERE CAST(anomalies AS TEXT) <> '[]' LIMIT 1")
    if op.get_bind().execute(flagged).first() is None:
        return
    for table in SPEND:
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    op.execute("UPDATE batches SET rolled_at = NULL")
