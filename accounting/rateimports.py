"""What an import makes of the rate book: the difference between what a source says now and what it said before.

It touches lines of its own source alone. What somebody else's price list says is not taken where another source's line
is the model's price: see `ratebeside`. What a card or a sheet says is somebody's own word, and stands beside the lines
of other sources as if it was loaded: the newest holds. Nor is a line taken that somebody withdrew, or had end, as long
as the source says the same. History does not move: a price that its source gives no date changes from now on, and lines
that are gone from it end now.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from accounting import ratebook
from accounting.aliases import NO_ALIASES, Aliases
from accounting.errors import RateCardError
from accounting.nearness import near
from accounting.patterns import fits
from accounting.periods import Period
from accounting.pricelists import asks_no_more
from accounting.ratebeside import Others, Room, pieces
from accounting.rates import UNPRICED, Rate
from accounting.ratesources.listing import Listing, Place, place
from accounting.resolution import RateBook
from accounting.store import aliaslines, ratelines
from accounting.store.ratelines import Line


@dataclass(frozen=True, slots=True)
class Change:
    """From an instant on a model costs something else under the conditions of one of the lines.

    The other one may be for more calls, as where the price of large inputs is gone; None is no line for such calls.
    """

    at: datetime
    was: Rate | None
    now: Rate | None

    @property
    def of(self) -> Rate:
        """The line that says the conditions."""
        lines = [line for line in (self.now, self.was) if line is not None]
        return max(lines, key=lambda line: (line.hours is not None, line.context_above))


@dataclass(frozen=True, slots=True)
class Beside:
    """A line of another source beside a model's list."""

    place: Place
    line: Rate


@dataclass(frozen=True, slots=True)
class Refused:
    """A line of the source that is not taken, for somebody withdrew it from the books, or had it end."""

    rate: Rate
    line: Line


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do. `kept` lines stay as they are; `gone` are those that end now, or never begin;
    `beaten` lists are not taken, as a line wins over them. By the `overtaken` lines, patterns and ones of other names,
    a model was priced until now.

    It is done by withdrawing and appending: `withdrawn` are in the books, `appended` are not yet.
    """

    added: tuple[Rate, ...] = ()
    changed: tuple[Change, ...] = ()
    gone: tuple[Rate, ...] = ()
    kept: int = 0
    beaten: tuple[Beside, ...] = ()
    overtaken: tuple[Beside, ...] = ()
    refused: tuple[Refused, ...] = ()
    withdrawn: tuple[Rate, ...] = ()
    appended: tuple[Rate, ...] = ()
    edition: int = 0
    """Of the rate book that it was made for."""

    @property
    def is_nothing(self) -> bool:
        return not self.withdrawn and not self.appended

    def unheard(self, held: Iterable[Rate]) -> list[Rate]:
        """The lines to append with prices that their model had in none of these under such conditions: not those that
        are said anew or only end."""
        said = {_said(line) for line in held}
        return [line for line in self.appended if _said(line) not in said]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which providers and models an import is about: all, or those named; `*` in a name stands for any text."""

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def __contains__(self, there: Place) -> bool:
        provider, model, _ = there
        return _is_named(provider, self.providers) and _is_named(model, self.models)


Progress = Callable[[int, int], None]


def plan(
    held: Iterable[Rate],
    source: Listing,
    now: datetime,
    wanted: Wanted = Wanted(),
    aliases: Aliases = NO_ALIASES,
    told: Progress = lambda _done, _of: None,
    taken_back: Iterable[Line] = (),
) -> Plan:
    """`held` are all lines in force, and those `taken_back` that people withdrew, see `by_people`."""
    mine, others = _apart(held, source)
    ours, theirs = _by_place(mine, wanted), _by_place(source.lines, wanted)
    beside = Others(others, now, aliases)
    left_alone = _Left(source)
    decided = _Decided(taken_back, mine, source)
    made = _Made()
    for done, there in enumerate(sorted({*ours, *theirs})):
        told(done, len(ours) + len(theirs))
        by = beside.winner(there) if source.undated else None
        if by is not None:
            made.beaten += [Beside(there, by)] if there in theirs else []
        elif there in theirs:
            made.refused += decided.refused(theirs[there])
            if taken := decided.taken(theirs[there], now):
                room = _room(beside, there, taken, source)
                made.beaten += [Beside(there, room.until)] if room.until else []
                made.overtaken += _overtaken(beside, there) if there not in ours else []
                _List(ours.get(there, []), room, now, beside.at(there)).compare(made)
            else:
                made.kept += len(ours.get(there, []))
        elif there not in left_alone:
            _end(ours[there], now, made, beside.at(there))
    return made.plan()


