"""What `accounting verify` takes for each call, on books of a month.

    python -m tests.benchmarks.verifying [CALLS] [URL]

Without a URL in a SQLite file. Yardstick: the same calls read and added up by the database alone. The promise: at most
50 µs a call on SQLite, with one and a half rows by tag for each call.
"""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from accounting.store import reading
from accounting.usage import Call
from accounting.verify import verify
from tests.books import NOON, Books, made, used

BATCH = 500
BARE = "SELECT quarter, billed_on, project_id, key_id, model, sum(input_tokens), sum(output_tokens) FROM calls "


def fill(books: Books, number: int) -> None:
    """Calls of 30 days: three projects, two models, tags on most, one of a thousand end users on each."""
    for start in range(0, number, BATCH):
        books.deliver(*(call(i, number) for i in range(start, min(start + BATCH, number))))
    books.roll()


def call(i: int, number: int) -> Call:
    return made(
        NOON - timedelta(days=30) * (number - i) / number,
        i + 1,
        project=("checkout", "search", "support")[i % 3],
        request_model=("z-ai/glm-5", "nobody/knows")[i % 2],
        tags={"feature": ("rerank", "chat")[i % 2], "team": "ops"} if i % 4 else {},
        user=f"u-{i % 1000}",
        usage=used(1_000 + i % 77, 200 + i % 13, read=i % 100, thought=i % 50),
    )


def took(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(number: int, url: str = "") -> None:
    with TemporaryDirectory() as directory:
        books = Books(url or Path(directory))
        fill(books, number)

        def bare() -> None:
            with reading(books.engine) as conn:
                conn.exec_driver_sql(f"{BARE} GROUP BY 1, 2, 3, 4, 5").all()

        seconds, database = (min(took(work) for _ in range(3)) for work in (lambda: verify(books.engine), bare))
        print(f"verify {seconds / number * 1e6:6.1f} µs a call; the database alone {database / number * 1e6:.1f}")
        books.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100_000, *sys.argv[2:3])
