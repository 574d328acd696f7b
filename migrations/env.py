"""Runs migrations in the transaction of `store.schema.upgrade`, or, for `alembic` at a shell, in one of its own."""

from alembic import context
from sqlalchemy import Connection

from accounting import places
from accounting.store import altering, open_engine, prepare
from accounting.store.tables import metadata


def run(connection: Connection) -> None:
    # Alembic takes DDL on SQLite for non-transactional, which is true of Python's own way to begin only; here a
    # migration that is killed leaves nothing behind.
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def run_at_a_shell() -> None:
    engine = open_engine(places.store_url())
    prepare(engine)
    with altering(engine) as connection:
        run(connection)


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    run_at_a_shell()