def of_books(conn: Connection, source: Listing, now: datetime, wanted: Wanted, told: Progress) -> Plan:
    """What an import would do to the books. Raises `RateCardError` where its lines would contradict others, or where
    there is nothing of a name that is wanted."""
    edition = ratebook.edition(conn)
    aliases = Aliases(aliaslines.read(conn, withdrawn=False))
    lines = ratelines.lines(conn)
    held = [line.rate for line in lines if line.withdrawn_at is None]
    _refuse_unknown(wanted, source, held)
    made = plan(held, source, now, wanted, aliases, told, by_people(lines))
    _refuse_contradictions(held, made)
    return replace(made, edition=edition)


def _refuse_unknown(wanted: Wanted, source: Listing, held: Iterable[Rate]) -> None:
    """Where neither the source has something of that name, nor the books of it."""
    rates = {(rate.provider, rate.model) for rate in (*source.lines, *filter(source.owns, held))}
    known = sorted(rates | {(one.provider, one.model) for one in source.left_out})
    models = [model for provider, model in known if _is_named(provider, wanted.providers)]
    for option, asked, names in (
        ("--provider", wanted.providers, [provider for provider, _ in known]),
        ("--model", wanted.models, models),
    ):
        for one in asked:
            if not any(_is_named(name, [one]) for name in names):
                like = near(one, filter(None, dict.fromkeys(names)))
                hint = f" Near it: {', '.join(like)}." if like else ""
                raise RateCardError(f"{option} {one!r} is none that the source names.{hint} * stands for any text.")


def _refuse_contradictions(held: Iterable[Rate], made: Plan) -> None:
    gone = {rate.id for rate in made.withdrawn}
    RateBook([*(rate for rate in held if rate.id not in gone), *made.appended])


def apply(conn: Connection, made: Plan, now: datetime, by: str, source: str, why: str = "") -> None:
    """Do it, or raise `RateCardError` and do nothing, in the caller's transaction. See `stamps.decide`.

    The plan was checked with the books of its edition. So nothing is checked here, while no call can come in.
    """
    if ratebook.edition(conn) != made.edition:
        raise RateCardError("Somebody else changed the rates meanwhile. Nothing was imported; run it again.")
    reason = f"{_IMPORT}{source}" + (f": {why}" if why else "")
    ratelines.withdraw(conn, [rate.id for rate in made.withdrawn], now, by, reason)
    ratelines.append(conn, made.appended, now, by, reason)
    if not made.is_nothing:
        ratebook.new_edition(conn)


_IMPORT = "Import of "
"""With this a reason begins in the books that an import gave, and not somebody."""


def by_people(lines: Iterable[Line]) -> list[Line]:
    """Of lines in the books those that somebody withdrew, or had end, and not an import."""
    return [line for line in lines if line.withdrawn_at and not (line.withdrawn_why or "").startswith(_IMPORT)]


def _room(beside: Others, there: Place, lines: Sequence[Rate], source: Listing) -> Room:
    if source.undated:
        return beside.room(there, lines, source.always)
    return Room(beside.unsaid(there, lines), source.always)


def _overtaken(beside: Others, there: Place) -> Iterator[Beside]:
    line = beside.before(there)
    if line is not None:
        yield Beside(there, line)


@dataclass(slots=True)
class _Made:
    """A plan in the making."""

    added: list[Rate] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    gone: list[Rate] = field(default_factory=list)
    kept: int = 0
    beaten: list[Beside] = field(default_factory=list)
    overtaken: list[Beside] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    withdrawn: list[Rate] = field(default_factory=list)
    appended: list[Rate] = field(default_factory=list)

    def plan(self) -> Plan:
        return Plan(
            added=tuple(self.added),
            changed=tuple(self.changed),
            gone=tuple(self.gone),
            kept=self.kept,
            beaten=tuple(self.beaten),
            overtaken=tuple(self.overtaken),
            refused=tuple(self.refused),
            withdrawn=tuple(self.withdrawn),
            appended=tuple(self.appended),
        )


class _Left:
    """What a source had to say but no line could: its older lines are not gone from it."""

    def __init__(self, source: Listing) -> None:
        whole = [one for one in source.left_out if not one.name]
        self._models = {(one.provider, one.model) for one in whole if one.service_tier is None}
        self._places = {(one.provider, one.model, one.service_tier) for one in whole}
        names = [one.model for one in whole if not one.provider]
        self._of_any = {*names, *(name.partition("/")[2] for name in names)}

    def __contains__(self, there: Place) -> bool:
        return there in self._places or there[:2] in self._models or there[1] in self._of_any


