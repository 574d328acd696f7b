"""What every test gets: books of its own, and an environment that points away from the user's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests import databases
from tests.books import Books
from tests.databases import Database, PostgresDatabases, Server, SqliteFiles
from tests.summaries import pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown  # noqa: F401 - hooks

NewBooks = Callable[..., Books]


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_users_books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORE_URL", "JOURNAL_DIR", "JOURNAL_REQUIRED", "JOURNAL_KEEP_DAYS", "ZONE", "ROLLUP_SECONDS"):
            patch.delenv(f"ACCOUNTING_{name}", raising=False)
        patch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The PostgreSQL server of this session."""
    with databases.running() as server:
        yield server


@pytest.fixture
def postgresql(server: Server) -> Iterator[PostgresDatabases]:
    """Databases of this test's own, on PostgreSQL."""
    made = PostgresDatabases(server)
    yield made
    server.start()
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Places for this test's stores: the test runs once with SQLite and once with PostgreSQL."""
    if request.param == "sqlite":
        return SqliteFiles(tmp_path)
    made: PostgresDatabases = request.getfixturevalue("postgresql")
    return made


@pytest.fixture
def new_books(database: Database) -> Iterator[NewBooks]:
    """Makes books, empty and in the zone given (UTC); each time others."""
    made: list[Books] = []

    def new(zone: str = "UTC") -> Books:
        made.append(Books(database.store(zone), zone))
        return made[-1]

    yield new
    for books in made:
        books.close()


@pytest.fixture
def books(new_books: NewBooks) -> Books:
    """Books in UTC, made and empty."""
    return new_books()


@pytest.fixture
def engine(books: Books) -> Engine:
    """The engine on an empty store."""
    return books.engine
