"""Views of the books for people's own SQL and for BI tools: names in place of ids, instants that can be read.

They need nothing of this program, so they work from the plain sqlite3 shell. Amounts, costs and prices are NUMERIC on
PostgreSQL and exact decimal text on SQLite, instants TIMESTAMPTZ and text like 2026-11-23T12:00:00.000000Z, so a query
that spells them so is the same on both. Columns are only ever added, at the end: PostgreSQL then replaces a view in
place, with what was granted on it and whatever people built upon it.

Of the columns whose names don't tell: `cost` is NULL where nobody can say, and leaves out units that the rate has no
price for, which `anomalies` then names; `estimated_…_tokens` were likely used beyond what was stated, by
`estimated_calls`, and are in no cost and no amount; `calls` are without `sub_calls`, other models' work inside one,
whose rows name it by `parent_id`; `stated_as` tells how `provider_cost` stands to ours, and `stated` is the sum of it,
in rows by the tag `stated`; `refused_by` is the budget for which a call was not sent; a price (`…_per_1k`) is that of
its class, else of the class it is part of, and NULL where there is neither.
"""

# ruff: noqa: S608 - all of the SQL is on this page

from collections.abc import Mapping

from sqlalchemy import Connection

from accounting.rates import CLASSES, PRICES, UNITS, Class
from accounting.store.engine import is_postgresql
from accounting.store.sums import price_of
from accounting.usage import COUNTED

NAMES = ("calls_named", "spend_days_named", "spend_quarters_named", "spend_by_tag_named")

_PROJECT = "coalesce(p.name, '(unknown project ' || t.project_id || ')') AS project"

# As a report labels it.
_KEY = """CASE
    WHEN k.id IS NULL THEN '(unknown key ' || t.key_id || ')'
    WHEN k.name <> '' THEN k.name || ' (…' || k.last4 || ')'
    WHEN k.fingerprint = '' THEN '(no key)'
    ELSE '…' || k.last4 || ' (' || substr(k.fingerprint, 1, 8) || ')'
  END AS "key",
  k.name AS key_name, k.last4 AS key_last4, k.fingerprint AS key_fingerprint"""

_COLUMNS = {each.name: f"r.{each.column}" for each in CLASSES}

# A class without a price of its own costs what its parent does; without a parent it has none.
_PRICE = {each.column: f"{price_of(each.name, _COLUMNS)} AS {each.column}" for each in CLASSES}

# The five that the views began with stand where they stood, the others behind all else.
_FIRST_COUNTED, _LATER_COUNTED = (", ".join(f"t.{name}" for name in some) for some in (COUNTED[:5], COUNTED[5:]))
_FIRST_PRICES, _LATER_PRICES = (", ".join(_PRICE[name] for name in some) for some in (PRICES[:5], PRICES[5:]))
_FIGURES = f"t.calls, t.failed, t.interrupted, t.unknown, {_FIRST_COUNTED}, t.amount, t.currency"
_ESTIMATES = "t.estimated_input_tokens, t.estimated_output_tokens"
_LATER_FIGURES = f"t.sub_calls, {_LATER_COUNTED}, {_ESTIMATES}, t.estimated_calls, {_LATER_PRICES}"

# A row whose id leads nowhere is shown all the same.
_PROJECTS = "LEFT JOIN projects p ON p.id = t.project_id"
_KEYS = "LEFT JOIN keys k ON k.id = t.key_id"
_RATES = "LEFT JOIN rates r ON r.id = t.rate_id"


def make(conn: Connection) -> None:
    """Make the views, or make them anew."""
    create = "CREATE OR REPLACE VIEW" if is_postgresql(conn) else "CREATE VIEW"
    if not is_postgresql(conn):
        drop(conn)
    for name, query in zip(NAMES, _queries(is_postgresql(conn)), strict=True):
        conn.exec_driver_sql(f"{create} {name} AS {query}")


def drop(conn: Connection) -> None:
    """Drop them, as SQLite rebuilds no table that a view is of."""
    for name in NAMES:
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")


def _queries(on_postgresql: bool) -> tuple[str, ...]:
    """In the order of `NAMES`."""
    at = _as_it_is if on_postgresql else _iso
    month = ("to_char(t.billed_on, 'YYYY-MM')" if on_postgresql else "substr(t.billed_on, 1, 7)") + " AS month"
    days = f"t.billed_on, {month}"
    quarters = f"{at('quarter')}, {days}"
    others = f"t.project_id, t.rate_id, {_LATER_FIGURES}, t.stated"
    tagged = f"t.tag, t.value, {days}, {_PROJECT}, r.provider, r.model, t.usage_source, {_FIGURES}, {_FIRST_PRICES}"
    return (
        _of_calls(f"{at('started_at')}, {at('first_token_at')}, {at('ended_at')}, {days}", on_postgresql),
        _of_spend(days, "spend_days"),
        _of_spend(quarters, "spend_quarters"),
        f"SELECT {tagged}, {others} FROM spend_by_tag t {_PROJECTS} {_RATES}",
    )


def _of_spend(time: str, table: str) -> str:
    return f"""
SELECT {time}, {_PROJECT}, {_KEY},
  t.provider, t.model, t.usage_source, t.effort,
  {_FIGURES},
  {_FIRST_PRICES},
  t.project_id, t.key_id, t.rate_id,
  {_LATER_FIGURES}
FROM {table} t {_PROJECTS} {_KEYS} {_RATES}"""


