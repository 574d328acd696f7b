"""Other names under which a model is called: rules as data, that lead to the name that a rate card gives.

A rule says how a name is made of another: `{vendor}/{model}` → `{model}`. What stands in braces is any text, but
`{date}`, which is a day like 2024-08-06 or 20240806. It may be of one provider, or of all. A rule without a target says
of names that look like others that they are none of them, as they have a price of their own: no rule that says less of
a name leads on from one.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from accounting.errors import RateCardError

STEPS = 4
"""So many rules lead from a name at most."""

NAMES = 24
"""So many other names a model is looked for under at most."""

LONGEST = 200
"""No longer name is any that a provider gives a model: to hold rules against one could take long."""

_OPEN = 2
"""So many texts a rule may leave open. The time that a search takes grows with the name's length to that power."""

_REMEMBERED = 4096
_PART = re.compile(r"\{([a-z_]+)\}")
_DATE = r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])|20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls of `pattern` at the provider (empty: any) may be priced as `target`; without one as nothing else.

    `source` is the reason, and where it is from. Raises `RateCardError` for one that can't be used.
    """

    provider: str
    pattern: str
    target: str
    source: str = ""
    id: int = 0
    form: "Form" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", _form(self.pattern, self.target))

    @property
    def keeps(self) -> bool:
        """Whether it says that names are none but their own."""
        return not self.target

    def of(self, provider: str, model: str) -> str | None:
        """The name that it makes of the model; None where it is not for it, or makes none, or the same."""
        if self.provider and self.provider != provider:
            return None
        return self.form.made(model)

    def __str__(self) -> str:
        leads = f"→ {self.target}" if self.target else "has a price of its own"
        return f"{self.pattern} {leads}{f' at {self.provider}' if self.provider else ''}"


@dataclass(frozen=True, slots=True)
class Form:
    """A rule's pattern, ready to be held against names. All that fit begin and end as it says."""

    begin: str
    end: str
    literals: int
    full: re.Pattern[str] | None
    """None where nothing is open: it is the name itself."""
    target: str

    @property
    def opened(self) -> int:
        """How many texts it leaves open."""
        return self.full.groups if self.full else 0

    def fits(self, name: str) -> re.Match[str] | bool | None:
        if self.full is None:
            return name == self.begin
        return name.startswith(self.begin) and name.endswith(self.end) and self.full.fullmatch(name)

    def made(self, name: str) -> str | None:
        found = self.fits(name)
        if not found or not self.target:
            return None
        texts = found.groupdict() if isinstance(found, re.Match) else {}
        made = _PART.sub(lambda part: texts[part[1]], self.target)
        return None if made == name or len(made) > LONGEST else made


Named = tuple[str, tuple[Rule, ...]]
"""A name, and the rules that led to it one after the other."""


class Aliases:
    """Finds the names that a model's rate may stand under: the nearest, so many at most."""

    def __init__(self, rules: Iterable[Rule], most: float = NAMES) -> None:
        self._most = most
        self._exact: dict[str, list[Rule]] = {}
        self._open: list[Rule] = []
        for rule in sorted(rules, key=_particular):
            (self._exact.setdefault(rule.pattern, []) if rule.form.full is None else self._open).append(rule)
        self._of_provider: dict[str, list[Rule]] = {}
        self._found: dict[tuple[str, str], Sequence[Named]] = {}

    def names(self, provider: str, model: str) -> Sequence[Named]:
        """The nearest first, each once, and without the model's own."""
        found = self._found.get((provider, model))
        if found is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[provider, model] = tuple(self._names(provider, model))
        return found

    def kept(self, provider: str, model: str) -> Rule | None:
        """The rule that says that the name is none but itself; no rule after it leads on. None where none does."""
        if len(model) > LONGEST:
            return None
        return next((rule for rule in self._fitting(provider, model) if rule.keeps), None)

    def _names(self, provider: str, model: str) -> Iterator[Named]:
        led: dict[str, tuple[Rule, ...]] = {model: ()}
        latest = [model]
        for _ in range(STEPS):
            made = [(name, rule, target) for name in latest for rule, target in self._made(provider, name)]
            latest = []
            for name, rule, target in made:
                if target not in led and len(led) <= self._most:
                    led[target] = (*led[name], rule)
                    latest.append(target)
                    yield target, led[target]

    def _made(self, provider: str, name: str) -> Iterator[tuple[Rule, str]]:
        """What the rules make of the name, up to one that says that it is no other."""
        if len(name) > LONGEST:
            return
        for rule in self._fitting(provider, name):
            if rule.keeps:
                return
            if made := rule.form.made(name):
                yield rule, made

    def _fitting(self, provider: str, name: str) -> list[Rule]:
        fitting = [rule for rule in self._for(provider) if rule.form.fits(name)]
        if exact := self._exact.get(name):
            named = [rule for rule in exact if rule.provider in ("", provider)]
            return sorted((*named, *fitting), key=_particular)
        return fitting

    def _for(self, provider: str) -> list[Rule]:
        """The rules with something open that are for the provider."""
        rules = self._of_provider.get(provider)
        if rules is None:
            rules = self._of_provider[provider] = [rule for rule in self._open if rule.provider in ("", provider)]
        return rules


def _particular(rule: Rule) -> tuple[bool, int, str, str, int]:
    """A provider's own rules before those of all; what says more of a name before what says less."""
    return not rule.provider, -rule.form.literals, rule.pattern, rule.target, rule.id


