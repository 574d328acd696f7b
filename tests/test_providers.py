import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

import accounting
from accounting.errors import ConfigurationError
from accounting.formats import _FORMATS
from accounting.providers import MAX_REMEMBERED, SHIPPED, known_hosts, merged, provider_name, provider_of


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNTING_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ACCOUNTING_PROVIDERS", raising=False)


@pytest.mark.parametrize(("host", "port", "provider"), [
    ("api.openai.com", None, "openai"), ("API.OpenAI.com", None, "openai"), ("api.anthropic.com", 443, "anthropic"),
    ("wcode.net", None, "wcode"), ("llm.internal", None, "llm.internal"), ("127.0.0.1", 8080, "127.0.0.1:8080"),
    ("localhost", 11434, "ollama"),
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


@pytest.mark.parametrize(("host", "provider"), [
    ("us.api.openai.com", "openai"), ("eu-west-1.api.x.ai", "xai"), ("api.eu.mistral.ai", "mistral"),
    ("ours.openai.azure.com", "azure"), ("ours.services.ai.azure.com", "azure"),
    ("models.inference.ai.azure.com", "github"),
    ("us-east5-aiplatform.googleapis.com", "vertex"), ("aiplatform.eu.rep.googleapis.com", "vertex"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock"),
    ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock"),
    ("bedrock-agent-runtime.eu-central-1.amazonaws.com", "bedrock"),
    ("org-account.snowflakecomputing.com", "snowflake"), ("adb-1.2.azuredatabricks.net", "databricks"),
    ("llm-x.cn-beijing.maas.aliyuncs.com", "dashscope"), ("cn-hongkong.dashscope.aliyuncs.com", "dashscope"),
    ("localhost", "localhost"), ("openai.azure.com.evil.test", "openai.azure.com.evil.test"),
    (".openai.azure.com", ".openai.azure.com"), ("s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com"),
])  # fmt: skip
def test_a_pattern_tells_the_hosts_of_one_s_own_and_of_regions(host: str, provider: str) -> None:
    assert [provider_of(host, None, known_hosts()) for _ in range(2)] == [provider] * 2


def test_a_listed_host_goes_before_a_pattern_and_a_longer_pattern_before_a_shorter_one() -> None:
    names = merged({}, {"*.test": "any", "*.lab.test": "lab", "gpu.lab.test": "gpu", "*.lab.test:8001": "first"})
    hosts = [("gpu.lab.test", 8001), ("a.lab.test", None), ("a.lab.test", 8001), ("a.lab.test", 9), ("a.b.test", 8001)]
    assert [provider_of(host, port, names) for host, port in hosts] == ["gpu", "lab", "first", "lab", "any"]


def test_a_pattern_of_one_s_own_goes_before_what_is_shipped() -> None:
    shipped = {"api.x.test": "x", "*.long.x.test": "longer", "y.test": "y"}
    names = merged({"*.x.test": "ours"}, shipped)
    hosts = ["api.x.test", "a.long.x.test", "y.test"]
    assert [provider_of(host, None, names) for host in hosts] == ["ours", "ours", "y"]


def test_no_more_hosts_are_remembered_than_stated() -> None:
    names = merged({}, {"*.x.test": "x"})
    found = {provider_of(f"{n}.x.test", None, names) for n in range(MAX_REMEMBERED + 10)}
    assert (found, len(names._remembered)) == ({"x"}, MAX_REMEMBERED)


def test_no_host_is_shipped_twice() -> None:
    entries = tomllib.loads(SHIPPED.read_text("utf-8"))["provider"]
    hosts, names = [host for entry in entries for host in entry["hosts"]], [entry["name"] for entry in entries]
    assert (len(set(hosts)), len(set(names))) == (len(hosts), len(names))


def test_each_dialect_is_that_of_a_provider_that_is_shipped() -> None:
    shipped = {entry["name"] for entry in tomllib.loads(SHIPPED.read_text("utf-8"))["provider"]}
    assert {name for each in _FORMATS for name in each.providers} <= shipped


@pytest.mark.parametrize(("given", "name"), [
    ("openai", "openai"), (" Perplexity\n", "perplexity"), ("AZURE", "azure"), ("Our-LLM", "Our-LLM"),
    ("Ünï", "Ünï"), (None, None),
])  # fmt: skip
def test_a_provider_that_is_named_is_the_listed_one_whatever_its_case(given: str | None, name: str | None) -> None:
    assert provider_name(given, known_hosts()) == name


@pytest.mark.parametrize("given", ["", " ", "\t\n", "a\tb", 5, ["openai"]])
def test_what_is_no_name_of_a_provider_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^provider=.*: expected a name like"):
        provider_name(given, known_hosts())


def test_a_client_is_metered_with_the_listed_name() -> None:
    with httpx.Client() as client:
        accounting.meter(client, provider="Perplexity")
        accounting.meter(client, provider="perplexity ")
