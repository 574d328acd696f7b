"""What is shown of budgets: in a list, one by one, and what became of them."""

import shlex
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from rich.console import Console

from accounting.budget_figures import Figures, Standing
from accounting.budgetperiods import Period
from accounting.budgets import Budget, Change, Fields
from accounting.cycles import Every
from accounting.decisions import Mode, WhenAway
from accounting.forecast import HORIZON, LOOKED_BACK, Forecast, Pace
from accounting.money import EXACT, ZERO, plain
from accounting.reservations import Aside
from accounting.scopes import Kind
from accounting.settling import HELD
from accounting.sheets import Cell, Column, Sheet, amount, counted, instant, printable, say, show

_DAY = timedelta(days=1)

SHOWN = 20
"""So many calls are named of which the cost is held; JSON has all."""

_BARS = "▁▂▃▄▅▆▇█"

_LIST = (
    Column("budget", figure=False),
    Column("on", figure=False, spare=1),
    Column("every", figure=False, spare=2),
    Column("limit"),
    Column("spent"),
    Column("set aside", spare=5),
    Column("left"),
    Column("currency", figure=False, spare=3),
    Column("used percent", spare=6),
    Column("mode", figure=False, spare=4),
    Column("ends", figure=False, spare=7),
    Column("not counted", figure=False, spare=8),
)
_HELD = (Column("call", figure=False), Column("since", figure=False), Column("held"))
_PERIODS = (
    Column("from", figure=False),
    Column("to", figure=False),
    Column("limit"),
    Column("spent"),
    Column("overrun", spare=1),
    Column("reserved", spare=3),
    Column("held", spare=2),
    Column("unpriced calls", spare=4),
    Column("foreign calls", spare=4),
)
_CHANGES = (
    Column("when", figure=False),
    Column("who", figure=False),
    Column("what", figure=False),
    Column("change", figure=False),
    Column("why", figure=False),
)


def list_sheet(standings: Sequence[Standing]) -> Sheet:
    """A line for each budget, in its running period."""
    return Sheet(_LIST, tuple(_list_cells(each) for each in standings))


def _list_cells(each: Standing) -> tuple[Cell, ...]:
    state = each.state
    return (
        each.budget.name,
        each.budget.told,
        str(each.budget.cycle),
        state.limit,
        state.spent,
        EXACT.add(state.reserved, state.held),
        state.remaining,
        state.currency,
        used_percent(each),
        mode_in_words(each.budget),
        last_day(each.period.ends_on),
        _not_counted(each.period) or None,
    )


def show_figures(console: Console, found: Figures) -> None:
    """Print all there is to say of a budget."""
    for what, said in _facts(found).items():
        say(console, f"{what:14}{printable(said)}")
    if console.is_terminal and found.daily:
        say(console, f"{'day by day':14}{_sparkline(found, console.width - 14)}")
    if held := held_calls(found.aside):
        say(console, "")
        show_held(console, held)


def show_held(console: Console, held: Sequence[Aside]) -> None:
    """Print the calls of which a budget holds what they may cost."""
    show(console, Sheet(_HELD, tuple((str(one.call_id), instant(one.reserved_at), one.amount) for one in held[:SHOWN])))
    if len(held) > SHOWN:
        say(console, f"The oldest {SHOWN} of {len(held):,}; --json has all.")


def held_calls(aside: Sequence[Aside]) -> list[Aside]:
    return [one for one in aside if one.state == HELD]


