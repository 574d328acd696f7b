"""What budgets should say of calls: written down beside the books, by common fractions, and added up anew each time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from accounting.aliases import Aliases, Rule
from accounting.cycles import Cycle, Every
from accounting.decisions import Mode, Why
from accounting.patterns import fits
from accounting.periods import EARLIEST
from accounting.rates import Rate
from accounting.scopes import Kind, Scope
from accounting.usage import Call, Outcome, UsageSource
from tests.books import at
from tests.expectations import Booked
from tests.rulings import Asked, winners

BOOKS_AHEAD = timedelta(hours=8)
"""The books are kept in Asia/Shanghai."""

SUMMER = at("2026-03-08 07:00"), at("2026-11-01 06:00")
"""From when to when clocks in New York are an hour ahead of what they are in winter."""

UNASSIGNED = "unassigned"
ANEW = " (new)"
"""What a project is called besides, once it was renamed; here it keeps the name that it had at first."""

RESERVED, HELD = "reserved", "held"
_KNOWN = {Outcome.UNKNOWN: 0, Outcome.INTERRUPTED: 1, Outcome.FAILED: 2, Outcome.FINISHED: 2}


def new_york(instant: datetime) -> timedelta:
    """How far its clocks are ahead of UTC."""
    return timedelta(hours=-4 if SUMMER[0] <= instant < SUMMER[1] else -5)


class Place(NamedTuple):
    """A budget's period, by the day it begins on."""

    cap: int
    first: date


@dataclass(frozen=True)
class Cap:
    """A budget as it should be. `edits` are other limits that it got, each with the day it was then by its days."""

    id: int
    name: str
    scope: Scope
    currency: str
    cycle: Cycle
    limit: Decimal
    mode: Mode
    fx: Mapping[str, Decimal]
    counted_from: date
    is_paused: bool = False
    first_limit: Decimal | None = None
    edits: tuple[tuple[date, Decimal], ...] = ()

    @property
    def is_binding(self) -> bool:
        return self.mode is not Mode.SOFT and not self.is_paused

    def place(self, day: date) -> Place | None:
        return None if day < self.counted_from else Place(self.id, first_day(self.cycle, day))

    def limit_of(self, first: date) -> Decimal:
        """Of the period that begins on that day, which a limit is not for that was set when it was over."""
        limit, end = self.limit if self.first_limit is None else self.first_limit, end_day(self.cycle, first)
        for today, edited in self.edits:
            limit = limit if end is not None and end <= today else edited
        return limit

    def edited(self, limit: Decimal, today: date) -> "Cap":
        first = self.limit if self.first_limit is None else self.first_limit
        return replace(self, limit=limit, first_limit=first, edits=(*self.edits, (today, limit)))

    def converted(self, amount: Fraction | None, currency: str) -> Fraction | None:
        if amount is None or currency == self.currency:
            return amount
        return amount * Fraction(self.fx[currency]) if currency in self.fx else None


