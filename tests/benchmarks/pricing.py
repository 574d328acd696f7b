"""What it takes to price a call: find its rate in a book of many, and multiply.

    python -m tests.benchmarks.pricing

Yardstick: the same sum of products in plain `Decimal`, without looking anything up. The promise: at most 3 µs a call.
"""

import timeit
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from accounting.periods import Period
from accounting.rates import Rate, price
from accounting.resolution import RateBook
from accounting.usage import Quantities

MODELS = 2_000
NUMBER = 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)


def rate(model: int, year: int) -> Rate:
    return Rate(
        provider="wcode",
        model=f"m-{model}",
        currency="CNY",
        period=Period(START + timedelta(days=365 * year), None),
        input_per_1k=Decimal("0.011"),
        cache_read_per_1k=Decimal("0.0022"),
        output_per_1k=Decimal("0.035"),
        reasoning_per_1k=Decimal("0.04"),
    )


def main() -> None:
    book = RateBook(rate(model, year) for model in range(MODELS) for year in range(3))
    at = START + timedelta(days=400)
    tokens = Quantities(input=1_500, cache_read=1_000, output=210, reasoning=120)
    p_in, p_read, p_out, p_reason = Decimal("0.011"), Decimal("0.0022"), Decimal("0.035"), Decimal("0.04")

    def ours() -> Decimal:
        found = book.find("wcode", "m-1234", at)
        assert found is not None
        return price(tokens, found).amount

    def bare() -> Decimal:
        return (p_in * 500 + p_read * 1_000 + p_out * 90 + p_reason * 120) / 1000

    assert ours() == bare()
    runs = [(timeit.timeit(bare, number=NUMBER), timeit.timeit(ours, number=NUMBER)) for _ in range(5)]
    yardstick, measured = (min(column) / NUMBER * 1e6 for column in zip(*runs, strict=True))
    ratio = measured / yardstick
    print(f"plain Decimal {yardstick:.2f} µs, ours {measured:.2f} µs a call: {ratio:.1f} × (promised: at most 3 µs)")


if __name__ == "__main__":
    main()