class _Decided:
    """What people took back of a source's lines. What is in the books again, to the same end, they added again."""

    def __init__(self, taken_back: Iterable[Line], held: Iterable[Rate], source: Listing) -> None:
        self._always = source.always
        self._lines = {key: line for line in taken_back if source.owns(line.rate) for key in _ways(line.rate)}
        self._held = {(key, rate.period.end) for rate in held for key in _ways(rate)}

    def taken(self, lines: Sequence[Rate], now: datetime) -> list[Rate]:
        """Those of a list that nobody took back; none, where that is what all calls would cost now."""
        if any(_is_plain(line) and self._of(line) for line in in_force(lines, now)):
            return []
        return [line for line in lines if not self._of(line)]

    def refused(self, lines: Iterable[Rate]) -> list[Refused]:
        return [Refused(rate, line) for rate in lines if (line := self._of(rate))]

    def _of(self, rate: Rate) -> Line | None:
        """One without a date is the same whenever it came into the books."""
        at_any_time, then = _ways(rate)
        key = at_any_time if rate.valid_from == self._always else then
        return None if (key, rate.period.end) in self._held else self._lines.get(key)


def _ways(rate: Rate) -> tuple[tuple[Rate, datetime | None], tuple[Rate, datetime | None]]:
    """What the line says, whenever it begins and from just then on."""
    said = _said(rate)
    return (said, None), (said, rate.valid_from)


class _List:
    """One model's prices at one service tier: as they are in the books, and as the source has them."""

    def __init__(self, held: list[Rate], wanted: Room, now: datetime, others: list[Rate]) -> None:
        self._held, self._wanted = _steps(held), _steps(wanted.lines)
        self._always, self._now, self._others = wanted.always, now, others
        self._withdrawn: list[Rate] = []
        self._appended: list[Rate] = []

    def compare(self, made: _Made) -> None:
        before = _all(self._held)
        for start, lines in self._wanted.items():
            if start != self._always or not before:
                self._date(start, lines)
        self._withdrawn += [
            line for start, lines in self._held.items() if start > self._now and start not in self._wanted
            for line in lines
        ]  # fmt: skip
        self._hold_now()
        self._cut()
        self._tell(made, before)

    def _date(self, start: datetime, lines: list[Rate]) -> None:
        """What the source says of a day is said so in the books."""
        there = self._held.get(start, [])
        if not _is_said(lines, there, self._now):
            self._withdrawn += there
            self._appended += lines

    def _hold_now(self) -> None:
        """What is undated, or came back, is said from now on."""
        wanted, found = (self._own(lines) for lines in (_all(self._wanted), self._after()))
        if _prices(wanted) == _prices(found):
            return
        if not any(_is_plain(line) for line in wanted):
            self._end_all()
        self._appended += [replace(line, period=Period(self._now, line.period.end)) for line in wanted]

    def _own(self, lines: list[Rate]) -> list[Rate]:
        """Of the lines those in force now: not behind others, as a card's of long ago behind a newer card's."""
        return [line for line in in_force([*lines, *self._others], self._now) if line in lines]

    def _after(self) -> list[Rate]:
        gone = {line.id for line in self._withdrawn}
        return [*(line for line in _all(self._held) if line.id not in gone), *self._appended]

    def _end_all(self) -> None:
        """But those to come: the source says them, too."""
        lines = [line for line in self._after() if line.id != UNPRICED and line.valid_from <= self._now]
        for line, instead in _ended(lines, self._now, self._others):
            self._withdrawn.append(line)
            self._appended += instead

    def _cut(self) -> None:
        """A line that ended ran into one that its source dates back to before: the later one holds from its day on."""
        after = self._after()
        for line in after:
            later = min((one.valid_from for one in after if _follows(one, line)), default=None)
            if line.id != UNPRICED and later is not None and line.period.end is not None and later < line.period.end:
                self._withdrawn.append(line)
                self._appended.append(replace(line, id=UNPRICED, period=Period(line.valid_from, later)))

    def _tell(self, made: _Made, before: list[Rate]) -> None:
        made.withdrawn += self._withdrawn
        made.appended += self._appended
        made.kept += len(before) - len(self._withdrawn)
        if not before:
            made.added += self._appended
            return
        touched = {line.valid_from for line in (*self._withdrawn, *self._appended)}
        ends = {line.period.end for line in self._appended if line.period.end is not None} & {self._now}
        for at in sorted(touched | ends):
            made.changed += _changes(at, in_force(before, at), in_force(self._after(), at))