@dataclass(frozen=True)
class Posted:
    """A call as the books should have it."""

    call: Call
    project: str
    source: str
    rate: Rate | None

    @property
    def cost(self) -> Fraction | None:
        return Booked(self.call, self.project, self.rate, is_served_unpriced=False).cost

    @property
    def counts(self) -> int:
        """Whether it is among the calls that are counted."""
        return int(self.call.outcome != Outcome.FAILED or self.call.parent_id is not None)

    @property
    def is_free(self) -> bool:
        status = self.call.http_status
        return self.call.outcome == Outcome.FAILED and (status is None or status // 100 != 2)

    def costs(self, cap: Cap) -> Fraction | None:
        """In the currency of the budget; None where nobody knows."""
        return None if self.rate is None else cap.converted(self.cost, self.rate.currency)


@dataclass
class Sums:
    """What a period holds."""

    spent: Fraction = Fraction()
    reserved: Fraction = Fraction()
    held: Fraction = Fraction()
    overrun: Fraction = Fraction()
    unpriced: int = 0
    foreign_calls: int = 0

    @property
    def used(self) -> Fraction:
        return self.spent + self.reserved + self.held


@dataclass(frozen=True)
class Aside:
    """What is set aside for a call in a period, and whether its lease is over."""

    amount: Fraction
    state: str
    is_over: bool


class Tokens(NamedTuple):
    """What a call may use: likely, and at most, where anything bounds that."""

    likely: tuple[int, int]
    most: tuple[int, int] | None


class Said(NamedTuple):
    """What is to be decided about a call: why it is refused, by which budget, and for which amount, where one is
    known."""

    why: Why | None
    cap: str = ""
    asked: Fraction | None = None


GRANTED = Said(None)


@dataclass
class Ledger:
    """All that decides, and what was decided. `payers` say since when which project pays for what a key calls."""

    caps: dict[int, Cap] = field(default_factory=dict)
    posted: dict[UUID, Posted] = field(default_factory=dict)
    aside: dict[tuple[UUID, Place], Aside] = field(default_factory=dict)
    overrun: dict[Place, Fraction] = field(default_factory=dict)
    lines: dict[int, Rate] = field(default_factory=dict)
    aliases: dict[int, Rule] = field(default_factory=dict)
    payers: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)
    projects: dict[int, str] = field(default_factory=dict)
    """Names, by their ids in the books."""
    keys: dict[int, str] = field(default_factory=dict)
    """Fingerprints, likewise."""

    def day(self, project: str, instant: datetime) -> date:
        ahead = new_york(instant) if project == "ny" else BOOKS_AHEAD
        return (instant + ahead).date()

    def sums(self) -> dict[Place, Sums]:
        """What all periods hold, as far as it is anything."""
        found: dict[Place, Sums] = {}
        for one in self.posted.values():
            for cap, place in self._places(one.call, one.project, one.call.model):
                _count(found.setdefault(place, Sums()), cap, one)
        for (_, place), aside in self.aside.items():
            sums = found.setdefault(place, Sums())
            setattr(sums, aside.state, getattr(sums, aside.state) + aside.amount)
        for place, amount in self.overrun.items():
            found.setdefault(place, Sums()).overrun = amount
        return found

    def spent(self) -> dict[tuple[str, str], Fraction]:
        """By name and currency of the budgets."""
        found: dict[tuple[str, str], Fraction] = {}
        for place, sums in self.sums().items():
            cap = self.caps[place.cap]
            whose = cap.name, cap.currency
            found[whose] = found.get(whose, Fraction()) + sums.spent
        return found

    def post(self, call: Call) -> None:
        """The call comes in, or comes in again: what is known best, and first, stays."""
        before = self.posted.get(call.id)
        if before is None or _KNOWN[_outcome(call)] > _KNOWN[_outcome(before.call)]:
            self.change(self.stamped(call))

    def change(self, after: Posted) -> None:
        """The call says this now; what is set aside for it ends, or is held."""
        before = self.posted.get(after.call.id)
        if before == after:
            return
        self.posted[after.call.id] = after
        for key in [key for key in self.aside if key[0] == after.call.id]:
            self._settle(key, before.costs(self.caps[key[1].cap]) if before else None, after)

    def exchange(self, cap: Cap) -> None:
        """The budget has other exchange rates now: what some calls cost is known, of which it was not."""
        before, self.caps[cap.id] = self.caps[cap.id], cap
        its = {key: self.posted[key[0]] for key in self.aside if key[1].cap == cap.id and key[0] in self.posted}
        for key, one in its.items():
            if one.costs(before) != one.costs(cap):
                self._settle(key, one.costs(before), one)

    def _settle(self, key: tuple[UUID, Place], was: Fraction | None, after: Posted) -> None:
        """`was` is what was known before of what the call costs."""
        aside, cap = self.aside.pop(key), self.caps[key[1].cap]
        if after.is_free:
            return
        now = after.costs(cap)
        rest = aside.amount - (now or 0) + (was or 0)
        if rest < 0:
            self.overrun[key[1]] = self.overrun.get(key[1], Fraction()) - rest
        is_known = after.call.usage.source is UsageSource.PROVIDER and now is not None
        if rest > 0 and not is_known:
            self.aside[key] = Aside(rest, HELD, is_over=True)

    def stamped(self, call: Call) -> Posted:
        """As it would come in now."""
        return self.priced(Posted(call, *self.payer(call), None))

    def priced(self, one: Posted) -> Posted:
        """By the rates as they are now."""
        call = one.call
        return replace(one, rate=self._rate(call, call.model, call.usage.input_tokens or 0))

    def payer(self, call: Call) -> tuple[str, str]:
        """Who pays, and by whose word."""
        if call.project:
            return call.project.removesuffix(ANEW), "meter"
        return self._by_key(call.key_fingerprint, call.started_at)

    def followed(self, one: Posted) -> Posted:
        """As it is once it follows its key."""
        project, source = self._by_key(one.call.key_fingerprint, one.call.started_at)
        return replace(one, project=project, source=source)

    def _by_key(self, key: str, instant: datetime) -> tuple[str, str]:
        turns = [project for since, project in sorted(self.payers.get(key, ())) if since <= instant]
        return (turns[-1], "key") if turns and turns[-1] != UNASSIGNED else (UNASSIGNED, "default")

    def assign(self, key: str, project: str, since: datetime, now: datetime) -> None:
        kept = [turn for turn in self.payers.get(key, ()) if not since <= turn[0] <= max(since, now)]
        self.payers[key] = [*kept, (since, project)]

    def ask(self, asks: Sequence[tuple[Call, Tokens]], *, is_over: bool) -> list[Said]:
        """What is to be decided, one after the other; what is granted is set aside."""
        sums, said = self.sums(), []
        for call, tokens in asks:
            wanted = [(cap, place, *self._wanted(cap, call, tokens)) for cap, place in self._binding(call)]
            found = _refused(wanted, sums)
            if found is GRANTED:
                for _, place, _, amount in wanted:
                    self.aside[call.id, place] = Aside(amount, RESERVED, is_over)
                    sums.setdefault(place, Sums()).reserved += amount
            said.append(found)
        return said

    def _binding(self, call: Call) -> Iterator[tuple[Cap, Place]]:
        """One that is in force from some day on binds calls of the days before as well: their clock may be slow."""
        project, _ = self.payer(call)
        model, day = call.request_model or "", self.day(project, call.started_at)
        for id_ in sorted(self.caps):
            cap = self.caps[id_]
            place = cap.place(day if cap.cycle.since == cap.counted_from else max(day, cap.counted_from))
            covers = self._covers(cap.scope, call, project, model) or self._may_answer(cap.scope, call.provider, model)
            if cap.is_binding and place is not None and covers:
                yield cap, place

    def _may_answer(self, scope: Scope, provider: str, model: str) -> bool:
        """Whether the model that the budget names goes by the name that is asked for."""
        return scope.kind is Kind.MODEL and model in self._names(provider, scope.name)

    def _wanted(self, cap: Cap, call: Call, tokens: Tokens) -> tuple[Why | None, Fraction]:
        model = call.request_model or ""
        rate = self._rate(call, model, tokens.likely[0])
        if rate is None:
            return Why.UNPRICED, Fraction()
        if cap.mode is Mode.HARD:
            return _in(cap, [(_at(tokens.likely, rate.input_per_1k, rate.output_per_1k), rate.currency)])
        if tokens.most is None:
            return Why.UNBOUNDED, Fraction()
        may_be = (self._rate(call, model, count) for count in range(tokens.most[0] + 1))
        return _in(cap, [(_most(tokens.most, each), each.currency) for each in may_be if each is not None])

    def release(self, ids: set[UUID]) -> int:
        """For how many calls anything was set aside."""
        gone = [key for key in self.aside if key[0] in ids]
        for key in gone:
            del self.aside[key]
        return len({call for call, _ in gone})

    def release_held(self, cap: Cap) -> int:
        gone = [key for key, one in self.aside.items() if key[1].cap == cap.id and one.state == HELD]
        for key in gone:
            del self.aside[key]
        return len(gone)

    def lapse(self) -> int:
        due = [key for key, one in self.aside.items() if one.state == RESERVED and one.is_over]
        for key in due:
            if key[0] in self.posted:
                one = self.posted[key[0]]
                self._settle(key, one.costs(self.caps[key[1].cap]), one)
            else:
                self.aside[key] = replace(self.aside[key], state=HELD)
        return len({call for call, _ in due})

    def remove(self, cap: Cap) -> None:
        del self.caps[cap.id]
        self.aside = {key: one for key, one in self.aside.items() if key[1].cap != cap.id}
        self.overrun = {place: amount for place, amount in self.overrun.items() if place.cap != cap.id}

    def _places(self, call: Call, project: str, model: str) -> Iterator[tuple[Cap, Place]]:
        """The budgets that cover the call, and the period of its day in each."""
        day = self.day(project, call.started_at)
        for id_ in sorted(self.caps):
            cap = self.caps[id_]
            place = cap.place(day)
            if place is not None and self._covers(cap.scope, call, project, model):
                yield cap, place

    def _covers(self, scope: Scope, call: Call, project: str, model: str) -> bool:
        match scope.kind:
            case Kind.ALL:
                return True
            case Kind.PROJECT:
                return self.projects[scope.id] == project
            case Kind.KEY:
                return self.keys[scope.id] == call.key_fingerprint
            case Kind.MODEL:
                return any(fits(scope.name, name) for name in self._names(call.provider, model))
            case Kind.PROVIDER:
                return scope.name == call.provider
            case Kind.USER:
                return scope.name == call.user
            case Kind.TAG:
                return (scope.name, scope.value) in call.tags.items()

    def _names(self, provider: str, model: str) -> list[str]:
        return [model, *(name for name, _ in Aliases(self.aliases.values()).names(provider, model))]

    def _rate(self, call: Call, model: str, tokens: int) -> Rate | None:
        lines = [line for line in self.lines.values() if line.provider == call.provider]
        rules = Aliases([rule for rule in self.aliases.values() if call.provider == "p"])
        found = winners(lines, Asked(model, call.started_at, tokens, ""), rules)
        assert len(found) <= 1
        return found[0] if found else None


