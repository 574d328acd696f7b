"""Settings from the environment."""

from pathlib import Path

import pytest

from accounting.errors import ConfigurationError
from accounting.places import store_url
from accounting.settings import Settings


def test_without_an_environment_days_are_utc_and_the_store_is_the_users() -> None:
    settings = Settings()
    assert (settings.zone, settings.rollup_seconds) == ("UTC", 15)
    assert settings.store_url == store_url()


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCOUNTING_ZONE", "Asia/Shanghai")
    monkeypatch.setenv("ACCOUNTING_ROLLUP_SECONDS", "5")
    monkeypatch.setenv("ACCOUNTING_STORE_URL", f"sqlite:///{tmp_path}/b.sqlite3")
    settings = Settings()
    assert (settings.zone, settings.rollup_seconds) == ("Asia/Shanghai", 5)
    assert settings.store_url == f"sqlite:///{tmp_path}/b.sqlite3"


@pytest.mark.parametrize(
    ("name", "value"), [("ACCOUNTING_ZONE", "Mars/Olympus"), ("ACCOUNTING_ROLLUP_SECONDS", "soon")]
)
def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        Settings()


def test_a_zone_spelt_wrong_is_answered_with_what_was_expected_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_ZONE", "Mars/Olympus")
    with pytest.raises(ConfigurationError, match=r"^ACCOUNTING_ZONE: 'Mars/Olympus' is no time zone; expected an IANA"):
        Settings()
