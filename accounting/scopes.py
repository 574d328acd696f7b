"""What a budget is about: everything, or the calls of one project, key, model, provider, user or value of a tag."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from accounting.patterns import fits


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