Wanted = tuple[Cap, Place, Why | None, Fraction]


def _refused(wanted: Sequence[Wanted], sums: Mapping[Place, Sums]) -> Said:
    for cap, _, why, _ in wanted:
        if why is not None:
            return Said(why, cap.name)
    for cap, place, _, amount in wanted:
        limit = Fraction(cap.limit_of(place.first))
        if sums.get(place, Sums()).used + amount > limit:
            return Said(Why.OVER, cap.name, amount)
    return GRANTED


def _in(cap: Cap, costs: Sequence[tuple[Fraction, str]]) -> tuple[Why | None, Fraction]:
    """The highest, in the currency of the budget."""
    amounts = [cap.converted(*cost) for cost in costs]
    known = [amount for amount in amounts if amount is not None]
    return (None, max(known)) if len(known) == len(amounts) else (Why.CURRENCY, Fraction())


def _most(most: tuple[int, int], rate: Rate) -> Fraction:
    """Where each token is of the kind that costs most."""
    into = max(price for price in (rate.input_per_1k, rate.cache_read_per_1k) if price is not None)
    out = max(price for price in (rate.output_per_1k, rate.reasoning_per_1k) if price is not None)
    return _at(most, into, out)


def _at(tokens: tuple[int, int], into: Decimal, out: Decimal) -> Fraction:
    return (tokens[0] * Fraction(into) + tokens[1] * Fraction(out)) / 1000