@lru_cache(maxsize=_REMEMBERED)
def _form(pattern: str, target: str) -> Form:
    """Raises `RateCardError` where the rule would be none."""
    _refuse_unnameable(pattern, target)
    parts = _PART.split(pattern)
    literals, opened = parts[::2], parts[1::2]
    _refuse_shape(pattern, literals, opened)
    _refuse_target(pattern, target, opened)
    return Form(
        begin=literals[0],
        end=literals[-1],
        literals=sum(map(len, literals)),
        full=re.compile("".join(_expression(parts)), re.DOTALL) if opened else None,
        target=target,
    )


def _expression(parts: Sequence[str]) -> Iterator[str]:
    for place, part in enumerate(parts):
        yield f"(?P<{part}>{_DATE if part == 'date' else '.+'})" if place % 2 else re.escape(part)


def _refuse_unnameable(pattern: str, target: str) -> None:
    for what, text in (("pattern", pattern), ("target", target)):
        if len(text) > LONGEST:
            raise RateCardError(f"The {what} of an alias has {len(text):,} characters; expected at most {LONGEST}.")
        if text != text.strip() or not text.isprintable():
            raise RateCardError(f"The {what} {text!r} of an alias: expected a name, without blanks around it.")
        if "*" in text:
            raise RateCardError(
                f"The {what} {text!r} of an alias has a *; any text is written in braces, like {{model}}."
            )
        if set(_PART.sub("", text)) & {"{", "}"}:
            raise RateCardError(
                f"The {what} {text!r} of an alias: expected each brace to be of a part like {{model}}, in lower case."
            )


def _refuse_shape(pattern: str, literals: Sequence[str], opened: Sequence[str]) -> None:
    if not pattern:
        raise RateCardError(
            "The pattern of an alias is empty; expected the name that calls give, like {vendor}/{model}."
        )
    if len(set(opened)) < len(opened):
        raise RateCardError(f"The pattern {pattern!r} of an alias has a part twice; give each a name of its own.")
    if "" in literals[1:-1]:
        raise RateCardError(f"The pattern {pattern!r} of an alias: nobody could say where one part of it ends.")
    if len([part for part in opened if part != "date"]) > _OPEN:
        raise RateCardError(
            f"The pattern {pattern!r} of an alias has {len(opened)} parts; expected at most {_OPEN} and a {{date}}. "
            "One part can stand for what several would: it is any text, also with slashes or dots in it."
        )


def _refuse_target(pattern: str, target: str, opened: Sequence[str]) -> None:
    if unknown := sorted(set(_PART.findall(target)) - set(opened)):
        known = ", ".join(f"{{{part}}}" for part in opened) or "none"
        raise RateCardError(
            f"The target {target!r} of an alias has {{{unknown[0]}}}, which {pattern!r} has not; it has {known}."
        )
    if target == pattern:
        raise RateCardError(f"The alias {pattern!r} leads to itself; expected the name that the rate card gives.")


def contradicted(rule: Rule, rules: Iterable[Rule]) -> Rule | None:
    """That one of the rules which leads from the same names of the same provider elsewhere, or keeps them."""
    named = _nameless(rule)
    return next((one for one in rules if _nameless(one)[:2] == named[:2] and _nameless(one) != named), None)


_SAMPLE = "2024-08-06"
"""A text that any part may stand for."""


def refuse_circle(rule: Rule, rules: Iterable[Rule]) -> None:
    """Raises `RateCardError` where the rule leads on and on, or others back to the names that it is for.

    Rules that leave more open may lead back: that one takes makers' names off is no reason not to add one model's.
    """
    name = _PART.sub(_SAMPLE, rule.pattern)
    made = rule.form.made(name)
    if made is None:
        return
    if (again := rule.form.made(made)) is not None and len(again) > len(made):
        raise RateCardError(
            f"The alias {rule} is for what it makes of a name, too, and leads on to {again!r} from {made!r}. Have its "
            "pattern say more of the names that it is for."
        )
    for back in _back(rule, made, name, [one for one in rules if one.form.opened <= rule.form.opened]):
        said = ", ".join(f"alias {one.id}, {one}" for one in back)
        raise RateCardError(
            f"The alias {rule} leads in a circle: from {made!r} back leads {said}. Keep the one that leads to the name "
            f"on the rate card; to withdraw the other: accounting rates aliases withdraw {back[0].id} --why …"
        )


def _back(rule: Rule, made: str, name: str, rules: Sequence[Rule]) -> Iterator[tuple[Rule, ...]]:
    providers = [rule.provider] if rule.provider else sorted({"", *(one.provider for one in rules)})
    found = Aliases(rules)
    return (led for provider in providers for reached, led in found.names(provider, made) if reached == name)


def is_among(rule: Rule, rules: Iterable[Rule]) -> bool:
    """Whether one of them says the same, whatever its reason is and its parts are called."""
    return _nameless(rule) in map(_nameless, rules)


def _nameless(rule: Rule) -> tuple[str, str, str]:
    """The rule with its parts numbered: what they are called is of no account."""
    numbers: Mapping[str, str] = {
        part: part if part == "date" else f"{number}" for number, part in enumerate(_PART.findall(rule.pattern))
    }

    def numbered(text: str) -> str:
        return _PART.sub(lambda part: f"{{{numbers[part[1]]}}}", text)

    return rule.provider, numbered(rule.pattern), numbered(rule.target)


SHIPPED = Path(__file__).with_name("aliases.toml")


def shipped() -> list[Rule]:
    """The rules of `aliases.toml`."""
    return [rule for rule, _ in with_examples()]


def with_examples() -> Iterator[tuple[Rule, Mapping[str, Sequence[str]]]]:
    """The shipped rules, each with names and those that all the rules together lead to from them."""
    for line in tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["alias"]:
        yield Rule(line.get("provider", ""), line["pattern"], line.get("target", ""), line["why"]), line["examples"]


NO_ALIASES = Aliases(())
