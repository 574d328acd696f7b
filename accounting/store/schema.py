"""Making a store, and telling whether this program fits one.

A new store is made from the tables alone and stamped as the newest revision, without Alembic: delivery does it
inside applications that may run an Alembic of their own. Only `upgrade`, a person's command, imports it.
"""

from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, ProgrammingError

from accounting import aliases, cards, periods
from accounting.errors import SchemaMismatch, StoreError, StoreMissing
from accounting.resolution import RateBook
from accounting.store import aliaslines, ratelines, views
from accounting.store.engine import altering, is_postgresql, named, prepare, sqlstate
from accounting.store.tables import batches, budgets, keys, metadata, projects, sources, store

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""All revisions in `migrations/versions`, in order."""
HEAD = REVISIONS[-1]

_COPY = "copy of "
COPYING = _COPY + HEAD
"""How the stamp of a store begins while the books of another are copied into it: until then nobody can use it."""

_alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def create(engine: Engine, zone: str, now: datetime) -> bool:
    """Make an empty store with the shipped rates and aliases, its days in the zone; False where one is there already.

    One transaction: of two processes that come at once the second finds the store of the first.
    """
    days = periods.zone(zone).key
    shipped, other_names = cards.shipped(), aliases.shipped()
    RateBook(shipped)
    prepare(engine)
    with altering(engine) as conn:
        if revision(conn) is not None:
            check(conn)
            return False
        refuse_foreign(conn)
        _make(conn, HEAD)
        conn.execute(store.insert().values(generation=uuid4(), zone=days, created_at=now))
        ratelines.append(conn, shipped, now)
        aliaslines.append(conn, other_names, now)
    return True


def check(conn: Connection) -> None:
    """Raise where this program can't use the store: `StoreMissing`, `SchemaMismatch`."""
    found = revision(conn)
    if found == HEAD:
        return
    url = named(conn)
    if found is None:
        refuse_foreign(conn)
        raise StoreMissing(
            f"There is no store at {url}: the database is empty. Make one: accounting store create, "
            "or set ACCOUNTING_STORE_URL to the one you mean."
        )
    if found in REVISIONS:
        backup = "pg_dump" if is_postgresql(conn) else "accounting store backup FILE"
        raise SchemaMismatch(
            f"The store {url} has schema {found}; this program needs {HEAD}. Make a backup first ({backup}), then: "
            "accounting store upgrade"
        )
    if found.startswith(_COPY):
        raise StoreError(
            f"The store {url} is a copy that is not finished. With ACCOUNTING_STORE_URL on the original, "
            "accounting store copy goes on with it."
        )
    raise SchemaMismatch(
        f"The store {url} has schema {found}, which is newer than this program's {HEAD}. "
        "Upgrade the program: pip install -U llm-accounting"
    )


def check_known(conn: Connection) -> str:
    """`check`, but of an older schema as well; returns which it is."""
    found = revision(conn)
    if found is None or found not in REVISIONS:
        check(conn)
    return str(found)


def check_stamp(conn: Connection) -> None:
    """`check` for those who come often to a store that they know: it reads the stamp, not the names of all tables."""
    try:
        found = conn.execute(_STAMP).scalar()
    except (OperationalError, ProgrammingError) as error:
        if "no such table" in str(error.orig) or sqlstate(error) == _NO_TABLE:
            raise StoreMissing(f"The store at {named(conn)} is gone: {error.orig}. Bring it back.") from error
        raise
    if found != HEAD:
        check(conn)


_STAMP = sa.select(_alembic_version.c.version_num).join(store, sa.true())
_NO_TABLE = "42P01"


def revision(conn: Connection) -> str | None:
    """The schema revision that the store is stamped with; None where there is no store."""
    # Not the stamp alone: other programs that use Alembic stamp theirs in a table of the same name.
    if not {store.name, _alembic_version.name} <= set(sa.inspect(conn).get_table_names()):
        return None
    return conn.execute(sa.select(_alembic_version.c.version_num)).scalar()