def _facts(found: Figures) -> dict[str, str]:
    standing, forecast = found.standing, found.forecast
    budget, period, code = standing.budget, standing.period, standing.state.currency
    held = held_calls(found.aside)
    running = len(found.aside) - len(held)
    facts = {
        "budget": f"{budget.name}, on {budget.told}",
        "limit": f"{amount(period.limit)} {code}, {cycle_in_words(budget)}",
        "mode": _mode_facts(budget),
        "period": _period_in_words(standing),
        "spent": f"{amount(period.spent)} {code}{_beside(standing)}",
        "reserved": f"{amount(period.reserved)} {code}" + (f" for {counted(running, 'running call')}" * bool(running)),
        "held": f"{amount(period.held)} {code}" + (f" for {_unknown(len(held))}" * bool(held)),
        "remaining": f"{amount(period.remaining)} {code}",
        "used": _used_in_words(standing),
        "pace": pace_in_words(forecast.pace, code),
        "forecast": forecast_in_words(forecast, standing),
        "runs out": _runs_out_in_words(forecast, standing),
    }
    if refused := " ".join(refused_in_words(found)):
        facts["refuses"] = refused
    if period.overrun:
        facts["overrun"] = f"{amount(period.overrun)} {code}, which calls cost beyond what was set aside for them"
    if budget.terms.fx:
        facts["exchange"] = ", ".join(f"1 {each} is {plain(rate)} {code}" for each, rate in budget.terms.fx.items())
    if budget.terms.max_output is not None:
        facts["max output"] = f"{counted(budget.terms.max_output, 'token')} where a request names no bound"
    return facts


def _unknown(calls: int) -> str:
    return f"{counted(calls, 'call')} of unknown cost"


def cycle_in_words(budget: Budget) -> str:
    """How often it begins anew."""
    every = budget.cycle.every
    if every is Every.TOTAL:
        return "in all" if budget.cycle.since is None else f"in all from {budget.cycle.since} on"
    return f"every {budget.cycle}"


def mode_in_words(budget: Budget) -> str:
    """`soft`, `hard` or `hard strict`, and whether it is paused."""
    mode = "hard strict" if budget.terms.mode is Mode.STRICT else str(budget.terms.mode)
    return mode if budget.paused_at is None else f"{mode}, paused"


def _mode_facts(budget: Budget) -> str:
    if budget.paused_at is not None:
        return f"{mode_in_words(budget)} since {instant(budget.paused_at)}: it stops no call"
    if not budget.is_binding:
        return "soft: it stops no call"
    what = "the most that it can cost" if budget.terms.mode is Mode.STRICT else "what it likely costs"
    away = "refused" if budget.terms.when_away is WhenAway.REFUSE else "let pass"
    return f"{mode_in_words(budget)}: {what} is set aside for a call; where the store can't be asked it is {away}"


def last_day(end: date | None) -> str | None:
    """The day before the end; None where there is none."""
    return None if end is None else str(end - _DAY)


def _period_in_words(standing: Standing) -> str:
    state, zone = standing.state, standing.zone
    if state.ends_at is None:
        return f"{'all days' if standing.budget.cycle.since is None else f'from {state.begins_on} on'} ({zone.key})"
    return f"{state.begins_on} to {last_day(state.ends_on)} ({zone.key}); ends {instant(state.ends_at, zone)}"


def _beside(standing: Standing) -> str:
    said = _not_counted(standing.period, IN_REPORTS)
    return f"; not in it: {said}" if said else ""


def _not_counted(period: Period, note: str = "") -> str:
    """Calls that are in the books and not in what was spent."""
    unpriced = f"{counted(period.unpriced, 'call')} without a rate{note}" if period.unpriced else ""
    foreign = f"{counted(period.foreign_calls, 'call')} in another currency" if period.foreign_calls else ""
    return ", ".join(filter(None, (unpriced, foreign)))


IN_REPORTS = " (in reports unpriced, or without usage)"
"""What a budget counts together, of calls without a rate, a report counts apart."""


def refused_in_words(found: Figures) -> list[str]:
    """Which calls like those of late a budget refuses whatever is left, and what has them pass."""
    budget, told = found.standing.budget, []
    if budget.is_binding and found.foreign:
        edit = ["accounting", "budgets", "edit", budget.name]
        rates = [word for code in found.foreign for word in ("--fx", f"{code}=RATE")]
        told.append(
            f"It refuses calls priced in {' or '.join(found.foreign)}. To have them pass: {shlex.join(edit + rates)}"
        )
    if budget.is_binding and found.has_unpriced:
        told.append("It refuses calls of models without a rate. To have them pass: accounting rates add")
    return told


