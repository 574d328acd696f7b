"""All tables of the books, on one page. An index stands beside the query it serves.

Instants are `Instant` (UTC), money and prices `Exact` (never a float), ids of calls UUIDv7 in order of time.
"""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

from accounting.store.types import Exact, Instant, Json
from accounting.usage import COUNTED

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# For what grows with the calls. On SQLite an INTEGER key has 64 bits already, and a BIGINT one would not count up.
_Long = sa.BigInteger().with_variant(Integer, "sqlite")

# One row: which books these are. A copy restored from a backup keeps its generation until it is told otherwise.
store = Table(
    "store",
    metadata,
    Column("generation", sa.Uuid, primary_key=True),
    Column("zone", Text, nullable=False),  # days of the books, fixed at creation
    Column("created_at", Instant, nullable=False),
    # Set where the books came back from a backup, which was complete until then.
    Column("restored_at", Instant),
    Column("restored_until", Instant),
    # Which edition of the rates and aliases this is, and with which one calls without a rate were last priced.
    Column("rates_edition", Integer, nullable=False, server_default="1"),
    Column("priced_edition", Integer, nullable=False, server_default="0"),
    # Another one whenever budgets, or what decides which of them cover a call, changed.
    Column("budgets_edition", Integer, nullable=False, server_default="1"),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("first_seen_at", Instant, nullable=False),
    Column("currency", Text),  # the one that the project is billed in; NULL: as spent
)

# Names that projects had before: programs that still give one mean the same project.
former_project_names = Table(
    "former_project_names",
    metadata,
    Column("name", Text, primary_key=True),
    Column("project_id", Integer, ForeignKey("projects.id"), nullable=False),
    Column("renamed_at", Instant, nullable=False),
    Column("renamed_by", Text, nullable=False),
)