def begin_copy(engine: Engine, books: Mapping[str, Any]) -> str:
    """Make an empty store for a copy of the books with this row in `store`, or take over the one begun.

    It takes the place of a store without books in it. Nobody can use it before `finish_copy`. Returns what it is
    stamped with: this once, so that whoever is at it still can tell; see `refuse_others_copy`.
    """
    prepare(engine)
    stamp = f"{COPYING} {uuid4().hex[:8]}"
    with altering(engine) as conn:
        found = revision(conn)
        if _is_copying(found) and conn.scalar(sa.select(store.c.generation)) == books["generation"]:
            _stamp(conn, stamp)
            return stamp
        if found is None:
            refuse_foreign(conn)
            _make(conn, stamp)
        elif found == HEAD and not has_books(conn):
            _empty(conn)
            _stamp(conn, stamp)
        else:
            raise StoreError(
                f"The database {named(conn)} has a store in it already (schema {found}); expected none, one without "
                "calls, or a copy of these books that was begun by this version. Name another place."
            )
        conn.execute(store.insert().values(books))
    return stamp


def refuse_others_copy(conn: Connection, stamp: str) -> None:
    """Raise where the store is not the copy with that stamp any more: another goes on with it, or has finished it."""
    found = revision(conn)
    if found == stamp:
        return
    what = "taken over" if _is_copying(found) else "finished"
    raise StoreError(f"The copy {named(conn)} was {what} by another process. Leave it to that.")


def finish_copy(conn: Connection) -> None:
    """Make the copy a store that can be used."""
    if is_postgresql(conn):
        for table in metadata.sorted_tables:
            _count_on(conn, table)
        conn.exec_driver_sql("ANALYZE")
    _stamp(conn, HEAD)


def has_books(conn: Connection) -> bool:
    """Whether anybody has used the store: an empty one may be replaced."""
    used = (sources, batches, projects, keys, budgets)
    return any(conn.scalar(sa.select(sa.exists().select_from(table))) for table in used)


def upgrade(engine: Engine) -> str:
    """Bring the store to this program's schema; returns the revision it had.

    One at a time, and whole or not at all: it runs in one transaction, under the lock of all writers.
    """
    with altering(engine) as conn:
        found = check_known(conn)
        migrate(conn)
    return found


def migrate(conn: Connection) -> None:
    """Run the migrations that the database lacks, and make the views anew, in the connection's own transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()  # without an ini file: an installed program has none
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = conn
    if not is_postgresql(conn):
        views.drop(conn)
    command.upgrade(config, "head")
    views.make(conn)


def migrations() -> Path:
    """The folder of the migrations: inside an installed package, beside it in a checkout."""
    packaged = Path(str(files("accounting") / "_migrations"))
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"


def _make(conn: Connection, stamp: str) -> None:
    metadata.create_all(conn)
    views.make(conn)
    _alembic_version.create(conn)
    conn.execute(_alembic_version.insert().values(version_num=stamp))


def _empty(conn: Connection) -> None:
    """Take out what a new store comes with, and whatever else a store without books in it may hold."""
    for table in reversed(metadata.sorted_tables):
        conn.execute(sa.delete(table))


def _stamp(conn: Connection, stamp: str) -> None:
    conn.execute(sa.update(_alembic_version).values(version_num=stamp))


def _is_copying(found: str | None) -> bool:
    """Whether it is the stamp of a copy that this version makes."""
    return found is not None and found.startswith(COPYING)


def _count_on(conn: Connection, table: sa.Table) -> None:
    """Let new rows have ids beyond those that came with theirs."""
    if (column := table.autoincrement_column) is not None:
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        highest = sa.func.max(column)
        conn.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(highest, 1), highest.is_not(None))))


def refuse_foreign(conn: Connection) -> None:
    """A database that has tables, and is no store, belongs to somebody else."""
    if tables := sa.inspect(conn).get_table_names():
        raise StoreError(
            f"The database {named(conn)} has tables already ({', '.join(sorted(tables)[:5])}), and is no store of "
            "this program. Set ACCOUNTING_STORE_URL to a file that doesn't exist yet, or to a database of its own."
        )