def used_percent(standing: Standing) -> Decimal | None:
    """Of the limit, to a tenth below: nothing is used up before all of it is. None for a limit of nothing."""
    state = standing.state
    if not state.limit:
        return None
    return EXACT.scaleb(EXACT.divide_int(EXACT.multiply(state.used, 1000), state.limit), -1)


def _used_in_words(standing: Standing) -> str:
    percent, state = used_percent(standing), standing.state
    told = "all of nothing" if percent is None else f"{amount(percent)} % of the limit"
    ahead = [each for each in state.thresholds if not state.has_reached(each)]
    passed = f"; passed: {_percents(standing.passed)}" if standing.passed else ""
    return f"{told}{passed}" + (f"; ahead: {_percents(ahead)}" if ahead else "")


def _percents(percents: Sequence[Decimal]) -> str:
    return f"{', '.join(map(plain, percents))} %"


def pace_in_words(pace: Pace, code: str) -> str:
    """What was spent a day, and what would have been if the limit went evenly."""
    spent = [_a_day(pace.per_day, code)] if pace.per_day is not None else []
    if pace.percent is not None:
        daily = "" if pace.even_per_day is None else f" ({_a_day(pace.even_per_day, code)})"
        spent.append(f"{pace.percent:,f} % of an even pace{daily}")
    left = [f"left until the end: {_a_day(pace.left_per_day, code)}"] if spent and pace.left_per_day is not None else []
    return "; ".join([", ".join(spent) or "none yet", *left])


def _a_day(value: Decimal, code: str) -> str:
    return f"{amount(value)} {code} a day"


def forecast_in_words(forecast: Forecast, standing: Standing) -> str:
    """What will be used, by what that was found, and from where to where it may lie."""
    if forecast.expected is None:
        return forecast.basis
    until = f"in {HORIZON} days" if standing.period.ends_on is None else "by the end"
    span = ""
    if forecast.low is not None and forecast.high is not None and forecast.low != forecast.high:
        span = f"; four times in five {amount(forecast.low)} to {amount(forecast.high)}"
    # What will be asked for: a hard budget lets no more through than its limit.
    more = standing.budget.is_binding and forecast.expected > standing.state.limit
    stopped = ", if no call were refused" if more else ""
    return f"{amount(forecast.expected)} {standing.state.currency} {until}{stopped}, {forecast.basis}{span}"


def _runs_out_in_words(forecast: Forecast, standing: Standing) -> str:
    if standing.state.remaining <= 0:
        return "it is used up"
    if forecast.runs_out is not None:
        return f"on {forecast.runs_out:%Y-%m-%d, %A}, as it goes"
    if forecast.expected is None:
        return "not known"
    return f"not within {HORIZON} days" if standing.period.ends_on is None else "not in this period"


def _sparkline(found: Figures, width: int) -> str:
    """A bar for each day until today; a day without spend has the lowest."""
    today, code = found.standing.today, found.standing.state.currency
    first = max(min(found.daily), today - (LOOKED_BACK - 1) * _DAY)
    amounts = [found.daily.get(first + number * _DAY, ZERO) for number in range((today - first).days + 1)]
    most = max(amounts)
    told = f" {first} to {today}, at most {amount(most)} {code}"
    bars = "".join(_bar(each, most) for each in amounts)
    return bars + told if len(bars + told) <= width else bars[-width:]


def _bar(value: Decimal, most: Decimal) -> str:
    if value <= 0:
        return _BARS[0]
    return _BARS[int(EXACT.divide_int(EXACT.multiply(value, len(_BARS) - 1), most))]


def figure_fields(found: Figures) -> dict[str, Any]:
    """All there is to say of a budget, for programs."""
    forecast, pace = found.forecast, found.forecast.pace
    return {
        **standing_fields(found.standing),
        "held_calls": [_held_fields(one) for one in held_calls(found.aside)],
        "running_calls": len(found.aside) - len(held_calls(found.aside)),
        "refuses": {
            "currencies": found.foreign if found.standing.budget.is_binding else [],
            "unpriced": found.standing.budget.is_binding and found.has_unpriced,
        },
        "pace": {name: getattr(pace, name) for name in Pace.__slots__},
        "forecast": {name: getattr(forecast, name) for name in Forecast.__slots__ if name != "pace"},
        "daily": [{"day": day, "spent": spent} for day, spent in sorted(found.daily.items())],
    }


