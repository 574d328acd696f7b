"""Making a store, upgrading one, and telling whether this program fits it."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.schema import CreateTable

from accounting import cards, ratebook
from accounting.errors import ConfigurationError, SchemaMismatch, StoreError, StoreMissing
from accounting.places import sqlite_url
from accounting.store import file_of, open_engine, prepare, reading, schema, writing
from accounting.store.tables import batches, calls, metadata, store
from tests.books import NOON
from tests.databases import Database

POSTGRESQL = sa.make_url("postgresql://").get_dialect()()

LATER = """
import os, time
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "0005"

def upgrade() -> None:
    op.create_table("one", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("INSERT INTO one (id) VALUES (1)")
    time.sleep(0.2)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    op.create_table("two", sa.Column("id", sa.Integer(), primary_key=True))
"""


@pytest.fixture
def url(database: Database) -> str:
    """A place where nobody has made a store yet."""
    return database.empty()


@pytest.fixture
def empty(url: str) -> Iterator[Engine]:
    """A database without a table."""
    engine = open_engine(url)
    prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The migrations of a later program, which has one more revision."""
    folder = tmp_path / "100% migrations"
    shutil.copytree(schema.migrations(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9999_later.py").write_text(LATER)
    return folder


def shape(conn: Connection) -> dict[str, dict[str, object]]:
    """What the tables are, by name, as the database tells it; columns that were added later may stand elsewhere."""
    found = sa.inspect(conn)
    return {
        table: {
            "columns": {
                one["name"]: (str(one["type"]), one["nullable"], one["default"]) for one in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table),
            "unique": sorted(str(one) for one in found.get_unique_constraints(table)),
            "foreign": sorted(str(one) for one in found.get_foreign_keys(table)),
            "indexes": sorted(_index(one) for one in found.get_indexes(table)),
        }
        for table in found.get_table_names()
    }


def _index(found: ReflectedIndex) -> str:
    options = {name: str(value) for name, value in found.get("dialect_options", {}).items()}
    return f"{found['name']} {found['column_names']} {found['unique']} {options}"


def upgrading(engine: Engine, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """A later program that upgrades the store."""
    script = (
        "import sys; from pathlib import Path\n"
        "from accounting.store import open_engine, schema\n"
        "schema.REVISIONS, schema.HEAD = (*schema.REVISIONS, '9999'), '9999'\n"
        "schema.migrations = lambda: Path(sys.argv[2])\n"
        "print(schema.upgrade(open_engine(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(engine.url), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def test_the_migrations_make_the_same_store_as_the_tables(empty: Engine, database: Database) -> None:
    made = open_engine(database.empty())
    schema.create(made, "UTC", NOON)
    with writing(empty) as conn:
        schema.migrate(conn)
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    with reading(empty) as migrated, reading(made) as created:
        assert shape(migrated) == shape(created)
        assert schema.revision(migrated) == schema.revision(created) == schema.HEAD
    made.dispose()


def test_ids_of_what_grows_with_the_calls_do_not_run_out_on_postgresql() -> None:
    assert "\tid BIGSERIAL" in str(CreateTable(batches).compile(dialect=POSTGRESQL))
    assert "\tbatch_id BIGINT" in str(CreateTable(calls).compile(dialect=POSTGRESQL))


def test_the_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory(str(schema.migrations())).walk_revisions()
    assert tuple(reversed([script.revision for script in scripts])) == schema.REVISIONS


def test_a_new_store_keeps_its_zone_and_has_the_shipped_rates(empty: Engine) -> None:
    assert schema.create(empty, "Asia/Shanghai", NOON)
    with reading(empty) as conn:
        schema.check(conn)
        assert conn.execute(sa.select(store.c.zone, store.c.created_at)).all() == [("Asia/Shanghai", NOON)]
        assert [str(rate) for rate in ratebook.rates(conn)] == [str(rate) for rate in cards.shipped()] != []


def test_making_a_store_where_one_is_leaves_it_as_it_is(empty: Engine) -> None:
    schema.create(empty, "Asia/Shanghai", NOON)
    assert not schema.create(empty, "UTC", NOON)
    with reading(empty) as conn:
        assert conn.execute(sa.select(store.c.zone)).all() == [("Asia/Shanghai",)]


def test_of_processes_that_make_a_store_at_once_one_does(url: str) -> None:
    script = (
        "import sys; from tests.store.test_schema import *\n"
        "print(schema.create(open_engine(sys.argv[1]), 'UTC', NOON))\n"
    )
    command = [sys.executable, "-c", script, url]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sorted(maker.communicate()[0] for maker in makers) == ["False\n", "False\n", "False\n", "True\n"]


def test_an_unknown_zone_makes_no_file(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "books.sqlite3"))
    with pytest.raises(ConfigurationError, match="Mars"):
        schema.create(engine, "Mars/Olympus", NOON)
    assert not file_of(engine).exists()


def test_somebody_elses_database_is_left_alone(empty: Engine) -> None:
    with writing(empty) as conn:
        conn.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
    with pytest.raises(StoreError, match="orders"):
        schema.create(empty, "UTC", NOON)


def test_the_database_of_another_program_that_uses_alembic_is_left_alone(empty: Engine) -> None:
    with writing(empty) as conn:
        conn.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
        conn.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('0001')")
    for use in (lambda: schema.create(empty, "UTC", NOON), lambda: schema.upgrade(empty)):
        with pytest.raises(StoreError, match=r"orders.* no store of this program"):
            use()


def test_an_empty_database_is_no_store(empty: Engine) -> None:
    with reading(empty) as conn, pytest.raises(StoreMissing, match="accounting store create"):
        schema.check(conn)
    with pytest.raises(StoreMissing, match="accounting store create"):
        schema.upgrade(empty)


def test_an_older_store_is_to_be_upgraded(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.create(empty, "UTC", NOON)
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
    monkeypatch.setattr(schema, "HEAD", "9999")
    with reading(empty) as conn, pytest.raises(SchemaMismatch, match="accounting store upgrade"):
        schema.check(conn)


def test_a_newer_store_asks_for_a_newer_program(empty: Engine) -> None:
    schema.create(empty, "UTC", NOON)
    with writing(empty) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9998'")
    with reading(empty) as conn, pytest.raises(SchemaMismatch, match="Upgrade the program"):
        schema.check(conn)
    with pytest.raises(SchemaMismatch, match="Upgrade the program"):
        schema.upgrade(empty)


def test_upgrading_the_newest_store_changes_nothing(empty: Engine) -> None:
    schema.create(empty, "UTC", NOON)
    assert schema.upgrade(empty) == schema.HEAD


def test_of_two_that_upgrade_at_once_the_second_finds_it_done(empty: Engine, newer: Path) -> None:
    schema.create(empty, "UTC", NOON)
    with upgrading(empty, newer) as one, upgrading(empty, newer) as two:
        assert sorted(each.communicate()[0] for each in (one, two)) == [f"{schema.HEAD}\n", "9999\n"]


def test_an_upgrade_that_is_killed_leaves_nothing_behind(empty: Engine, newer: Path) -> None:
    schema.create(empty, "UTC", NOON)
    with upgrading(empty, newer, DIE="yes") as killed:
        assert killed.wait() != 0
    with reading(empty) as conn:
        assert schema.revision(conn) == schema.HEAD
        assert not sa.inspect(conn).has_table("one")
    with upgrading(empty, newer) as again:
        assert again.communicate()[0] == f"{schema.HEAD}\n"
    with reading(empty) as conn:
        assert sa.inspect(conn).has_table("two")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the wheel holds it, without the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    checkout = Path(__file__).parents[2]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(checkout)]
    if subprocess.run(build, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("The wheel can't be built.")
        pytest.skip("The wheel can't be built: pip needs hatchling, from the network or its cache.")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_an_installed_program_makes_and_upgrades_a_store_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from datetime import UTC, datetime\n"
        "from accounting.store import open_engine, prepare, schema, writing\n"
        "made, migrated = (open_engine(f'sqlite:///{sys.argv[1]}/{name}.sqlite3') for name in ('made', 'migrated'))\n"
        "schema.create(made, 'UTC', datetime.now(UTC))\n"
        "print(schema.upgrade(made), schema.migrations())\n"
        "prepare(migrated)\n"
        "with writing(migrated) as conn: schema.migrate(conn); schema.check(conn)\n"
    )
    alone = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    output = subprocess.run(command, cwd=tmp_path, env=alone, check=True, capture_output=True, text=True).stdout
    assert output == f"{schema.HEAD} {installed / 'accounting' / '_migrations'}\n"
