"""What it takes to find the other names of a model by the shipped rules, the first time and again.

    python -m tests.benchmarks.naming

The names are those of the rules' examples, each asked for at every provider that has rules of its own, and at one that
has none. Each was asked for `ROUNDS` times; its time is the least. The aim: less than 30 µs a name.
"""

from statistics import fmean, quantiles
from time import perf_counter

from accounting import aliases
from accounting.aliases import Aliases

AIM = 30
ROUNDS = 50


def microseconds(provider: str, name: str, *, again: bool) -> float:
    rules = aliases.shipped()
    found = [Aliases(rules) for _ in range(ROUNDS)]
    return min(_asked(one, provider, name, again=again) for one in found)


def _asked(found: Aliases, provider: str, name: str, *, again: bool) -> float:
    # The rules of a provider are chosen once in a program, by the first of its names.
    found.names(provider, name if again else "another")
    begin = perf_counter()
    found.names(provider, name)
    return (perf_counter() - begin) * 1e6


def main() -> None:
    rules = list(aliases.with_examples())
    names = [name for _, examples in rules for name in examples]
    print(f"{len(rules)} rules, {len(names)} names; aim: under {AIM} µs a name the first time")
    for provider in sorted({rule.provider or "others" for rule, _ in rules}):
        first = [microseconds(provider, name, again=False) for name in names]
        again = fmean(microseconds(provider, name, again=True) for name in names[:5])
        worst, mean = quantiles(first, n=100)[-1], fmean(first)
        print(f"{provider:10}  first {mean:5.1f} µs, 99 % within {worst:5.1f} µs; again {again:.2f} µs")


if __name__ == "__main__":
    main()
