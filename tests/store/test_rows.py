"""Rows as a copy carries them: the same whichever database they come from, and in the order of Python's tuples."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.store import open_engine, reading, rows, writing
from accounting.store.tables import restatements, spend_days
from accounting.store.types import EPOCH
from tests.databases import PostgresDatabases, Server, SqliteFiles

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
INSTANTS = st.integers(0, 252_000_000_000_000_000).map(lambda micro: EPOCH + timedelta(microseconds=micro))
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**12), max_value=10**12)


@pytest.fixture(scope="module")
def engines(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Engine]]:
    """A store on each database."""
    files, databases = SqliteFiles(tmp_path_factory.mktemp("rows")), PostgresDatabases(server)
    made = open_engine(files.store()), open_engine(databases.store())
    yield made
    for engine in made:
        engine.dispose()
    databases.close()


def through(engines: tuple[Engine, Engine], table: sa.Table, values: list[dict[str, Any]]) -> list[list[rows.Row]]:
    """What is read of rows that the program wrote here, and after they were carried there and back."""
    one, other = engines
    found = []
    with writing(one) as conn:
        conn.execute(sa.delete(table))
        conn.execute(sa.insert(table), values)
    for source, target in ((one, other), (other, one)):
        with reading(source) as conn:
            found.append(list(rows.read(conn, table)))
        with writing(target) as conn:
            conn.execute(sa.delete(table))
            rows.write(conn, table, found[-1])
    with reading(one) as conn:
        return [*found, list(rows.read(conn, table))]


@pytest.mark.parametrize("first", ["sqlite", "postgresql"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5, unique=True),
    amount=AMOUNTS,
    instant=INSTANTS,
    figure=st.integers(-(2**63), 2**63 - 1),
)
def test_values_come_through_both_databases_as_they_were(
    engines: tuple[Engine, Engine], first: str, texts: list[str], amount: Decimal, instant: datetime, figure: int
) -> None:
    both = engines if first == "sqlite" else engines[::-1]
    spend = {column.name: figure for column in spend_days.columns} | {
        "billed_on": instant.date(), "project_id": 1, "key_id": 2, "rate_id": 3, "usage_source": "provider",
        "effort": "", "amount": amount, "currency": None, "provider": "p",
    }  # fmt: skip
    lines = [spend | {"model": text} for text in texts]
    once, there, back = through(both, spend_days, lines)
    assert once == there == back == sorted(once)
    assert {row[rows.columns_of(spend_days).index(spend_days.c.model)] for row in once} == set(texts)
    with reading(both[1]) as conn:
        assert set(conn.scalars(sa.select(spend_days.c.amount))) == {amount}
    log = [{"kind": text, "what": {text: texts}, "who": "", "why": text, "began_at": instant, "seen": figure,
            "changed": 0} for text in texts]  # fmt: skip
    once, there, back = through(both, restatements, log)
    assert once == there == back
