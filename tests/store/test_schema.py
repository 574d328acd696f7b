"""Making a store, upgrading one, and telling whether this program fits it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.schema import CreateTable

from accounting import ratebook
from accounting.errors import ConfigurationError, SchemaMismatch, StoreError, StoreMissing
from accounting.places import sqlite_url
from accounting.store import file_of, open_engine, prepare, reading, schema, writing
from accounting.store.tables import batches, calls, metadata, store
from tests.books import NOON

POSTGRESQL = sa.make_url("postgresql://").get_dialect()()

SECOND = """
import os, time
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

def upgrade() -> None:
    op.create_table("one", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("INSERT INTO one (id) VALUES (1)")
    time.sleep(0.2)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)
    op.create_table("two", sa.Column("id", sa.Integer(), primary_key=True))
"""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Engine]:
    """A file without a table."""
    engine = open_engine(sqlite_url(tmp_path / "books.sqlite3"))
    prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The migrations of a later program, which has a second revision."""
    folder = tmp_path / "100% migrations"
    shutil.copytree(schema.migrations(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_later.py").write_text(SECOND)
    return folder


def definitions(conn: Connection) -> dict[str, str]:
    """What the database was told to make, by name, but for white space."""
    rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {name: " ".join(sql.replace("(", " ( ").replace(")", " ) ").split()) for name, sql in rows}


def columns(ddl: str) -> dict[str, list[str]]:
    """The columns and constraints of each table, in any order."""
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\)", ddl, re.DOTALL)
    return {name: sorted(line.strip(" \t,") for line in body.splitlines() if line.strip()) for name, body in tables}


def upgrading(engine: Engine, folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """A later program that upgrades the store."""
    script = (
        "import sys; from pathlib import Path\n"
        "from accounting.store import open_engine, schema\n"
        "schema.REVISIONS, schema.HEAD = ('0001', '0002'), '0002'\n"
        "schema.migrations = lambda: Path(sys.argv[2])\n"
        "print(schema.upgrade(open_engine(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(engine.url), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def test_the_migrations_make_the_same_store_as_the_tables(empty: Engine, tmp_path: Path) -> None:
    made = open_engine(sqlite_url(tmp_path / "made.sqlite3"))
    schema.create(made, "UTC", NOON)
    with writing(empty) as conn:
        schema.migrate(conn)
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    with reading(empty) as migrated, reading(made) as created:
        assert definitions(migrated) == definitions(created)
        assert schema.revision(migrated) == schema.revision(created) == schema.HEAD
    made.dispose()


def test_the_migrations_make_the_same_columns_on_postgresql() -> None:
    migrated = StringIO()
    options = {"as_sql": True, "output_buffer": migrated}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(context):
        for script in reversed(list(ScriptDirectory(str(schema.migrations())).walk_revisions())):
            script.module.upgrade()
    created = [str(CreateTable(table).compile(dialect=POSTGRESQL)) for table in metadata.sorted_tables]
    assert columns(migrated.getvalue()) == columns("\n".join(created))


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
        assert [str(rate) for rate in ratebook.rates(conn)] == [str(rate) for rate in ratebook.shipped()] != []


def test_making_a_store_where_one_is_leaves_it_as_it_is(empty: Engine) -> None:
    schema.create(empty, "Asia/Shanghai", NOON)
    assert not schema.create(empty, "UTC", NOON)
    with reading(empty) as conn:
        assert conn.execute(sa.select(store.c.zone)).all() == [("Asia/Shanghai",)]


def test_of_processes_that_make_a_store_at_once_one_does(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.store.test_schema import *\n"
        "print(schema.create(open_engine(sys.argv[1]), 'UTC', NOON))\n"
    )
    command = [sys.executable, "-c", script, sqlite_url(tmp_path / "new" / "books.sqlite3")]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sorted(maker.communicate()[0] for maker in makers) == ["False\n", "False\n", "False\n", "True\n"]


def test_an_unknown_zone_makes_no_file(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "books.sqlite3"))
    with pytest.raises(ConfigurationError, match="Mars"):
        schema.create(engine, "Mars/Olympus", NOON)
    assert not file_of(engine).exists()


def test_somebody_elses_database_is_left_alone(empty: Engine) -> None:
    with writing(empty) as conn:
        conn.exec_driver_sql("CREATE TABLE orders (id)")
    with pytest.raises(StoreError, match="orders"):
        schema.create(empty, "UTC", NOON)


def test_an_empty_file_is_no_store(empty: Engine) -> None:
    with reading(empty) as conn, pytest.raises(StoreMissing, match="accounting store create"):
        schema.check(conn)
    with pytest.raises(StoreMissing, match="accounting store create"):
        schema.upgrade(empty)


def test_an_older_store_is_to_be_upgraded(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.create(empty, "UTC", NOON)
    monkeypatch.setattr(schema, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(schema, "HEAD", "0002")
    with reading(empty) as conn, pytest.raises(SchemaMismatch, match="accounting store upgrade"):
        schema.check(conn)


def test_a_newer_store_asks_for_a_newer_program(empty: Engine) -> None:
    schema.create(empty, "UTC", NOON)
    with writing(empty) as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
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
        assert sorted(each.communicate()[0] for each in (one, two)) == ["0001\n", "0002\n"]


def test_an_upgrade_that_is_killed_leaves_nothing_behind(empty: Engine, newer: Path) -> None:
    schema.create(empty, "UTC", NOON)
    with upgrading(empty, newer, DIE="yes") as killed:
        assert killed.wait() != 0
    with reading(empty) as conn:
        assert schema.revision(conn) == "0001"
        assert not sa.inspect(conn).has_table("one")
    with upgrading(empty, newer) as again:
        assert again.communicate()[0] == "0001\n"
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
