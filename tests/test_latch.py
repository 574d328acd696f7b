import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Thread, Timer

import pytest

from accounting.latch import Latch


def test_who_waits_goes_on_when_it_opens() -> None:
    latch = Latch()
    Timer(0.05, latch.open).start()
    begin = time.monotonic()
    assert latch.wait(10)
    assert 0.04 < time.monotonic() - begin < 5


def test_nobody_waits_longer_than_he_wants() -> None:
    assert not Latch().wait(0.01)
    assert not asyncio.run(Latch().wait_async(0.01))
    assert not Latch().wait(-1)


def test_an_open_one_keeps_nobody() -> None:
    latch = Latch()
    latch.open()
    latch.open()
    assert latch.wait(0)
    assert asyncio.run(latch.wait_async(10))


def test_all_go_on_whoever_comes_while_it_opens() -> None:
    for _ in range(200):
        latch = Latch()
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(latch.wait, 10) for _ in range(8)]
            latch.open()
            assert all(each.result() for each in waiting)


def test_tasks_go_on_and_the_loop_runs_meanwhile() -> None:
    latch = Latch()

    async def wait_beside_others() -> list[bool]:
        tasks = [asyncio.create_task(latch.wait_async(10)) for _ in range(100)]
        await asyncio.sleep(0.01)
        Thread(target=latch.open).start()
        return await asyncio.gather(*tasks)

    assert all(asyncio.run(wait_beside_others()))


def test_a_loop_that_has_ended_keeps_no_other_from_going_on() -> None:
    latch = Latch()

    async def leave() -> None:
        task = asyncio.create_task(latch.wait_async(10))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(leave())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(latch.wait, 10)
        time.sleep(0.01)
        latch.open()
        assert waiting.result()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_a_signal_handler_may_wait_while_its_thread_waits() -> None:
    outer, inner, seen = Latch(), Latch(), []

    def handle(*_: object) -> None:
        Timer(0.02, inner.open).start()
        seen.append(inner.wait(10))
        outer.open()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert outer.wait(10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen == [True]
