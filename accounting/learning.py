"""What the store learns from its own finished calls: tokens by bytes, how far off that is, and how long answers are.

A run looks at the newest calls, so many and no more, and writes what it finds in one transaction; one that was killed
leaves what was learned before. Calls with even ids teach and those with odd ones examine, so the same books teach the
same, and the error that is stated is that on calls the line has not seen. Models that were not called lately keep what
was learned of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from accounting.estimates import (
    ANY_EFFORT,
    Asker,
    Line,
    Place,
    Sizes,
    Snapshot,
    is_estimated,
    most_input,
    most_output,
    priors,
)
from accounting.fitting import Fit, Lesson, fitted, sized
from accounting.store import insert, reading, transact
from accounting.store.tables import answer_sizes, calls, estimate_lines, keys
from accounting.usage import Outcome, UsageSource

MOST_CALLS = 20_000
"""So many of the newest calls are looked at in a run: about a second's work."""

MOST_OF_A_MODEL = 1_000
"""So many of them teach what there is to know of a model, or of any other place: more tell hardly more."""

PAGE = 2_000

KEPT = timedelta(days=90)
"""What was not learned again for so long is forgotten: models change behind their names."""

MOST_LINES = 2_000
"""Lines, and as many sizes, that a snapshot holds at most, the newest and best founded; 600 KB in a host's file."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run looked at, and of how many places it learned something."""

    calls: int
    lines: int
    sizes: int


Whose = tuple[str, str, int, str]
"""Provider, model, the id of a key, 0 for all keys, and a reasoning effort, or `ANY_EFFORT`."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Lines by place, and how long answers are by whose they are, with the number of calls that is known of."""

    lines: Mapping[Place, Fit]
    sizes: Mapping[Whose, tuple[Sizes, int]]


class Seen(NamedTuple):
    """What is read of a call."""

    id: UUID
    provider: str
    model: str
    request_model: str | None
    endpoint: str
    stream: bool
    script: str | None
    key_id: int
    bytes_in: int
    bytes_out: int
    input_tokens: int | None
    output_tokens: int | None
    outcome: str
    usage_source: str
    parent_id: UUID | None
    effort: str | None = None

    @property
    def teaches(self) -> bool:
        """Whether its provider stated what it used, and that is a matter of its text."""
        is_stated = self.outcome == Outcome.FINISHED and self.usage_source == UsageSource.PROVIDER
        return is_stated and self.parent_id is None and self.script is not None and is_estimated(self.endpoint)

    @property
    def models(self) -> set[str]:
        """A call that is cut knows only the name in its request; the one in an answer is often longer."""
        return {self.model, self.request_model or self.model}


_READ = [calls.c[name] for name in Seen._fields]


def learn(engine: Engine, clock: Callable[[], datetime]) -> Learned:
    """Learn from the newest calls, and write it down."""
    seen = list(_newest(engine))
    found = taught(seen)
    transact(engine, lambda conn: _keep(conn, found, clock()))
    return Learned(len(seen), len(found.lines), len(found.sizes))


def taught(seen: Sequence[Seen]) -> Taught:
    """What calls teach, so many at most for each place, the first ones."""
    sizes = {whose: found for whose, tokens in _answers(seen).items() if (found := sized(tokens))}
    lessons = _lessons(seen, {whose: found for whose, (found, _) in sizes.items()})
    return Taught(_fits(lessons), sizes)


