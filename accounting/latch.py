"""Something that happens once, and that callers of both colours wait for.

No lock is taken that a caller might hold: a signal handler may come in between and wait for a latch of its own, and
what `__del__` runs may open one. Each step is one of the interpreter's own instead.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue


class Latch:
    """Closed at first; whoever opens it, from any thread, lets all go on that wait."""

    __slots__ = ("_wakers", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._wakers: deque[Callable[[], object]] = deque()

    def open(self) -> None:
        self.is_open = True
        with suppress(IndexError):  # another thread opens it as well
            while self._wakers:
                wake = self._wakers.popleft()
                with suppress(RuntimeError):  # an event loop that is closed: nobody waits there any more
                    wake()

    def wait(self, seconds: float) -> bool:
        """Whether it was opened in the time."""
        bell: SimpleQueue[None] = SimpleQueue()
        self._tell(partial(bell.put, None))
        with suppress(Empty):
            bell.get(timeout=max(seconds, 0.0))
        return self.is_open

    async def wait_async(self, seconds: float) -> bool:
        """`wait`, under asyncio or trio; no thread waits meanwhile."""
        import anyio  # httpx brings it, and has it loaded

        event = anyio.Event()
        self._tell(partial(_of_this_loop(), event.set))
        with anyio.move_on_after(max(seconds, 0.0)):
            await event.wait()
        return self.is_open

    def _tell(self, wake: Callable[[], object]) -> None:
        self._wakers.append(wake)
        if self.is_open:  # it may have been opened just before
            self.open()


def _of_this_loop() -> Callable[..., object]:
    """What has a function run in the event loop of this task, from any thread."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        run_soon: Callable[..., object] = trio.lowlevel.current_trio_token().run_sync_soon
        return run_soon
    return asyncio.get_running_loop().call_soon_threadsafe
