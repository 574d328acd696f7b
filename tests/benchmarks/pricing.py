"""What it takes to price a call by a book of thousands of lines, and to have that book.

    python -m tests.benchmarks.pricing

Yardsticks: genai-prices and litellm, each in an environment of its own with all of its own prices, asked in turn about
the same calls: find the model's price and multiply, without reading any answer. The aim: at least 10 × faster than
either. `accounting.price` beside it checks the counts and gives back each part, too.

Times are of the processor: the median of `ROUNDS`, and the least. Memory is what Python says it allocated for the book.
"""

import json
import os
import sys
import timeit
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

AIM = 10
ROUNDS = 9
SECONDS = 0.05
"""How long one measurement takes, about."""
LINES = 10_000
AT = datetime(2026, 11, 4, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Called:
    """A model by the names under which each library knows its provider, and what was used of it."""

    provider: str
    genai: str
    model: str
    used: dict[str, int]


_CHAT = {"input": 2_006, "cache_read": 1_920, "output": 300, "reasoning": 192}
CALLS = {
    "input and output": Called("openai", "openai", "gpt-5", {"input": 2_006, "output": 300}),
    "cached and reasoned": Called("openai", "openai", "gpt-5", _CHAT),
    "written to a cache for an hour": Called(
        *("anthropic", "anthropic", "claude-opus-4-5"),
        {"input": 20_060, "cache_read": 18_000, "cache_write": 2_048, "cache_write_1h": 1_024, "output": 503},
    ),
    "above a size of the input": Called("gemini", "google", "gemini-2.5-pro", {"input": 250_000, "output": 710}),
    "by a dated name": Called("openai", "openai", "gpt-5-2025-08-07", _CHAT),
}

Priced = Callable[[], object]


def _ours(called: Called) -> Priced:
    from accounting.rates import price
    from accounting.usage import Quantities

    book, used = _book(), Quantities(**called.used)

    def priced() -> object:
        rate = book.find(called.provider, called.model, AT, used.input)
        assert rate is not None
        return price(used, rate).amount

    return priced


def _whole(called: Called) -> Priced:
    import accounting
    from accounting.usage import Quantities

    book, used = _book(), Quantities(**called.used)
    return lambda: accounting.price(used, called.model, AT, provider=called.provider, rates=book)


def _book() -> Any:
    from accounting import aliases
    from accounting.aliases import Aliases
    from accounting.resolution import RateBook

    if not _BOOKS:
        _BOOKS.append(RateBook(_rates(), Aliases(aliases.shipped())))
    return _BOOKS[0]


_BOOKS: list[Any] = []


def _rates() -> Iterator[Any]:
    """Of thousands of models: each with an earlier price, and one for large inputs."""
    from accounting.periods import Period
    from accounting.rates import Rate

    models = dict.fromkeys((called.provider, called.model) for called in CALLS.values() if called.model[-3:] != "-07")
    others = (("wcode", f"m-{number}") for number in range(LINES // 3 - len(models) + 1))
    for provider, model in (*models, *others):
        for days, above in ((0, 0), (90, 0), (90, 200_000)):
            yield Rate(
                provider=provider,
                model=model,
                currency="USD",
                period=Period(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days), None),
                context_above=above,
                input_per_1k=Decimal("0.005"),
                cache_read_per_1k=Decimal("0.0005"),
                cache_write_per_1k=Decimal("0.00625"),
                cache_write_1h_per_1k=Decimal("0.01"),
                output_per_1k=Decimal("0.025"),
                source="a price list",
            )


def _genai(called: Called) -> Priced:
    from genai_prices import Usage, calc_price

    from tests.oracles.genai_sums import USED

    used = Usage(**{theirs: count for ours, count in called.used.items() for theirs in USED[ours]})
    return lambda: calc_price(used, called.model, provider_id=called.genai, genai_request_timestamp=AT).total_price


def _litellm(called: Called) -> Priced:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm.cost_calculator import cost_per_token
    from litellm.types.utils import Usage

    from tests.oracles.lite_sums import COUNTS, usage

    used = Usage(**usage(dict.fromkeys(COUNTS, 0) | called.used))
    return lambda: cost_per_token(model=called.model, custom_llm_provider=called.provider, usage_object=used)


LIBRARIES = {"ours": _ours, "accounting.price": _whole, "genai": _genai, "litellm": _litellm}


def serve(library: str) -> None:
    """Time what each line of stdin names; write the microseconds that one took."""
    out, sys.stdout = sys.stdout, sys.stderr
    prepared = {name: timeit.Timer(LIBRARIES[library](called), timer=process_time) for name, called in CALLS.items()}
    repeats = {name: max(1, int(SECONDS / (min(timer.repeat(5, 50)) / 50))) for name, timer in prepared.items()}
    for line in sys.stdin:
        name = json.loads(line)
        out.write(f"{prepared[name].timeit(repeats[name]) / repeats[name] * 1e6}\n")
        out.flush()


def _side_by_side() -> None:
    from tests.benchmarks.serving import served
    from tests.oracles.asking import ORACLES
    from tests.sdks.environments import python_for

    ours = {"ours": sys.executable, "accounting.price": sys.executable}
    pythons = ours | {name: str(python_for(oracle)) for name, oracle in ORACLES.items()}
    worst = float("inf")
    with served("tests.benchmarks.pricing", pythons) as timed:
        for call in CALLS:
            rounds = [{name: measure(call) for name, measure in timed.items()} for _ in range(ROUNDS)]
            taken = {name: median(each[name] for each in rounds) for name in timed}
            least = {name: min(each[name] for each in rounds) for name in timed}
            worst = min([worst, *(least[name] / least["ours"] for name in ORACLES)])
            print(f"  {call}: ours {taken['ours']:.2f} µs (least {least['ours']:.2f})")
            for name in ("accounting.price", *ORACLES):
                times = f"{taken[name] / taken['ours']:.1f} × (of the least {least[name] / least['ours']:.1f} ×)"
                print(f"    {name} {taken[name]:.1f} µs (least {least[name]:.1f}): {times}")
    print(f"at least {worst:.1f} × faster, by the least times (the aim: {AIM} ×)")


def _stored(rates: list[Any], directory: str) -> Callable[[], object]:
    from accounting import ratebook
    from accounting.store import reading, writing
    from tests.books import Books

    books = Books(Path(directory))
    with writing(books.engine) as conn:
        ratebook.load(conn, rates, AT)

    def loaded() -> object:
        with reading(books.engine) as conn:
            return ratebook.book(conn)

    return loaded


def _to_have_it(directory: str) -> None:
    """Read from a sheet and from a card, made into a book, kept in memory."""
    from accounting.cards import by_heading, parse_card, write
    from accounting.ratesheets import read_csv, write_csv
    from accounting.resolution import RateBook

    rates = list(_rates())
    sheet, cards = write_csv(rates), [write(lines) for lines in by_heading(rates)]
    for what, made in {
        "loaded from a SQLite store": _stored(rates, directory),
        "read from a sheet": lambda: read_csv(sheet, "sheet"),
        "read from cards": lambda: [line for card in cards for line in parse_card(card, "card")],
        "made into a book": lambda: RateBook(rates),
    }.items():
        taken = min(timeit.repeat(made, number=1, repeat=3, timer=process_time))
        print(f"  {what}: {taken:.2f} s, {taken / len(rates) * 1e6:.0f} µs a line")
    tracemalloc.start()
    book = RateBook(_rates())
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert book.find("wcode", "m-1", AT) is not None
    print(f"  kept in memory: {kept / 2**20:.1f} MiB, {kept / len(rates):.0f} bytes a line")


def main() -> None:
    print(f"a call by a book of {LINES:,} lines:")
    _side_by_side()
    print("the book:")
    with TemporaryDirectory() as directory:
        _to_have_it(directory)


if __name__ == "__main__":
    serve(sys.argv[1]) if len(sys.argv) > 1 else main()
