"""L1 and L2 with many hosts on one PostgreSQL: programs are killed, and so is the server."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounting.simulator import Simulator
from tests.databases import PostgresDatabases
from tests.faults.life import SECONDS, Life, assert_all_is_in, assert_nothing_is_lost_or_doubled
from tests.warehouse import until

HOSTS = ("build-1", "build-2", "build-3")
COLOURS = ("threads", "tasks")


@pytest.fixture
def life(tmp_path: Path, postgresql: PostgresDatabases) -> Iterator[Life]:
    with Simulator() as provider:
        life = Life(tmp_path, provider, postgresql.empty())
        yield life
        life.end()


def test_what_programs_on_many_hosts_received_is_in_the_books_once_though_they_and_the_server_are_killed(
    life: Life, postgresql: PostgresDatabases
) -> None:
    # All at once find an empty database; one of them makes the store.
    programs = [life.begin(colour, "--calls", "100000", host=host) for host in HOSTS for colour in COLOURS]
    life.more_answers(100)
    assert until(lambda: life.command("store", "show").wait(SECONDS) == 0, SECONDS)
    workers = [life.command("work", host=host) for host in HOSTS]
    assert all("Working on" in _said(worker) for worker in workers)
    postgresql.server.stop("immediate")
    life.more_answers(200)  # nobody waits for the books
    postgresql.server.start()
    life.more_answers(200)
    for program in programs:
        program.kill()
        life.dies("with the server", "any", program)
    heirs = [life.begin(colour, host=host) for host in HOSTS for colour in COLOURS]
    assert [heir.wait(SECONDS) for heir in heirs] == [0] * len(heirs)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS) == 0
    for host in HOSTS:
        life.accounting("deliver", host=host)

    books = assert_nothing_is_lost_or_doubled(life)
    assert_all_is_in(books)
    assert len(books.sources) >= len(programs)


def _said(process: "subprocess.Popen[str]") -> str:
    """The next line of its complaints."""
    assert process.stderr is not None
    return process.stderr.readline()
