"""What `from accounting import meter, attribute` adds to the start of a program.

    python -m tests.benchmarks.imports

Yardstick: a bare interpreter, started in turn with ours. The promise: less than 50 ms above it.
"""

import subprocess
import sys
import time
from statistics import median

ROUNDS = 21
OURS = "from accounting import meter, attribute"


def seconds(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def main() -> None:
    seconds(OURS)  # once, so that the byte code is there
    pairs = [(seconds("pass"), seconds(OURS)) for _ in range(ROUNDS)]
    bare, ours = (median(column) * 1000 for column in zip(*pairs, strict=True))
    added = median(ours - bare for bare, ours in pairs) * 1000
    print(f"bare Python {bare:.1f} ms, with the import {ours:.1f} ms: {added:.1f} ms added (promised: under 50)")


if __name__ == "__main__":
    main()
