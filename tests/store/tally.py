"""A small table of sums, and processes that work on it at once."""

import subprocess
import sys
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import Engine

from accounting.store import exact_sum, insert, open_engine, prepare, reading, writing
from accounting.store.types import Exact

metadata = sa.MetaData()
sums = sa.Table(
    "sums",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("amount", Exact),
    sa.Column("size", sa.BigInteger, nullable=False, server_default="0"),
)


def made(url: str) -> Engine:
    """An engine on the table, just made."""
    engine = open_engine(url)
    prepare(engine)
    with writing(engine) as conn:
        metadata.create_all(conn)
    return engine


def add(engine: Engine, name: str, amount: str | None) -> None:
    with writing(engine) as conn:
        new = insert(conn, sums)
        added = {"amount": exact_sum(sums.c.amount, new.excluded.amount)}
        value = None if amount is None else Decimal(amount)
        conn.execute(new.on_conflict_do_update(index_elements=["name"], set_=added), {"name": name, "amount": value})


def amounts(engine: Engine) -> dict[str, Decimal | None]:
    with reading(engine) as conn:
        return {row.name: row.amount for row in conn.execute(sa.select(sums))}


def run(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another process that works on the same table, at the URL given first."""
    prelude = (
        "import os, sys, time\n"
        "from accounting.store import *\n"
        "from tests.store.tally import *\n"
        "engine = open_engine(sys.argv[1])\n"
    )
    return subprocess.Popen([sys.executable, "-c", prelude + script, *map(str, arguments)], stdout=-1, text=True)
