"""How a person, or the system, ends a program that goes on until then."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signal(*numbers: signal.Signals) -> Iterator[threading.Event]:
    """Set by the first of these signals; the second is the system's own again, for the impatient.

    An event rather than KeyboardInterrupt: that may be raised in a weak reference's callback, of which a database's
    connection has some, and is lost there.
    """
    stopped = threading.Event()
    former = {number: signal.getsignal(number) for number in numbers}

    def put_back() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        put_back()

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        put_back()
