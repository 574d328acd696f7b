from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

import accounting
from accounting.errors import ConfigurationError
from accounting.places import data_directory, journal_directory, kind, sqlite_url, store_url, without_secret
from accounting.store import named, open_engine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ACCOUNTING_STORE_URL", "ACCOUNTING_DATA_DIR", "ACCOUNTING_JOURNAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_choice_the_books_are_in_the_user_s_data_directory(home: Path) -> None:
    assert data_directory() == home / "data" / "accounting"
    assert store_url() == f"sqlite:///{home}/data/accounting/books.sqlite3"


def test_the_environment_is_read_on_each_call(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", "~/books")
    assert data_directory() == home / "books"
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "postgresql://db/books")
    assert store_url() == "postgresql://db/books"


def test_a_relative_store_is_the_same_one_from_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_STORE_URL", "sqlite:///books.sqlite3")
    assert store_url() == sqlite_url(Path("books.sqlite3")) == f"sqlite:///{home}/books.sqlite3"
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{home}/books.sqlite3")
    assert store_url() == f"sqlite:///{home}/books.sqlite3"


@given(st.text(st.characters(codec="ascii", exclude_characters="@", exclude_categories=["Cc"]), min_size=1))
def test_no_part_of_a_password_is_in_a_destination_s_name(password: str) -> None:
    url = f"postgresql://meter:{password}@db:5432/books?sslmode=require"
    assert make_url(url).password is not None
    assert without_secret(url) == "postgresql://db:5432/books"


@pytest.mark.parametrize(("url", "name"), [
    ("sqlite:////home/me@work/books.sqlite3", "sqlite:////home/me@work/books.sqlite3"),
    ("postgresql://me@db/books", "postgresql://db/books"),
    ("postgresql://db/books?password=hush", "postgresql://db/books"),
    ("postgresql://db:5432/books", "postgresql://db:5432/books"),
    ("postgresql+psycopg://me:hush@db/books", "postgresql://db/books"),
    ("postgres://me:hush@db/books", "postgresql://db/books"),
    ("postgresql://me:hush@hush@db/books", "postgresql://db/books"),
    ("postgresql://me:hush@hu/sh@db/books", "postgresql://db/books"),
    ("postgresql:///books?sslmode=require&host=/run/one&password=hush", "postgresql:///books?host=/run/one"),
    ("postgresql://db?user=me&password=hush&dbname=books", "postgresql://db?dbname=books"),
    ("postgresql://?passfile=hush&service=books", "postgresql://?service=books"),
    ("postgresql://db/all?options=-csearch_path%3Dbooks", "postgresql://db/all?options=-csearch_path%3Dbooks"),
])  # fmt: skip
def test_a_destination_s_name_keeps_what_tells_it_from_others(url: str, name: str) -> None:
    assert without_secret(url) == name


@pytest.mark.parametrize("url", ["hush", "mysql://me:hush@db/books", "postgresql+asyncpg://me:hush@db/books"])
def test_a_url_of_another_kind_is_refused_with_one_that_is_not(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"like sqlite:////.* or postgresql\+psycopg://") as caught:
        kind(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_store_on_postgresql_is_the_same_however_its_url_begins(scheme: str) -> None:
    url = f"{scheme}://me:hush@db/books"
    assert kind(url) == "postgresql"
    assert journal_directory(url) == journal_directory("postgresql://db/books")
    engine = open_engine(url)
    assert (named(engine), engine.url.host) == ("postgresql://db/books", "db")


def test_each_destination_has_its_own_journals_whoever_logs_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (journal_directory(f"postgresql://{user}@db/books") for user in ("a:x", "b:y"))
    assert one == other != journal_directory("postgresql://db/else")
    assert one.parent == home / "data" / "accounting" / "journals"
    monkeypatch.setenv("ACCOUNTING_JOURNAL_DIR", "fast")
    assert journal_directory("postgresql://a:x@db/books").parent == home / "fast"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCOUNTING_JOURNAL_SYNC", "fulll"),
        ("ACCOUNTING_JOURNAL_REQUIRED", "maybe"),
        ("ACCOUNTING_JOURNAL_MAX_MB", "1 GB"),
        ("ACCOUNTING_JOURNAL_KEEP_DAYS", "nan"),
        ("ACCOUNTING_JOURNAL_KEEP_DAYS", "-1"),
        ("ACCOUNTING_BUDGETS_REQUIRED", "perhaps"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_when_a_client_is_metered(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name} is '{value}'; expected"):
        accounting.meter(httpx.Client())
