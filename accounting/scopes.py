"""What a budget is about: everything, or the calls of one project, key, model, provider, user or value of a tag."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from accounting.patterns import fits, is_pattern

T = TypeVar("T")


class Kind(StrEnum):
    """What tells the calls that a budget covers from others."""

    ALL = "all"
    PROJECT = "project"
    KEY = "key"
    MODEL = "model"
    PROVIDER = "provider"
    USER = "user"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a call decides which budgets cover it.

    `project_id` is who pays, None where no project in the books does yet; likewise `key_id`. `models` are the names of
    the model: its own first, and those that aliases make of it.
    """

    project_id: int | None
    key_id: int | None
    provider: str
    models: Sequence[str]
    user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls a budget covers.

    `id` is that of a project or key, 0 otherwise. `name` is the model's (or a pattern, `gpt-4o*`), the provider's, the
    user's or the tag's; `value` is that of the tag.
    """

    kind: Kind
    id: int = 0
    name: str = ""
    value: str = ""

    def covers(self, subject: Subject) -> bool:
        """Whether the budget is about the call."""
        match self.kind:
            case Kind.ALL:
                return True
            case Kind.PROJECT:
                return subject.project_id == self.id
            case Kind.KEY:
                return subject.key_id == self.id
            case Kind.MODEL:
                return any(fits(self.name, model) for model in subject.models)
            case Kind.PROVIDER:
                return subject.provider == self.name
            case Kind.USER:
                return subject.user == self.name
            case Kind.TAG:
                return subject.tags.get(self.name) == self.value


class Scopes(Generic[T]):
    """Finds what is about a call among many things, each with its scope: there may be a budget for every user."""

    def __init__(self, things: Iterable[tuple[Scope, T]]) -> None:
        self._named: dict[Scope, list[tuple[int, T]]] = {}
        self._patterns: list[tuple[int, Scope, T]] = []
        for place, (scope, thing) in enumerate(things):
            if scope.kind is Kind.MODEL and is_pattern(scope.name):
                self._patterns.append((place, scope, thing))
            else:
                self._named.setdefault(scope, []).append((place, thing))

    def covering(self, subject: Subject) -> list[T]:
        """Those whose scope covers the subject, in the order in which they came."""
        found = [one for scope in _exactly(subject) for one in self._named.get(scope, ())]
        found += ((place, thing) for place, scope, thing in self._patterns if scope.covers(subject))
        return [thing for _, thing in sorted(found, key=lambda one: one[0])]


def _exactly(subject: Subject) -> Iterator[Scope]:
    """Every scope that covers the subject, but for patterns."""
    yield Scope(Kind.ALL)
    if subject.project_id is not None:
        yield Scope(Kind.PROJECT, subject.project_id)
    if subject.key_id is not None:
        yield Scope(Kind.KEY, subject.key_id)
    yield Scope(Kind.PROVIDER, name=subject.provider)
    yield from (Scope(Kind.MODEL, name=name) for name in dict.fromkeys(subject.models))
    if subject.user is not None:
        yield Scope(Kind.USER, name=subject.user)
    yield from (Scope(Kind.TAG, name=name, value=value) for name, value in subject.tags.items())
