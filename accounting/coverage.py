"""Which budgets cover a call, told in a process without asking anybody; and the file in which a host keeps that."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from accounting.aliases import NO_ALIASES, Aliases, Rule
from accounting.decisions import Mode, WhenAway
from accounting.scopes import Kind, Scope, Scopes, Subject
from accounting.usage import Call

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Bound:
    """A budget, as far as a caller must know of it before it asks. `told` is its scope for people."""

    id: int
    name: str
    scope: Scope
    told: str
    mode: Mode
    when_away: WhenAway

    @property
    def is_hard(self) -> bool:
        return self.mode is not Mode.SOFT


@dataclass(frozen=True)
class Coverage:
    """All budgets that are in force, and what decides whether they cover a call.

    `edition` tells one state of that from another. Of projects and keys only those are named that matter: by their
    names, former ones too, and by their fingerprints. `payers` are by the key's fingerprint, in order of time: since
    when which project pays (None: one that does not matter). `default` is the project of calls that nobody else pays
    for, where that matters.
    """

    edition: tuple[int, int] = (0, 0)
    budgets: Sequence[Bound] = ()
    projects: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)
    payers: Mapping[str, Sequence[tuple[datetime, int | None]]] = field(default_factory=dict)
    default: int | None = None
    rules: Sequence[Rule] = ()

    def subject(self, call: Call) -> Subject:
        """What of the call decides."""
        return Subject(
            project_id=self._payer(call),
            key_id=self.keys.get(call.key_fingerprint),
            provider=call.provider,
            models=self.models(call.provider, call.model) + self._answering(call),
            user=call.user,
            tags=call.tags,
        )

    def covering(self, call: Call) -> list[Bound]:
        """The budgets that cover the call, soft ones too, by id."""
        return self._found.covering(self.subject(call)) if self.budgets else []

    def models(self, provider: str, model: str) -> list[str]:
        """The model's own name first, then those that aliases make of it."""
        if not self._models:
            return [model]
        return [model, *(name for name, _ in self._aliases.names(provider, model))]

    def _answering(self, call: Call) -> list[str]:
        """Of the models that budgets name those that may answer to the request's: dated ones, mostly, which the call
        will be booked under. Those that don't set aside too much, until it is."""
        if not self._models or call.response_model or not call.request_model:
            return []
        asked, names = call.request_model, self._aliases.names
        return [each for each in self._models if any(name == asked for name, _ in names(call.provider, each))]

    def _payer(self, call: Call) -> int | None:
        if call.project:
            return self.projects.get(call.project)
        turns = self.payers.get(call.key_fingerprint, ())
        place = bisect_right(turns, call.started_at, key=lambda turn: turn[0])
        return turns[place - 1][1] if place else self.default

    @cached_property
    def _found(self) -> Scopes[Bound]:
        return Scopes((budget.scope, budget) for budget in self.budgets)

    @cached_property
    def _models(self) -> list[str]:
        """Those that budgets name, or patterns for them."""
        return [budget.scope.name for budget in self.budgets if budget.scope.kind is Kind.MODEL]

    @cached_property
    def _aliases(self) -> Aliases:
        return Aliases(self.rules) if self.rules else NO_ALIASES

    def encode(self) -> bytes:
        """As the file of a host holds it."""
        record = {
            "version": _VERSION,
            "edition": self.edition,
            "budgets": [
                [b.id, b.name, b.scope.kind, b.scope.id, b.scope.name, b.scope.value, b.told, b.mode, b.when_away]
                for b in self.budgets
            ],
            "projects": dict(self.projects),
            "keys": dict(self.keys),
            "payers": {key: [[at.isoformat(), id_] for at, id_ in turns] for key, turns in self.payers.items()},
            "default": self.default,
            "rules": [[rule.provider, rule.pattern, rule.target] for rule in self.rules],
        }
        return json.dumps(record, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Coverage":
        """Raises `ValueError` for anything that `encode` did not write."""
        try:
            record: dict[str, Any] = json.loads(payload)
            if record["version"] != _VERSION:
                raise ValueError(f"version {record['version']}")
            first, second = record["edition"]
            return cls(
                edition=(int(first), int(second)),
                budgets=[_bound(*row) for row in record["budgets"]],
                projects=record["projects"],
                keys=record["keys"],
                payers={key: _turns(turns) for key, turns in record["payers"].items()},
                default=record["default"],
                rules=[Rule(*row) for row in record["rules"]],
            )
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"Not a coverage: {error}") from error


def _bound(
    id_: int, name: str, kind: str, of: int, scope_name: str, value: str, told: str, mode: str, away: str
) -> Bound:
    return Bound(id_, name, Scope(Kind(kind), of, scope_name, value), told, Mode(mode), WhenAway(away))


def _turns(turns: Sequence[tuple[str, int | None]]) -> list[tuple[datetime, int | None]]:
    return [(datetime.fromisoformat(at), id_) for at, id_ in turns]


NOTHING = Coverage()
"""No budget covers any call."""
