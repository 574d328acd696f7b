"""What `doctor` says of one thing that it looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from accounting.symptoms import Bench


class State(StrEnum):
    OK = "ok"
    LOOK = "look"
    BAD = "bad"


OK, LOOK, BAD = State.OK, State.LOOK, State.BAD


class Verdict(NamedTuple):
    """`said` is what was found, and what that means; `advice` what to do, with a command where there is one."""

    state: State
    said: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at one thing and judges what it sees, at an instant; the judging only thinks."""

    name: str
    look: Callable[[Bench], Any]
    judge: Callable[[Any, datetime], Verdict]