def _count(sums: Sums, cap: Cap, one: Posted) -> None:
    cost = one.costs(cap)
    if one.rate is None:
        sums.unpriced += one.counts
    elif cost is None:
        sums.foreign_calls += one.counts
    else:
        sums.spent += cost


def _outcome(call: Call) -> Outcome:
    return call.outcome or Outcome.UNKNOWN


def first_day(cycle: Cycle, day: date) -> date:
    """The day that the period began with, looked for day by day."""
    if cycle.every is Every.TOTAL:
        return cycle.since or EARLIEST
    while not _begins(cycle, day):
        day -= timedelta(days=1)
    return day


def end_day(cycle: Cycle, first: date) -> date | None:
    """The first day of the next period, looked for likewise."""
    if cycle.every is Every.TOTAL:
        return None
    day = first + timedelta(days=1)
    while not _begins(cycle, day):
        day += timedelta(days=1)
    return day


def _begins(cycle: Cycle, day: date) -> bool:
    match cycle.every:
        case Every.WEEK:
            return day.strftime("%a") == "Mon"
        case Every.MONTH:
            return day.day == 1
        case Every.QUARTER:
            return day.day == 1 and day.month in (1, 4, 7, 10)
        case Every.YEAR:
            return (day.month, day.day) == (1, 1)
        case Every.DAYS:
            return (day - (cycle.since or EARLIEST)).days % cycle.days == 0
        case _:
            return True
