"""The way into a store that several processes share, on both databases."""

import os
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from accounting.errors import ConfigurationError, StoreError
from accounting.store import open_engine, postgres, reading, sqlite, writing
from tests.databases import Database
from tests.store import tally
from tests.store.tally import add, amounts, run, sums


@pytest.fixture
def url(database: Database) -> str:
    return database.empty()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = tally.made(url)
    yield engine
    engine.dispose()


def test_a_block_that_raises_leaves_nothing(engine: Engine) -> None:
    with suppress(ZeroDivisionError), writing(engine) as conn:
        conn.execute(sums.insert().values(name="gone"))
        raise ZeroDivisionError
    assert amounts(engine) == {}


def test_amounts_add_up_to_the_last_digit(engine: Engine) -> None:
    for amount in ("0.1", "0.2", "1000000000000000000000", "0.000000000001", None, "-0.3"):
        add(engine, "sum", amount)
    assert amounts(engine) == {"sum": Decimal("1000000000000000000000.000000000001")}


def test_nothing_and_nothing_stay_nothing(engine: Engine) -> None:
    add(engine, "unpriced", None)
    add(engine, "unpriced", None)
    add(engine, "free", None)
    add(engine, "free", "0")
    assert amounts(engine) == {"unpriced": None, "free": Decimal(0)}


def test_reading_refuses_to_write(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"), reading(engine) as conn:
        conn.execute(sums.insert().values(name="past the lock"))


def test_reading_sees_one_moment(engine: Engine) -> None:
    with reading(engine) as conn:
        count = sa.select(sa.func.count()).select_from(sums)
        before = conn.execute(count).scalar()
        add(engine, "later", "1")
        assert conn.execute(count).scalar() == before == 0


def test_processes_that_write_at_once_lose_nothing(engine: Engine, url: str) -> None:
    script = "for n in range(50): add(engine, 'sum', '0.000000000001')"
    with run(script, url) as one, run(script, url) as two, run(script, url) as three:
        assert [writer.wait(60) for writer in (one, two, three)] == [0, 0, 0]
    assert amounts(engine) == {"sum": Decimal("0.000000000150")}


def test_a_writer_that_is_killed_leaves_nothing_and_holds_nobody_up(engine: Engine, url: str) -> None:
    script = (
        "with writing(engine) as conn:\n"
        "    conn.execute(sums.insert().values(name='half'))\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with run(script, url) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    add(engine, "whole", "1")
    assert amounts(engine) == {"whole": Decimal(1)}


def test_waiting_for_a_writer_that_never_ends_is_an_error(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.1)
    with run("with altering(engine): print('in', flush=True); time.sleep(60)", url) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(StoreError, match="held by others"), writing(engine):
            pass
        writer.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_through_connections_of_its_own(engine: Engine, url: str) -> None:
    script = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "add(engine, 'parent', '1')\n"
        "child = os.fork()\n"
        "add(engine, 'parent' if child else 'child', '1')\n"
        "if child and os.waitpid(child, 0)[1]: sys.exit('the child failed')\n"
    )
    with run(script, url) as process:
        assert process.wait(60) == 0
    assert amounts(engine) == {"parent": Decimal(2), "child": Decimal(1)}


def test_values_stay_out_of_errors(engine: Engine) -> None:
    add(engine, "secret", "1")
    with pytest.raises(sa.exc.IntegrityError) as caught, writing(engine) as conn:
        conn.execute(sums.insert().values(name="secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/books", "begins with 'mysql'"),
        ("postgresql+asyncpg://localhost/books", "begins with 'postgresql.asyncpg'"),
        ("sqlite://", "path of a file"),
        ("sqlite:///:memory:", "path of a file"),
        ("sqlite:////tmp/books.sqlite3?mode=ro", "no options"),
        ("sqlite:///file:books?uri=true", "path of a file"),
        ("books.sqlite3", "is no URL"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_engine(url)