def _of_calls(time: str, on_postgresql: bool) -> str:
    cost = _numeric_cost() if on_postgresql else _text_cost()
    return f"""
SELECT t.id, {time}, {_PROJECT}, {_KEY},
  t.provider, t.model, t.outcome, t.http_status, t.end_user, t.tags,
  {_FIRST_COUNTED}, t.usage_source,
  CASE WHEN (t.usage_source <> 'missing' OR t.outcome = 'failed') AND NOT {_is_unknown()} THEN {cost} END AS cost,
  r.currency,
  {_FIRST_PRICES},
  t.provider_cost, t.provider_cost_currency, t.anomalies,
  t.endpoint, t.request_model, t.response_model, t.response_id, t.attempt, t.link_id, t.stream, t.effort, t.max_tokens,
  t.finish_reason, t.bytes_in, t.bytes_out, s.host,
  t.project_id, t.project_source, t.key_id, t.rate_id, t.source_id, t.batch_id,
  {_LATER_COUNTED}, {_ESTIMATES}, {_LATER_PRICES}, t.parent_id, t.service_tier, t.script,
  t.stated_as, t.refused_by
FROM calls t {_PROJECTS} {_KEYS} {_RATES} LEFT JOIN sources s ON s.id = t.source_id"""


def _as_it_is(column: str) -> str:
    return f"t.{column}"


def _iso(column: str) -> str:
    """Microseconds since 1970 as text that sorts in order of time."""
    seconds = f"strftime('%Y-%m-%dT%H:%M:%S', t.{column} / 1000000, 'unixepoch')"
    return f"{seconds} || printf('.%06dZ', t.{column} % 1000000) AS {column}"


def _charged() -> list[tuple[str, str]]:
    """Of each class what is in no part of it, and its price: every token once, see `rates.price`."""
    counts = dict(zip((each.name for each in CLASSES), COUNTED, strict=True))
    return [(_rest(each, counts), price_of(each.name, _COLUMNS)) for each in CLASSES]


def _rest(whole: Class, counts: Mapping[str, str]) -> str:
    parts = (each.name for each in CLASSES if each.parent == whole.name)
    return f"({' - '.join(f'coalesce(t.{counts[name]}, 0)' for name in (whole.name, *parts))})"


def _is_unknown() -> str:
    """Something without a price was used and nothing that has one, as in `rates.is_unknown`."""
    used = {each: f"coalesce(t.{name}, 0) <> 0" for each, name in zip(CLASSES, COUNTED, strict=True)}
    price = {each: f"{price_of(each.name, _COLUMNS)} IS" for each in CLASSES}
    unpriced = (f"{used[each]} AND {price[each]} NULL" for each in UNITS)
    priced = (f"{used[each]} AND {price[each]} NOT NULL" for each in CLASSES)
    return f"(({' OR '.join(unpriced)}) AND NOT ({' OR '.join(priced)}))"


def _numeric_cost() -> str:
    """What has no price adds nothing; without a rate there is not even one for input, and no cost."""
    first, *rest = _charged()
    products = (f"{first[0]} * {first[1]}", *(f"{count} * coalesce({price}, 0)" for count, price in rest))
    return f"trim_scale(({' + '.join(products)}) * 0.001)"


def _text_cost() -> str:
    """SQLite has no exact decimals, so in whole numbers: of 10^-12, the last digit that a cost may have.

    Counts (up to 10^12 each, and a rest down to -4 * 10^12) are split into millions and what is left, prices (below
    10^8, of nine decimals) into units and billionths. The rests come to 19 * 10^12 at most, so their millions times
    units, and those times a thousand, to 1.9 * 10^18; everything else is smaller: nothing leaves 64 bits, where
    SQLite would go on in floats. What has no price is left out by `sum`, and classes of which nothing was used
    before that; but for the first, so that there is a sum wherever there is a rate.
    """
    first, *rest = _charged()
    used = (f"SELECT {count}, {price} WHERE {count} <> 0" for count, price in rest)
    priced = " UNION ALL ".join((f"SELECT {first[0]} AS n, {first[1]} AS price", *used))
    decimals = "substr(price || '.', instr(price || '.', '.') + 1)"
    billionths = f"CAST(substr(replace({decimals}, '.', '') || '000000000', 1, 9) AS INTEGER)"
    split = f"SELECT n / 1000000 AS m, n % 1000000 AS n, CAST(price AS INTEGER) AS u, {billionths} AS b FROM ({priced})"
    products = f"SELECT sum(m * u) AS mu, sum(m * b) AS mb, sum(n * u) AS nu, sum(n * b) AS nb FROM ({split})"
    one = "1000000000000"
    whole = f"mu * 1000 + mb / 1000000 + nu / 1000 + nb / {one}"
    part = f"mb % 1000000 * 1000000 + nu % 1000 * 1000000000 + nb % {one}"
    added = f"SELECT {whole} AS whole, {part} AS part FROM ({products})"
    reduced = f"SELECT whole + part / {one} AS whole, part % {one} AS part FROM ({added})"
    # Of one sign: a program that is not ours may deliver more cached tokens than input.
    carry = "((whole > 0 AND part < 0) - (whole < 0 AND part > 0))"
    carried = f"SELECT whole - {carry} AS whole, part + {carry} * {one} AS part FROM ({reduced})"
    sign = "CASE WHEN whole < 0 OR part < 0 THEN '-' ELSE '' END"
    digits = "rtrim(rtrim(printf('%d.%012d', abs(whole), abs(part)), '0'), '.')"
    return f"(SELECT {sign} || {digits} FROM ({carried}) WHERE whole IS NOT NULL)"
