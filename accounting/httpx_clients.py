"""httpx clients that are metered from the start, for programs that use no SDK."""

from collections.abc import Mapping
from typing import Any

import httpx

from accounting.client import meter
from accounting.thresholds import OnBudget


class Client(httpx.Client):
    """An `httpx.Client`, metered; takes `meter()`'s arguments beside its own."""

    def __init__(
        self,
        *,
        project: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        ask_for_usage: bool = True,
        on_budget: OnBudget | None = None,
        **httpx_arguments: Any,
    ) -> None:
        super().__init__(**httpx_arguments)
        meter(self, project=project, tags=tags, provider=provider, ask_for_usage=ask_for_usage, on_budget=on_budget)


class AsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient`, metered; takes `meter()`'s arguments beside its own."""

    def __init__(
        self,
        *,
        project: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        ask_for_usage: bool = True,
        on_budget: OnBudget | None = None,
        **httpx_arguments: Any,
    ) -> None:
        super().__init__(**httpx_arguments)
        meter(self, project=project, tags=tags, provider=provider, ask_for_usage=ask_for_usage, on_budget=on_budget)
