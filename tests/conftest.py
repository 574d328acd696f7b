"""What every test gets: books of its own, and an environment that points away from the user's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.books import Books


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_users_books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORE_URL", "JOURNAL_DIR", "JOURNAL_REQUIRED", "JOURNAL_KEEP_DAYS", "ZONE", "ROLLUP_SECONDS"):
            patch.delenv(f"ACCOUNTING_{name}", raising=False)
        patch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books in UTC, made and empty."""
    made = Books(tmp_path)
    yield made
    made.close()


@pytest.fixture
def engine(books: Books) -> Engine:
    """The engine on an empty store."""
    return books.engine
