"""What the calls of a driver are made with: an SDK, metered or not, against the provider at a URL.

The SDKs are imported by name, and so are `Any`: they are not installed where types are checked.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

KEY = "sk-this-key-is-only-used-in-tests-7f3a"
BEHIND_PROXY = "http://provider.test"
"""A host that no name server knows: what arrives from there came through the proxy."""
ONCE_BUSY = "status=429; retry-after=0.01; times=1"

Result = object


@dataclass(frozen=True, slots=True)
class Sdk:
    """An SDK under test. `required` is what a request can't do without; `root` the path its base URL ends with."""

    name: str
    classes: tuple[str, str]
    root: str
    resource: str
    required: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> Any:
        return import_module(self.name)

    def calls(self, client: Any) -> Any:
        """The part of a client that makes calls."""
        for step in self.resource.split("."):
            client = getattr(client, step)
        return client


SDKS = (
    Sdk("openai", ("OpenAI", "AsyncOpenAI"), "/v1", "chat.completions"),
    Sdk("anthropic", ("Anthropic", "AsyncAnthropic"), "/anthropic", "messages", {"max_tokens": 4096}),
)


def http_library() -> Any:
    """The library that both SDKs of this environment are built on."""
    return import_module("httpx2" if find_spec("httpx2") else "httpx")


@dataclass(frozen=True, slots=True)
class Bench:
    """One story's place of work. Its calls name `model`, by which they are found in ledger and books."""

    sdk: Sdk
    model: str
    url: str
    meter: Callable[[Any], Any]
    attribute: Callable[..., AbstractContextManager[object]]

    def client(self, host: str | None = None, **options: Any) -> Any:
        return self._client(0, host, options)

    def async_client(self, host: str | None = None, **options: Any) -> Any:
        return self._client(1, host, options)

    def _client(self, colour: int, host: str | None, options: dict[str, Any]) -> Any:
        made = getattr(self.sdk.module, self.sdk.classes[colour])
        return self.meter(made(base_url=(host or self.url) + self.sdk.root, api_key=KEY, **options))

    def ask(self, script: str = "", text: str = "Why?", **more: Any) -> dict[str, Any]:
        """The arguments of a call; the provider answers it as the script says (`accounting.simulated.script`)."""
        messages = [{"role": "user", "content": text}]
        headers = {"x-simulate": script}
        return {"model": self.model, "messages": messages, "extra_headers": headers, **self.sdk.required, **more}

    def wait_until_asked(self) -> None:
        """Until the provider has the story's request."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{self.url}/ledger") as answer:
                if any(line["model"] == self.model for line in json.load(answer)):
                    return
            time.sleep(0.02)
        raise TimeoutError(f"The provider was not asked for {self.model}")


def told(value: Any) -> Result:
    """What an SDK returned, as JSON has it."""
    return value.model_dump(mode="json", warnings=False)


def failure(error: Exception) -> dict[str, object]:
    """What an SDK raised: the type, the status, and what it says."""
    return {"error": type(error).__name__, "status": getattr(error, "status_code", None), "said": str(error)}