def _newest(engine: Engine) -> Iterator[Seen]:
    """The newest calls that teach, by their ids downwards; each page is a transaction of its own."""
    of_models: Counter[tuple[str, str]] = Counter()
    page: Sequence[Any] = ()
    for _ in range(MOST_CALLS // PAGE):
        with reading(engine) as conn:
            page = conn.execute(_page(page[-1].id if page else None)).all()
        for row in page:
            seen = Seen(*row)
            whose = seen.provider, seen.model
            if seen.teaches and of_models[whose] < MOST_OF_A_MODEL:
                of_models[whose] += 1
                yield seen
        if len(page) < PAGE:
            break


def _page(below: UUID | None) -> sa.Select[Any]:
    # Nothing is chosen here: of few that teach among many that don't, a page would be long in coming.
    newest = sa.select(*_READ).order_by(calls.c.id.desc()).limit(PAGE)
    return newest if below is None else newest.where(calls.c.id < below)


def _lessons(seen: Iterable[Seen], sizes: Mapping[Whose, Sizes]) -> dict[Place, list[Lesson]]:
    """What there is to learn, by place: near ones with their script, and those that stand for all scripts or models."""
    found: dict[Place, list[Lesson]] = defaultdict(list)
    for call in seen:
        answers = sizes.get((call.provider, call.model, 0, ANY_EFFORT))
        for place, size, tokens in _told(call):
            most = most_output(size, answers) if place.endpoint else most_input(size)
            lesson = Lesson(size, priors().tokens(place, size), tokens, bool(call.id.int & 1), most)
            for each in _places(place, call.models):
                if len(lessons := found[each]) < MOST_OF_A_MODEL:
                    lessons.append(lesson)
    return found


def _places(place: Place, models: Iterable[str]) -> Iterator[Place]:
    for model in models:
        yield place._replace(model=model)
        yield place._replace(model=model, script="")
    yield place._replace(model="", script="")


def _told(call: Seen) -> Iterator[tuple[Place, int, int]]:
    place = Place(call.provider, call.model, script=call.script or "")
    if call.bytes_in and call.input_tokens is not None:
        yield place, call.bytes_in, call.input_tokens
    if call.bytes_out and call.output_tokens is not None and not priors().is_silent(call.endpoint):
        yield place._replace(endpoint=call.endpoint, stream=call.stream), call.bytes_out, call.output_tokens


def _fits(lessons: Mapping[Place, Sequence[Lesson]]) -> dict[Place, Fit]:
    """The widest places first, as a nearer one is held against them."""
    fits: dict[Place, Fit] = {}
    for place in sorted(lessons, key=lambda each: (each.model != "", each.script != "")):
        wider = [fits[each].line for each in place.wider() if each in fits]
        others = [line.over(priors().line(place)) for line in wider] if place.script else wider
        if fit := fitted(place, lessons[place], others):
            fits[place] = fit
    return fits


def _answers(seen: Iterable[Seen]) -> dict[Whose, list[int]]:
    """Tokens of answers, by whose they are."""
    found: dict[Whose, list[int]] = defaultdict(list)
    for call in seen:
        if call.output_tokens is not None and not priors().is_silent(call.endpoint):
            for model, key_id, effort in product(call.models, {0, call.key_id}, {ANY_EFFORT, call.effort or ""}):
                found[call.provider, model, key_id, effort].append(call.output_tokens)
    return found


def _keep(conn: Connection, found: Taught, now: datetime) -> None:
    _put(conn, estimate_lines, [_line_row(place, fit, now) for place, fit in sorted(found.lines.items())])
    _put(conn, answer_sizes, [_size_row(whose, *size, now) for whose, size in sorted(found.sizes.items())])
    for table in (estimate_lines, answer_sizes):
        conn.execute(sa.delete(table).where(table.c.learned_at < now - KEPT))


def _line_row(place: Place, fit: Fit, now: datetime) -> dict[str, Any]:
    errors = {"error": fit.error, "high_error": fit.high_error, "bias": fit.bias, "prior_error": fit.prior_error}
    counts = {"calls": fit.calls, "examined": fit.examined}
    return {**place._asdict(), **fit.line._asdict(), **counts, **errors, "learned_at": now}


def _size_row(whose: Whose, sizes: Sizes, calls_: int, now: datetime) -> dict[str, Any]:
    provider, model, key_id, effort = whose
    named = {"provider": provider, "model": model, "key_id": key_id, "effort": effort}
    return {**named, "calls": calls_, "median_tokens": sizes.median, "high_tokens": sizes.high, "learned_at": now}


def _put(conn: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """In the place of what was there by the same key."""
    if not rows:
        return
    statement = insert(conn, table)
    key = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in rows[0] if name not in key}
    conn.execute(statement.on_conflict_do_update(index_elements=key, set_=rest), rows)


def snapshot(conn: Connection, models: Collection[tuple[str, str]] | None = None) -> Snapshot:
    """What is learned: of these models, by provider and name, as far as any of them is concerned; None: of all."""
    lines = conn.execute(_chosen(estimate_lines, sa.select(estimate_lines), models))
    with_keys = sa.select(answer_sizes, keys.c.fingerprint).outerjoin(keys, keys.c.id == answer_sizes.c.key_id)
    sizes = conn.execute(_chosen(answer_sizes, with_keys, models))
    return Snapshot(
        {_place(row): Line(row.fixed, row.per_million) for row in lines},
        {_asker(row): Sizes(row.median_tokens, row.high_tokens) for row in sizes},
    )


def _asker(row: Any) -> Asker:
    return row.provider, row.model, row.fingerprint if row.key_id else "", row.effort


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a place, and since when."""

    place: Place
    fit: Fit
    learned_at: datetime


def known(conn: Connection) -> list[Known]:
    """All that was learned, by provider and model."""
    rows = conn.execute(sa.select(estimate_lines).order_by(*estimate_lines.primary_key))
    return [Known(_place(row), _fit(row), row.learned_at) for row in rows]


def _fit(row: Any) -> Fit:
    line = Line(row.fixed, row.per_million)
    return Fit(line, row.calls, row.examined, row.error, row.high_error, row.bias, row.prior_error)


class Unlearned(NamedTuple):
    """A model of which nothing is learned, and how many of the newest calls would teach."""

    provider: str
    model: str
    calls: int


def unlearned(conn: Connection) -> list[Unlearned]:
    """Models of whose newest calls some would teach, and of which nothing is learned yet.

    Those that never can be are left out: what is billed by no text, and what was called inside other calls alone.
    """
    newest = sa.select(*_READ).order_by(calls.c.id.desc()).limit(MOST_CALLS).subquery()
    teaches = (newest.c.outcome == Outcome.FINISHED, newest.c.usage_source == UsageSource.PROVIDER,
               newest.c.parent_id.is_(None), newest.c.script.is_not(None),
               newest.c.bytes_in > 0, newest.c.input_tokens.is_not(None))  # fmt: skip
    line = estimate_lines
    is_known = sa.exists().where(line.c.provider == newest.c.provider, line.c.model == newest.c.model)
    group = newest.c.provider, newest.c.model, newest.c.endpoint
    counts: Counter[tuple[str, str]] = Counter()
    for provider, model, endpoint, count in conn.execute(
        sa.select(*group, sa.func.count()).where(*teaches, ~is_known, newest.c.model != "").group_by(*group)
    ):
        if is_estimated(endpoint):
            counts[provider, model] += count
    return [Unlearned(*whose, count) for whose, count in sorted(counts.items())]


def _place(row: Any) -> Place:
    return Place(row.provider, row.model, row.endpoint, row.stream, row.script)


def _chosen(table: Table, rows: sa.Select[Any], models: Collection[tuple[str, str]] | None) -> sa.Select[Any]:
    if models is not None:
        named = {model for _, model in models} | {""}
        return rows.where(table.c.provider.in_({provider for provider, _ in models}), table.c.model.in_(named))
    return rows.order_by(table.c.learned_at.desc(), table.c.calls.desc()).limit(MOST_LINES)
