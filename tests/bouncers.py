"""A real pgbouncer in transaction mode: many clients share two connections of the server."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.databases import SILENT, Server, free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
server_reset_query =
query_wait_timeout = 60
logfile = {log}
"""


def program() -> str:
    """Where pgbouncer is; without it the test is skipped, though not where everything must be tested."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and os.environ.get("CI"):
        pytest.fail("There is no pgbouncer; .ci/run installs it.")
    if found is None:
        pytest.skip("There is no pgbouncer: apt-get install pgbouncer")
    return found


@contextmanager
def bouncing(server: Server) -> Iterator[int]:
    """The port of a pgbouncer in front of the server."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)  # it refuses to be root, and writes its log as somebody else
        port = free_port()
        file = Path(directory) / "pgbouncer.ini"
        file.write_text(CONFIGURATION.format(server=server.port, port=port, log=Path(directory) / "log"))
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        with subprocess.Popen([program(), "-q", *as_nobody, str(file)], **SILENT) as process:
            try:
                _await(port)
                yield port
            finally:
                process.terminate()


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
