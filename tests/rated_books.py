"""Books whose rate book changes all the time, held after every step against what is written down here beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import product
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounting import aliasbook, ratebook, rerating, stamps
from accounting.aliases import Aliases, Rule
from accounting.differences import Repaired
from accounting.errors import RateCardError
from accounting.hours import hours
from accounting.money import Money
from accounting.periods import Period
from accounting.rates import ANY_TIER, STANDARD, Rate
from accounting.rebuild import rebuild
from accounting.rerating import Which
from accounting.resolution import is_for
from accounting.restate import Order, apply, begin
from accounting.rollup import roll
from accounting.store import reading, schema, writing
from accounting.store.tables import calls, projects, rates, spend_days, spend_quarters, store
from accounting.usage import Call, Outcome, Usage
from accounting.verify import verify
from tests.books import NOON, Books, at, made, used
from tests.expectations import Booked, added, stored
from tests.rulings import Asked, winners
from tests.spending import emptied, rolled_anew, spending

MICROSECOND = timedelta(microseconds=1)
BORDERS = tuple(map(at, ("2026-11-20 15:30", "2026-11-20 16:00", "2026-11-20 16:10:00.000001", "2026-11-21 15:30")))
"""A line may begin and end at these: one is a midnight of the books, one no whole second; the first is a Friday."""

INSTANTS = tuple(border + step for border in BORDERS for step in (-MICROSECOND, timedelta(0), timedelta(minutes=20)))
HOURS = (hours("15:00-15:45 UTC"), hours("fri 23:45-00:10 Asia/Shanghai"))
MODELS = ("ab", "x!ab", "ba", "b", "zz")
RULES = (Rule("p", "x!{model}", "{model}"), Rule("p", "ba", "ab"), Rule("p", "zz", "b"), Rule("p", "x!ab", ""))
INPUTS = (0, 10, 11, 21)
SERVED = {None: STANDARD, "default": STANDARD, "batch": "batch", "Flex": "flex"}
"""What a provider says, and the tier that it means."""

PROJECTS = ("checkout", "search")
WHO = "ann@desk"

prices = st.decimals(0, 9, places=9)


@st.composite
def lines(draw: st.DrawFn) -> Rate:
    start = draw(st.sampled_from(BORDERS[:-1]))
    return Rate(
        provider="p",
        model=draw(st.sampled_from(("ab", "ab", "b", "ba", "a*", "*b"))),
        currency=draw(st.sampled_from(("USD", "USD", "CNY"))),
        period=Period(start, draw(st.sampled_from((None, None, *(each for each in BORDERS if each > start))))),
        service_tier=draw(st.sampled_from((STANDARD, STANDARD, "batch", ANY_TIER))),
        context_above=draw(st.sampled_from((0, 0, 10, 20))),
        hours=draw(st.sampled_from((None, None, *HOURS))),
        input_per_1k=draw(prices),
        cache_read_per_1k=draw(st.none() | prices),
        output_per_1k=draw(prices),
        reasoning_per_1k=draw(st.none() | prices),
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens_in, tokens_out = draw(st.sampled_from(INPUTS)), draw(st.integers(0, 30))
    read, thought = draw(st.integers(0, tokens_in)), draw(st.none() | st.integers(0, tokens_out))
    said = used(tokens_in, tokens_out, read=read, thought=thought)
    stated = said._replace(provider_cost=Money(draw(prices), draw(st.sampled_from(("USD", "CNY")))))
    return draw(st.sampled_from((said, said, stated, Usage())))


some_calls = st.lists(
    st.builds(
        made,
        st.sampled_from(INSTANTS),
        provider=st.just("p"),
        request_model=st.sampled_from(MODELS),
        service_tier=st.sampled_from(tuple(SERVED)),
        project=st.sampled_from(PROJECTS),
        outcome=st.sampled_from((Outcome.FINISHED, Outcome.FINISHED, Outcome.FAILED)),
        tags=st.sampled_from(({}, {"feature": "rerank"})),
        usage=usages(),
    ),
    min_size=2,
    max_size=8,
)
places = st.integers(0, 20)
"""Which of what there is, as often as it takes round and round."""


def clock() -> datetime:
    return NOON


class RatedBooks(RuleBasedStateMachine):
    """Calls come in, early and late, while lines and aliases come and go and calls are priced again."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.booked: dict[UUID, Booked] = {}
        self.lines: dict[int, Rate] = {}
        self.aliases: dict[int, Rule] = {}
        self.edition = 0

    @initialize(some=st.lists(lines(), min_size=2, max_size=6), first=some_calls, is_rolled=st.booleans())
    def begin_with(self, some: list[Rate], first: list[Call], is_rolled: bool) -> None:
        emptied(self.books)
        with writing(self.books.engine) as conn:
            conn.execute(rates.delete().where(rates.c.provider == "p"))
        self.edition = self._edition()
        for line in some:
            self.load([line])
        self.deliver(first)
        if is_rolled:
            self.books.roll()

    @rule(some=some_calls)
    def deliver(self, some: list[Call]) -> None:
        for number, call in enumerate(some, len(self.booked) + 1):
            self._take(replace(call, id=made(call.started_at, number).id))
        self.books.deliver(*(one.call for one in list(self.booked.values())[-len(some) :]))

    def _take(self, call: Call) -> None:
        self.booked[call.id] = self._priced(Booked(call, str(call.project), None, is_served_unpriced=False))

    @precondition(lambda self: self.booked)
    @rule(place=places)
    def deliver_again(self, place: int) -> None:
        self.books.deliver(_round(list(self.booked.values()), place).call)

    @rule(some=st.lists(lines(), min_size=1, max_size=2))
    def load(self, some: list[Rate]) -> None:
        with writing(self.books.engine) as conn:
            try:
                loaded = ratebook.load(conn, some, NOON, WHO)
            except RateCardError:
                conn.rollback()
                return
        self.lines |= {line.id: line for line in loaded.lines}
        self._changed(bool(loaded.added))

    @precondition(lambda self: self.lines)
    @rule(place=places, number=st.integers(1, 2))
    def withdraw(self, place: int, number: int) -> None:
        ids = sorted({_round(sorted(self.lines), place + step) for step in range(number)})
        stamps.decide(self.books.engine, lambda conn: ratebook.withdraw(conn, ids, NOON, WHO, "wrong"))
        for id_ in ids:
            del self.lines[id_]
        self._changed()

    @precondition(lambda self: self.lines)
    @rule(place=places, when=st.sampled_from(BORDERS))
    def end(self, place: int, when: datetime) -> None:
        id_ = _round(sorted(self.lines), place)
        try:
            ended = stamps.decide(self.books.engine, lambda conn: ratebook.end(conn, id_, when, NOON, WHO, "over"))
        except RateCardError:
            return
        self.lines[ended.id] = replace(self.lines.pop(id_), id=ended.id, period=ended.period)
        assert ended.period.end == when
        self._changed()

    @rule(rule=st.sampled_from(RULES))
    def name(self, rule: Rule) -> None:
        added = stamps.decide(self.books.engine, lambda conn: aliasbook.add(conn, rule, NOON, WHO))
        if added is not None:
            self.aliases[added.id] = added
        self._changed(added is not None)

    @precondition(lambda self: self.aliases)
    @rule(place=places)
    def name_no_more(self, place: int) -> None:
        id_ = _round(sorted(self.aliases), place)
        stamps.decide(self.books.engine, lambda conn: aliasbook.withdraw(conn, [id_], NOON, WHO, "another model"))
        del self.aliases[id_]
        self._changed()

    @precondition(lambda self: self.booked)
    @rule(model=st.sampled_from((None, *MODELS)), unpriced=st.booleans())
    def rerate(self, model: str | None, unpriced: bool) -> None:
        which = Which(provider="p", model=model, unpriced_only=unpriced)
        rerating.rerate(self.books.engine, which, clock, WHO, "a test")
        self._rerated(model, unpriced)

    @rule()
    def price_arrivals(self) -> None:
        """The job: it looks at nothing where no rate has come since, as then there is nothing to price."""
        rerating.price_arrivals(self.books.engine, clock, WHO)
        self._rerated(None, unpriced=True)

    def _rerated(self, model: str | None, unpriced: bool) -> None:
        for id_, one in self.booked.items():
            if model in (None, *self._names(one.call.model)) and (not unpriced or self._may_have_a_rate(one)):
                self.booked[id_] = self._priced(one)

    def _may_have_a_rate(self, one: Booked) -> bool:
        """Of calls without one only those are looked at that began between the first and the last of its lines."""
        names, at = self._names(one.call.model), one.call.started_at
        some = [line for line in self.lines.values() if is_for(line, names)]
        is_after = any(line.valid_from <= at for line in some)
        is_before = any(line.period.end is None or at < line.period.end for line in some)
        return one.rate is None and is_after and is_before

    @precondition(lambda self: self.booked)
    @rule(place=places, to=st.sampled_from(PROJECTS))
    def move(self, place: int, to: str) -> None:
        moved = {_round(list(self.booked), place), _round(list(self.booked), place + 1)}
        self._move(moved, to)

    @precondition(lambda self: self.booked)
    @rule(line=lines())
    def there_and_back(self, line: Rate) -> None:
        """A line comes, and goes again: what was priced anew each time is as it was."""
        self.rerate(None, unpriced=False)
        before, rows = spending(self.books), self._rows()
        held = set(self.lines)
        self.load([line])
        self.rerate(None, unpriced=False)
        for id_ in {*self.lines} - held:
            self.withdraw(sorted(self.lines).index(id_), 1)
        self.rerate(None, unpriced=False)
        assert (spending(self.books), self._rows()) == (before, rows)

    @rule(limit=st.integers(1, 2))
    def roll(self, limit: int) -> None:
        roll(self.books.engine, NOON, limit)

    @rule()
    def rebuild(self) -> None:
        assert {*rebuild(self.books.engine).tables.values()} <= {Repaired()}

    @rule()
    def upgrade(self) -> None:
        """As often as somebody likes: what has the newest schema stays as it is."""
        assert schema.upgrade(self.books.engine) == schema.HEAD

    @invariant()
    def every_call_has_its_rate(self) -> None:
        with reading(self.books.engine) as conn:
            named = sa.select(calls.c.id, calls.c.rate_id, projects.c.name, calls.c.anomalies).join(
                projects, projects.c.id == calls.c.project_id
            )
            found = {row.id: tuple(row)[1:] for row in conn.execute(named)}
        assert found == {
            id_: (one.rate_id, one.project, ["unpriced_service_tier"] if one.is_served_unpriced else [])
            for id_, one in self.booked.items()
        }

    @invariant()
    def the_edition_is_known(self) -> None:
        assert self._edition() == self.edition

    def teardown(self) -> None:
        if self.edition:
            self.every_call_has_one_rate_or_none()
            self.views_say_what_each_call_cost()
            self.books.roll()
            assert verify(self.books.engine).differences == ()
            self.sums_are_those_of_the_calls()
            assert spending(self.books) == rolled_anew(self.books)

    def every_call_has_one_rate_or_none(self) -> None:
        """Whenever it begins, whatever serves it, however much it is asked."""
        with reading(self.books.engine) as conn:
            book = ratebook.book(conn)
        for asked in (Asked(*one) for one in product(MODELS, INSTANTS, INPUTS, sorted({*SERVED.values()}))):
            found = book.find("p", *asked)
            assert winners(self.lines.values(), asked, self._aliases()) == [*filter(None, [found])]

    def views_say_what_each_call_cost(self) -> None:
        with reading(self.books.engine) as conn:
            found = conn.exec_driver_sql("SELECT id, cost FROM calls_named").all()
        costs = {UUID(f"{id_}"): None if cost is None else Fraction(cost) for id_, cost in found}
        is_known = {id_: one.call.usage != Usage() or one.call.outcome == "failed" for id_, one in self.booked.items()}
        assert costs == {id_: one.cost if is_known[id_] else None for id_, one in self.booked.items()}

    def sums_are_those_of_the_calls(self) -> None:
        expected = added(self.booked.values())
        with reading(self.books.engine) as conn:
            names = {row.id: row.name for row in conn.execute(sa.select(projects))}
        for table in (spend_days, spend_quarters):
            assert stored(self.books.rows(table), names) == expected
        spent = self.books.spend("model").total.spent
        assert {code: Fraction(amount) for code, amount in spent.items() if amount} == self._spent()

    def _spent(self) -> dict[str, Fraction]:
        found: dict[str, Fraction] = {}
        for one in self.booked.values():
            if one.rate is not None and one.cost:
                found[one.rate.currency] = found.get(one.rate.currency, Fraction()) + one.cost
        return found

    def _priced(self, one: Booked) -> Booked:
        rate = self._rate(one.call, SERVED[one.call.service_tier])
        usual = rate is None and SERVED[one.call.service_tier] != STANDARD and self._rate(one.call, STANDARD)
        return replace(one, rate=rate, is_served_unpriced=bool(usual))

    def _rate(self, call: Call, tier: str) -> Rate | None:
        asked = Asked(call.model, call.started_at, call.usage.input_tokens or 0, tier)
        found = winners(self.lines.values(), asked, self._aliases())
        assert len(found) <= 1
        return found[0] if found else None

    def _names(self, model: str) -> list[str]:
        return [model, *(name for name, _ in self._aliases().names("p", model))]

    def _aliases(self) -> Aliases:
        return Aliases(self.aliases.values())

    def _move(self, ids: Iterable[UUID], to: str) -> None:
        with reading(self.books.engine) as conn:
            project = conn.scalar(sa.select(projects.c.id).where(projects.c.name == to))
        if project is None:
            return
        order, said = Order("project-moved", {"to": to}, WHO, "a test"), {"project_id": project}
        with writing(self.books.engine) as conn:
            apply(conn, begin(conn, order, NOON), dict.fromkeys(ids, said))
        self.booked |= {id_: replace(self.booked[id_], project=to) for id_ in ids}

    def _rows(self) -> dict[UUID, dict[str, Any]]:
        return {row["id"]: row for row in self.books.rows(calls)}

    def _edition(self) -> int:
        return int(self.books.rows(store)[0]["rates_edition"])

    def _changed(self, really: bool = True) -> None:
        """Whoever priced by the former rates must be able to tell."""
        edition = self._edition()
        assert edition > self.edition if really else edition == self.edition
        self.edition = edition


def _round(some: Sequence[Any], place: int) -> Any:
    return some[place % len(some)]
