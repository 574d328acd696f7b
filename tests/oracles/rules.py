"""What a disagreement with an oracle is, and how one says when it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .bodies import body_with
from .shapes import SHAPES, Case

Says = Callable[[Case], object]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An oracle reads `field` otherwise than we do, and why we hold to ours.

    `when` looks at the body alone, and `said` is what the oracle then says of it: a count, or a part of its error.
    Both must hold, so that the reason explains the very figure. `example` is a usage block of the first shape, and
    `ours` what we read there (None where the oracle raises).
    """

    oracle: str
    field: str
    shapes: tuple[str, ...]
    why: str
    when: Callable[[Case], bool]
    said: Says
    example: Mapping[str, Any] | None
    ours: int | None

    @property
    def case(self) -> Case:
        shape = SHAPES[self.shapes[0]]
        return Case(f"example: {self.why}", shape, body_with(shape, self.example))

    def explains(self, oracle: str, field: str, case: Case, theirs: object) -> bool:
        fits = (self.oracle, self.field) == (oracle, field) and case.shape.name in self.shapes
        if not fits or not self.when(case):
            return False
        said = self.said(case)
        return str(said) in str(theirs) if field == "error" else said == theirs


def reasons(
    oracles: tuple[str, ...],
    field: str,
    shapes: tuple[str, ...],
    *,
    why: str,
    when: Callable[[Case], bool],
    said: Says,
    example: Mapping[str, Any] | None,
    ours: int | None,
) -> list[Disagreement]:
    """The same of each of the oracles."""
    return [Disagreement(oracle, field, shapes, why, when, said, example, ours) for oracle in oracles]


def stated(case: Case, path: str) -> Any:
    """What stands at the dotted path of the usage block; None where nothing does."""
    value: Any = case.block
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def count(case: Case, path: str) -> Any:
    """The number at the path, whatever its kind, or 0."""
    value = stated(case, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def at(path: str) -> Says:
    return lambda case: count(case, path)


def total_of(*paths: str) -> Says:
    return lambda case: sum(count(case, path) for path in paths)


def constant(value: object) -> Says:
    return lambda _: value


def exceeds(part: str, *whole: str) -> Callable[[Case], bool]:
    return lambda case: count(case, part) > sum(count(case, path) for path in whole)


def null(*paths: str) -> Callable[[Case], bool]:
    return lambda case: any(stated(case, path) is None for path in paths)


def given(*paths: str) -> Callable[[Case], bool]:
    return lambda case: any(count(case, path) for path in paths)


def is_text(path: str) -> Callable[[Case], bool]:
    return lambda case: isinstance(stated(case, path), str)


def parts_of(case: Case, path: str, name: str) -> list[Any]:
    """The counts of that name in a list of objects."""
    listed = stated(case, path)
    listed = listed if isinstance(listed, list) else []
    return [part.get(name) or 0 for part in listed if isinstance(part, Mapping)]


def broken_down(case: Case) -> Any:
    """Tokens written to the cache, as the breakdown by lifetime adds up, at Anthropic or Bedrock."""
    lives = ("cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens")
    return total_of(*lives)(case) + sum(parts_of(case, "cacheDetails", "inputTokens"))


def of_iterations(*names: str) -> Says:
    return lambda case: sum(sum(parts_of(case, "iterations", name)) for name in names)


def has_iterations(case: Case) -> bool:
    return bool(stated(case, "iterations"))