def standing_fields(standing: Standing) -> dict[str, Any]:
    """Where a budget stands, for programs."""
    state = standing.state
    return {
        **budget_fields(standing.budget),
        "period": period_fields(standing.period) | {"ends_at": state.ends_at, "zone": standing.zone.key},
        "remaining": state.remaining,
        "used_percent": used_percent(standing),
        "thresholds_passed": standing.passed,
    }


def budget_fields(budget: Budget) -> dict[str, Any]:
    """A budget and its terms, for programs."""
    terms, cycle = budget.terms, budget.cycle
    return {
        "budget": budget.name,
        "scope": _scope_fields(budget),
        "every": cycle.every,
        "every_days": cycle.days or None,
        "since": cycle.since,
        "limit": terms.limit,
        "currency": budget.currency,
        "mode": terms.mode,
        "thresholds": terms.thresholds,
        "when_away": terms.when_away,
        "fx": terms.fx,
        "max_output": terms.max_output,
        "created_at": budget.created_at,
        "created_by": budget.created_by,
        "paused_at": budget.paused_at,
        "removed_at": budget.removed_at,
    }


def _scope_fields(budget: Budget) -> dict[str, Any]:
    """What it is on: a project and a key by their ids too, which no renaming changes."""
    scope, named = budget.scope, {"kind": budget.scope.kind, "told": budget.told}
    match scope.kind:
        case Kind.ALL:
            return named
        case Kind.PROJECT | Kind.KEY:
            return named | {"name": budget.told.removeprefix(f"{scope.kind} "), f"{scope.kind}_id": scope.id}
        case Kind.TAG:
            return named | {"name": scope.name, "value": scope.value}
        case _:
            return named | {"name": scope.name}


def period_fields(period: Period) -> dict[str, Any]:
    """A period of a budget, for programs."""
    names = ("limit", "spent", "reserved", "held", "overrun", "unpriced", "foreign_calls")
    first = {"begins_on": period.place.begins_on, "ends_on": period.ends_on}
    return first | {name: getattr(period, name) for name in names}


def _held_fields(one: Aside) -> dict[str, Any]:
    return {"call": one.call_id, "since": one.reserved_at, "held": one.amount}


def show_history(console: Console, periods: Sequence[Period], changes: Sequence[Change]) -> None:
    """Print a budget's periods, and then what people did about it."""
    if periods:
        show(console, Sheet(_PERIODS, tuple(_period_cells(period) for period in periods)))
        say(console, "")
    show(console, Sheet(_CHANGES, tuple(_change_cells(change) for change in changes)))


def _period_cells(period: Period) -> tuple[Cell, ...]:
    return (
        str(period.place.begins_on),
        last_day(period.ends_on),
        period.limit,
        period.spent,
        period.overrun,
        period.reserved,
        period.held,
        period.unpriced,
        period.foreign_calls,
    )


def _change_cells(change: Change) -> tuple[Cell, ...]:
    return instant(change.at), change.who, change.what, fields_in_words(change.fields) or None, change.why or None


def fields_in_words(fields: Fields) -> str:
    """`limit 200 (was 100), mode hard (was soft)`."""
    return ", ".join(_field(name, *both) for name, both in fields.items() if any(both))


def _field(name: str, before: str | None, after: str | None) -> str:
    return f"{name.replace('_', ' ')} {after or 'none'}" + (f" (was {before})" if before else "")


def change_fields(fields: Fields) -> dict[str, Any]:
    """What changed, for programs."""
    return {name: {"before": before, "after": after} for name, (before, after) in fields.items()}


def history_fields(change: Change) -> dict[str, Any]:
    """What somebody did about a budget, for programs."""
    said = {"at": change.at, "who": change.who, "what": change.what, "why": change.why}
    return said | {"fields": change_fields(change.fields)}
