"""Other names under which a model is called: rules as data, that lead to the name that a rate card gives.

A rule says how a name is made of another: `{vendor}/{model}` → `{model}`. What stands in braces is any text, but
`{date}`, which is a day like 2024-08-06 or 20240806. It may be of one provider, or of all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

STEPS = 4
"""So many rules lead from a name at most."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls of `pattern` at the provider (empty: any) may be priced as `target`."""

    provider: str
    pattern: str
    target: str
    source: str = ""
    id: int = 0

    def of(self, provider: str, model: str) -> str | None:
        """The name that it makes of the model; None where it is not for it, or makes the same."""
        if self.provider and self.provider != provider:
            return None
        found = _compiled(self.pattern).fullmatch(model)
        name = None if found is None else self.target.format_map(found.groupdict())
        return None if name == model or not name else name


Named = tuple[str, tuple[Rule, ...]]
"""A name, and the rules that led to it one after the other."""


class Aliases:
    """Finds the names that a model's rate may stand under."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = sorted(rules, key=_particular)

    def names(self, provider: str, model: str) -> Sequence[Named]:
        """The nearest first, each once, and without the model's own."""
        found: dict[str, tuple[Rule, ...]] = {model: ()}
        latest = [model]
        for _ in range(STEPS):
            made = [(name, rule, rule.of(provider, name)) for name in latest for rule in self._rules]
            latest = []
            for name, rule, target in made:
                if target is not None and target not in found:
                    found[target] = (*found[name], rule)
                    latest.append(target)
        return list(found.items())[1:]


def _particular(rule: Rule) -> tuple[bool, int, int]:
    """A provider's own rules before those of all; what says more of a name before what says less."""
    return not rule.provider, -len(re.sub(r"\{\w+\}", "", rule.pattern)), rule.id


_DATE = r"20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", pattern)
    texts = (
        re.escape(piece) if n % 2 == 0 else f"(?P<{piece}>{_DATE if piece == 'date' else '.+'})"
        for n, piece in enumerate(pieces)
    )
    return re.compile("".join(texts), re.DOTALL)


NO_ALIASES = Aliases(())