# The zone of a project's days, from a day on; before its first row, and without one, the books' zone.
project_zones = Table(
    "project_zones",
    metadata,
    Column("project_id", Integer, ForeignKey("projects.id"), primary_key=True),
    Column("valid_from", sa.Date, primary_key=True),
    Column("zone", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("decided_by", Text, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),  # SHA-256, hex; empty for a call that sent no key
    Column("last4", Text, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("name", Text),  # what people call it
)
Index("ix_keys_name", keys.c.name, unique=True)

# Who pays for what a key calls without naming a project, from an instant on.
key_projects = Table(
    "key_projects",
    metadata,
    Column("key_id", Integer, ForeignKey("keys.id"), primary_key=True),
    Column("valid_from", Instant, primary_key=True),
    Column("project_id", Integer, ForeignKey("projects.id"), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)


def _withdrawal() -> list[Column[object]]:
    """What is appended to is never edited: a wrong row is withdrawn, and stays."""
    return [Column("withdrawn_at", Instant), Column("withdrawn_by", Text), Column("withdrawn_why", Text)]


rates = Table(
    "rates",
    metadata,
    Column("id", Integer, primary_key=True),  # from 1: 0 stands for unpriced
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),  # or a pattern
    Column("currency", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_until", Instant),
    Column("service_tier", Text, nullable=False, server_default=""),  # empty: the standard one; *: any
    Column("context_above", sa.BigInteger, nullable=False, server_default="0"),  # for calls with more input than this
    Column("hours", Text, nullable=False, server_default=""),  # empty: all
    Column("input_per_1k", Exact, nullable=False),
    Column("cache_read_per_1k", Exact),  # NULL: as input
    Column("cache_write_per_1k", Exact),  # NULL: as input
    Column("output_per_1k", Exact, nullable=False),
    Column("reasoning_per_1k", Exact),  # NULL: as output
    Column("cache_write_1h_per_1k", Exact),  # NULL: as cache_write
    Column("audio_input_per_1k", Exact),  # NULL: as input
    Column("image_input_per_1k", Exact),  # NULL: as input
    Column("audio_output_per_1k", Exact),  # NULL: as output
    Column("image_output_per_1k", Exact),  # NULL: as output
    # For a thousand of what is billed beside tokens. NULL: no price, which a request that has none does not need.
    Column("request_per_1k", Exact),
    Column("web_search_per_1k", Exact),
    Column("image_per_1k", Exact),
    Column("audio_second_per_1k", Exact),
    Column("source", Text, nullable=False),
    Column("loaded_at", Instant, nullable=False),
    Column("loaded_by", Text, nullable=False, server_default=""),
    Column("loaded_why", Text, nullable=False, server_default=""),
    *_withdrawal(),
)

# Other names of models: which name a call's may be priced as, see `aliases`.
aliases = Table(
    "aliases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("provider", Text, nullable=False),  # empty: any
    Column("pattern", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("added_by", Text, nullable=False),
    *_withdrawal(),
)

# What one unit of the base currency is in the quoted one, on a day.
fx_rates = Table(
    "fx_rates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("day", sa.Date, nullable=False),
    Column("rate", Exact, nullable=False),
    Column("source", Text, nullable=False),
    Column("loaded_at", Instant, nullable=False),
    Column("loaded_by", Text, nullable=False),
    *_withdrawal(),
)
# reports in one currency: the rates of some days; and no pair has two of one day
Index(
    "ix_fx_rates_day_base_quote",
    fx_rates.c.day,
    fx_rates.c.base,
    fx_rates.c.quote,
    unique=True,
    sqlite_where=fx_rates.c.withdrawn_at.is_(None),
    postgresql_where=fx_rates.c.withdrawn_at.is_(None),
)

sources = Table(
    "sources",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("journal", sa.Uuid, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("contiguous", sa.BigInteger, nullable=False),  # all numbers up to this one have been received
    Column("highest", sa.BigInteger, nullable=False),
    Column("open", Integer, nullable=False),
    Column("backlog", Integer, nullable=False),
    Column("oldest_undelivered_at", Instant),
    Column("faults", Json, nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("closed_why", Text),  # set where a person wrote the source off
)

# Numbers received ahead of `sources.contiguous`; a row leaves some time after the numbers before it are there.
received_ahead = Table(
    "received_ahead",
    metadata,
    Column("source_id", Integer, ForeignKey("sources.id"), primary_key=True),
    Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _Long, primary_key=True),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("inserted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("superseded", Integer, nullable=False, server_default="0"),  # met a call, or changed one, by a later outcome
    Column("conflicts", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("min_call_id", sa.Uuid),
    Column("max_call_id", sa.Uuid),
    Column("rolled_at", Instant),
)
# rollup: the batches not yet added up
Index(
    "ix_batches_unrolled",
    batches.c.id,
    sqlite_where=batches.c.rolled_at.is_(None),
    postgresql_where=batches.c.rolled_at.is_(None),
)

calls = Table(
    "calls",
    metadata,
    Column("id", sa.Uuid, primary_key=True),
    Column("batch_id", _Long, nullable=False),
    Column("source_id", Integer, nullable=False),
    Column("number", sa.BigInteger, nullable=False),
    Column("digest", sa.LargeBinary, nullable=False),  # SHA-256 of the payload as delivered
    Column("provider", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("request_model", Text),
    Column("response_model", Text),
    Column("model", Text, nullable=False),  # the one that is paid for
    Column("response_id", Text),
    Column("key_id", Integer, nullable=False),
    Column("project_id", Integer, nullable=False),
    Column("project_source", Text, nullable=False),
    Column("end_user", Text),
    Column("tags", Json, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("link_id", sa.Uuid),
    Column("stream", sa.Boolean, nullable=False),
    Column("effort", Text, nullable=False),  # empty where the request named none
    Column("max_tokens", sa.BigInteger),
    Column("started_at", Instant, nullable=False),
    Column("first_token_at", Instant),
    Column("ended_at", Instant),
    Column("bytes_in", sa.BigInteger, nullable=False),
    Column("bytes_out", sa.BigInteger, nullable=False),
    Column("http_status", Integer),
    Column("outcome", Text, nullable=False),
    Column("finish_reason", Text),
    Column("parent_id", sa.Uuid),  # of a sub-call: the call in whose response it was billed
    Column("service_tier", Text),  # the one that served it
    Column("script", Text),  # the rough one of the request's text
    Column("refused_by", Text),  # the budget that kept it from being sent
    *(Column(name, sa.BigInteger) for name in COUNTED),
    Column("usage_source", Text, nullable=False),
    Column("usage_block", Text),
    Column("anomalies", Json, nullable=False),
    Column("provider_cost", Exact),
    Column("provider_cost_currency", Text),
    # stamped at ingest
    Column("stated_as", Text),  # how the provider's own cost stands to ours; NULL where it stated none
    Column("rate_id", Integer, nullable=False),  # 0: unpriced
    Column("quarter", Instant, nullable=False),
    Column("billed_on", sa.Date, nullable=False),
    Column("estimated_input_tokens", sa.BigInteger),  # likely used beyond what was stated
    Column("estimated_output_tokens", sa.BigInteger),
)
# rollup: the calls of a claimed batch
Index("ix_calls_batch_id", calls.c.batch_id)
# a rate that arrives: the calls of its model that have none
Index(
    "ix_calls_unpriced",
    *(calls.c.provider, calls.c.model, calls.c.id),
    sqlite_where=calls.c.rate_id == 0,
    postgresql_where=calls.c.rate_id == 0,
)

# A delivered call that can't be stored: its bytes and why.
rejected = Table(
    "rejected",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("number", sa.BigInteger, nullable=False),
    Column("payload", sa.LargeBinary, nullable=False),
    Column("digest", sa.LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("settled_at", Instant),  # a person, or a retry, has dealt with it
    Column("settled_how", Text),
    UniqueConstraint("source_id", "number", "digest"),
)

# A call whose id is in the books already, with other contents: kept, shown, never added.
conflicts = Table(
    "conflicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("call_id", sa.Uuid, nullable=False),
    Column("source_id", Integer, ForeignKey("sources.id"), nullable=False),
    Column("number", sa.BigInteger, nullable=False),
    Column("payload", sa.LargeBinary, nullable=False),
    Column("digest", sa.LargeBinary, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("settled_how", Text),
    UniqueConstraint("call_id", "digest"),
)

# Numbers under which a call came that is in the books by another: its journal was copied, or counted it twice.
repeats = Table(
    "repeats",
    metadata,
    Column("source_id", Integer, ForeignKey("sources.id"), primary_key=True),
    Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("call_id", sa.Uuid, nullable=False),
)

# Changes to calls already in the books: who, when, why, and how far each has come.
restatements = Table(
    "restatements",
    metadata,
    Column("id", _Long, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("what", Json, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("upto", sa.Uuid),  # the calls up to this id are done
    Column("seen", sa.BigInteger, nullable=False),
    Column("changed", sa.BigInteger, nullable=False),
)

# What a call said before a restatement changed it.
restated_calls = Table(
    "restated_calls",
    metadata,
    Column("call_id", sa.Uuid, primary_key=True),
    Column("restatement_id", _Long, ForeignKey("restatements.id"), primary_key=True, autoincrement=False),
    Column("before", Json, nullable=False),
)


def _figures() -> list[Column[object]]:
    """What a spend row holds beside its key: how much, what it cost, and what is only estimated."""
    return [
        Column("calls", sa.BigInteger, nullable=False),  # without sub-calls, and so are the next three
        Column("failed", sa.BigInteger, nullable=False),
        Column("interrupted", sa.BigInteger, nullable=False),
        Column("unknown", sa.BigInteger, nullable=False),
        *(_count(name) for name in ("sub_calls", *COUNTED)),
        Column("amount", Exact),  # NULL where unpriced
        Column("currency", Text),
        *(_count(name) for name in ("estimated_input_tokens", "estimated_output_tokens")),  # in no amount
        _count("estimated_calls"),
    ]


def _count(name: str) -> Column[object]:
    # Most have a default, as rows that were there before the column had to get a value.
    return Column(name, sa.BigInteger, nullable=False, server_default=None if name in _OF_THE_FIRST_BOOKS else "0")


_OF_THE_FIRST_BOOKS = COUNTED[:5]
"""Columns that every spend row was made with."""


def _spend_columns() -> list[Column[object]]:
    """What both spend tables hold beside their time: who, what, at which rate, and the figures."""
    return [
        Column("project_id", Integer, primary_key=True, autoincrement=False),
        Column("key_id", Integer, primary_key=True, autoincrement=False),
        Column("provider", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        Column("rate_id", Integer, primary_key=True, autoincrement=False),
        Column("usage_source", Text, primary_key=True),
        Column("effort", Text, primary_key=True),
        *_figures(),
    ]


# Reports in any zone read quarter hours; reports in the store's zone read days. Both keys begin with their time.
spend_quarters = Table(
    "spend_quarters",
    metadata,
    Column("quarter", Instant, primary_key=True),
    Column("billed_on", sa.Date, primary_key=True),
    *_spend_columns(),
)
spend_days = Table("spend_days", metadata, Column("billed_on", sa.Date, primary_key=True), *_spend_columns())

# By tag, end user, anomaly and stated cost: a call stands here once for each of its tags and anomalies, under `user` if
# it has one, and under `stated` if its provider said what it cost.
spend_by_tag = Table(
    "spend_by_tag",
    metadata,
    Column("tag", Text, primary_key=True),  # as a report names it: tag:feature, user, anomaly; or stated
    Column("billed_on", sa.Date, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("project_id", Integer, primary_key=True, autoincrement=False),
    Column("rate_id", Integer, primary_key=True, autoincrement=False),
    Column("usage_source", Text, primary_key=True),
    *_figures(),
    Column("stated", Exact),  # what the provider said that the calls cost; NULL but in rows about that
)

# What was learned of calls' tokens by their bytes, see `learning`; errors in thousandths. It can all be learned again.
estimate_lines = Table(
    "estimate_lines",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),  # empty: all of the provider's
    Column("endpoint", Text, primary_key=True),  # of answers; empty: requests
    Column("stream", sa.Boolean, primary_key=True),
    Column("script", Text, primary_key=True),  # empty: all
    Column("fixed", sa.BigInteger, nullable=False),
    Column("per_million", sa.BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("examined", Integer, nullable=False),
    Column("error", sa.BigInteger, nullable=False),
    Column("high_error", sa.BigInteger, nullable=False),
    Column("bias", sa.BigInteger, nullable=False),
    Column("prior_error", sa.BigInteger, nullable=False),
    Column("learned_at", Instant, nullable=False),
)

# How long the answers of a model are, of a key's calls, or, by key 0, of all; by reasoning effort, or of all.
answer_sizes = Table(
    "answer_sizes",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("effort", Text, primary_key=True),  # as the request named it; *: all of them
    Column("calls", Integer, nullable=False),
    Column("median_tokens", sa.BigInteger, nullable=False),
    Column("high_tokens", sa.BigInteger, nullable=False),
    Column("learned_at", Instant, nullable=False),
)

# Limits in money. One that was removed stays, for its history, and its name is free again.
budgets = Table(
    "budgets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),  # all, project, key, model, provider, user or tag
    Column("project_id", Integer, ForeignKey("projects.id")),
    Column("key_id", Integer, ForeignKey("keys.id")),
    Column("scope_name", Text),  # of the model (or a pattern), provider, user or tag
    Column("scope_value", Text),  # of the tag
    Column("amount", Exact, nullable=False),  # of the periods to come; each keeps its own
    Column("currency", Text, nullable=False),
    Column("every", Text, nullable=False),  # day, week, month, quarter, year, days or total
    Column("every_days", Integer),
    Column("since", sa.Date),  # the day a stretch of days, or a total, begins with
    Column("mode", Text, nullable=False),  # soft, hard or strict
    Column("thresholds", Json, nullable=False),  # percent, as decimal texts
    Column("when_away", Text, nullable=False),  # refuse or pass
    Column("fx", Json, nullable=False),  # by currency, what one unit of it is in the budget's: decimal texts
    Column("max_output", sa.BigInteger),  # tokens of an answer to a request that names no bound
    Column("counted_from", sa.Date, nullable=False),  # no period begins before this day
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("paused_at", Instant),  # stops no call since then, and counts all the same
    Column("removed_at", Instant),
)
Index(
    "ix_budgets_name",
    budgets.c.name,
    unique=True,
    sqlite_where=budgets.c.removed_at.is_(None),
    postgresql_where=budgets.c.removed_at.is_(None),
)

# What people changed about a budget: of each field that changed what it said before and after.
budget_changes = Table(
    "budget_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("budget_id", Integer, ForeignKey("budgets.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),  # added, edited, paused, resumed, removed or released
    Column("fields", Json, nullable=False),
    Column("why", Text, nullable=False),
)

# A budget in one of its periods. Everybody who moves money in several locks them by id.
budget_periods = Table(
    "budget_periods",
    metadata,
    Column("id", _Long, primary_key=True),
    Column("budget_id", Integer, ForeignKey("budgets.id"), nullable=False),
    Column("begins_on", sa.Date, nullable=False),
    Column("ends_on", sa.Date),  # left out; NULL: never
    Column("amount", Exact, nullable=False),
    Column("spent", Exact, nullable=False),
    Column("reserved", Exact, nullable=False),  # the sum of its reservations of that state
    Column("held", Exact, nullable=False),  # likewise
    Column("overrun", Exact, nullable=False),  # what calls cost beyond what was set aside for them
    Column("unpriced", sa.BigInteger, nullable=False),  # calls in the books whose cost is not in `spent`: no rate
    Column("foreign_calls", sa.BigInteger, nullable=False),  # likewise: in a currency that the budget has no rate for
    UniqueConstraint("budget_id", "begins_on"),
)

# What is set aside for a call, by each hard budget that covers it. A row leaves once the call's cost is known.
reservations = Table(
    "reservations",
    metadata,
    Column("call_id", sa.Uuid, primary_key=True),
    Column("period_id", _Long, ForeignKey("budget_periods.id"), primary_key=True, autoincrement=False),
    Column("amount", Exact, nullable=False),
    Column("state", Text, nullable=False),  # reserved or held
    Column("reserved_at", Instant, nullable=False),  # by the database's clock, and so is the next
    Column("leased_until", Instant, nullable=False),
)
# budgets show: what is set aside in a period
Index("ix_reservations_period_id", reservations.c.period_id, reservations.c.call_id)
# those that lapse
Index(
    "ix_reservations_lapsing",
    reservations.c.leased_until,
    sqlite_where=reservations.c.state == "reserved",
    postgresql_where=reservations.c.state == "reserved",
)

# What is due, who is on it and until when; APScheduler only rings the bell.
jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("leased_by", Text),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("state", Text, nullable=False),  # running, done, failed
    Column("detail", Text),
)