def _end(held: list[Rate], now: datetime, made: _Made, others: Sequence[Rate]) -> None:
    """The source has the list no more."""
    made.gone += [*in_force(held, now), *(line for line in held if line.valid_from > now)]
    ending = list(_ended(held, now, others))
    made.withdrawn += [line for line, _ in ending]
    made.appended += [rate for _, instead in ending for rate in instead]
    made.kept += len(held) - len(ending)


def _ended(lines: Sequence[Rate], now: datetime, others: Sequence[Rate]) -> Iterator[tuple[Rate, list[Rate]]]:
    """Those that could hold from now on, each with what ends instead; nothing where it had not begun."""
    for line in lines:
        if not _is_over(line, now):
            end = min([now, *(one.valid_from for one in lines if _follows(one, line))])
            yield line, pieces(line, end, others)


def _follows(one: Rate, line: Rate) -> bool:
    return _conditions(one) == _conditions(line) and one.valid_from > line.valid_from


def in_force(lines: Iterable[Rate], at: datetime) -> list[Rate]:
    """Of one list those by which a call may be priced that begins then: older ones behind a line for all are not."""
    found: dict[Any, Rate] = {}
    for line in sorted(lines, key=lambda line: line.valid_from, reverse=True):
        if any(_is_plain(one) and one.valid_from > line.valid_from for one in found.values()):
            break
        if at in line.period:
            found.setdefault(_conditions(line), line)
    return list(found.values())


def _changes(at: datetime, before: Iterable[Rate], after: Iterable[Rate]) -> Iterator[Change]:
    was, now = ({_conditions(line): line for line in lines} for lines in (before, after))
    for conditions, line in {**was, **now}.items():
        old, new = (lines.get(conditions) or _for_more(line, lines.values()) for lines in (was, now))
        if old is None or new is None or _said(old) != _said(new):
            yield Change(at, old, new)


def _for_more(line: Rate, lines: Iterable[Rate]) -> Rate | None:
    """What calls that meet the line's conditions cost where there is none for just these."""
    found = (one for one in lines if asks_no_more(one, line))
    return max(found, key=lambda one: (one.valid_from, one.hours is not None, one.context_above), default=None)


def _is_plain(line: Rate) -> bool:
    return not line.context_above and line.hours is None


def _conditions(line: Rate) -> tuple[Any, ...]:
    return line.context_above, line.hours


def _said(line: Rate, end: datetime | None = None) -> Rate:
    """The line without when it holds and where it is from; its end, if that matters."""
    return replace(line, id=UNPRICED, source="", period=Period(_EPOCH, end))


_EPOCH = datetime.fromisoformat("1970-01-01T00:00Z")


def _prices(lines: Iterable[Rate]) -> set[Rate]:
    return {_said(line, line.period.end) for line in lines}


def _is_said(lines: Iterable[Rate], there: Iterable[Rate], now: datetime) -> bool:
    """Whether the lines of a day are there. One that ended since is: it was gone from its source for a while."""
    open_again = [
        replace(line, period=Period(line.valid_from, None)) if _is_over(line, now) else line for line in there
    ]
    return _prices(lines) in (_prices(there), _prices(open_again))


def _is_over(line: Rate, now: datetime) -> bool:
    return line.period.end is not None and line.period.end <= now


def _steps(lines: Iterable[Rate]) -> dict[datetime, list[Rate]]:
    found: dict[datetime, list[Rate]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: line.valid_from):
        found[line.valid_from].append(line)
    return dict(found)


def _all(steps: Mapping[datetime, list[Rate]]) -> list[Rate]:
    return [line for lines in steps.values() for line in lines]


def _apart(held: Iterable[Rate], source: Listing) -> tuple[list[Rate], list[Rate]]:
    mine: list[Rate] = []
    others: list[Rate] = []
    for rate in held:
        (mine if source.owns(rate) else others).append(rate)
    return mine, others


def _by_place(lines: Iterable[Rate], wanted: Wanted) -> dict[Place, list[Rate]]:
    found: dict[Place, list[Rate]] = defaultdict(list)
    for line in lines:
        if (there := place(line)) in wanted:
            found[there].append(line)
    return dict(found)


def _is_named(name: str, names: Sequence[str]) -> bool:
    return not names or any(name == one or fits(one, name) for one in names)
