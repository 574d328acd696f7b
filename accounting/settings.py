"""What the environment sets, `ACCOUNTING_…`. Read at the edges only: commands, and opening a destination."""

import getpass
import os
import socket
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from accounting import periods, places
from accounting.errors import ConfigurationError


class Settings(BaseSettings):
    """Each field is `ACCOUNTING_` and its name in capitals. Raises `ConfigurationError` for a value it can't use."""

    model_config = SettingsConfigDict(env_prefix="ACCOUNTING_", frozen=True)

    zone: str = "UTC"
    """The zone whose days a new store bills by; an existing store keeps its own."""
    rollup_seconds: int = Field(default=15, ge=1)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [f"ACCOUNTING_{str(fault['loc'][0]).upper()}: {_reason(fault['msg'])}" for fault in error.errors()]
            raise ConfigurationError("; ".join(faults)) from error

    @property
    def store_url(self) -> str:
        """As metered programs read it, or their journals would not be found."""
        return places.store_url()

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return periods.zone(name).key
        except ConfigurationError as error:
            raise ValueError(str(error)) from error


def whoami() -> str:
    """`user@host`: whom the books name for what a command changes in them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no name in the environment, and none for the number
        user = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


def _reason(message: str) -> str:
    """The message of a validator of ours, without what pydantic writes before it."""
    return message.removeprefix("Value error, ")
