from pathlib import Path

import pytest

from accounting.errors import ConfigurationError
from accounting.providers import known_hosts, provider_of


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ACCOUNTING_PROVIDERS", raising=False)


@pytest.mark.parametrize(("host", "port", "provider"), [
    ("api.openai.com", None, "openai"), ("API.OpenAI.com", None, "openai"), ("api.anthropic.com", 443, "anthropic"),
    ("wcode.net", None, "wcode"), ("llm.internal", None, "llm.internal"), ("127.0.0.1", 8080, "127.0.0.1:8080"),
    ("evil-api.openai.com", None, "evil-api.openai.com"),
])  # fmt: skip
def test_a_host_tells_its_provider_and_an_unlisted_one_is_its_own(host: str, port: int | None, provider: str) -> None:
    assert provider_of(host, port, known_hosts()) == provider


def test_a_host_listed_with_its_port_goes_before_the_host_alone() -> None:
    names = {"gpu": "shared", "gpu:8001": "first"}
    assert [provider_of("gpu", port, names) for port in (8001, 8002, None)] == ["first", "shared", "shared"]


def test_the_user_s_own_list_wins_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "providers.toml").write_text('[[provider]]\nname = "ours"\nhosts = ["LLM.internal", "wcode.net"]\n')
    hosts = known_hosts()
    assert (hosts["llm.internal"], hosts["wcode.net"], hosts["api.openai.com"]) == ("ours", "ours", "openai")


def test_a_chosen_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_PROVIDERS", str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigurationError, match=r"gone\.toml: No such file"):
        known_hosts()


@pytest.mark.parametrize("content", [
    b"[[provider", b"provider = 3", b'[provider]\nname = "x"\nhosts = []', b'[[provider]]\nhosts = ["x"]',
    b'[[provider]]\nname = "x"\nhosts = "x.com"', b'[[provider]]\nname = "x"\nhosts = [1]', b"\xff\xfe",
])  # fmt: skip
def test_a_file_that_is_no_providers_list_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "providers.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"providers\.toml is no providers file"):
        known_hosts()
