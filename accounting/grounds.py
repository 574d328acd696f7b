"""Why a call was not sent, and what to do about it, in a sentence or two for people."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from accounting.decisions import BudgetState, Why
from accounting.money import plain


def message(
    why: Why,
    *,
    budget: str,
    scope: str,
    state: BudgetState | None = None,
    asked: Decimal | None = None,
    model: str = "",
    provider: str = "",
    currency: str = "",
    reasons: Sequence[str] = (),
    is_answer: bool = False,
    others: Sequence[str] = (),
) -> str:
    """What `decisions.Refusal.message` says.

    `asked` is in the budget's currency. `model`, at `provider`, is the one that has no rate, or one in another
    `currency`; `reasons`, each a sentence, say why nobody can tell what the call costs at most, or why the store can't
    be asked. With `is_answer` nothing but the answer lacks a bound. `others` refused as well.
    """
    also = f" (so did {', '.join(others)})" if others else ""
    refused = f"Budget {budget} ({scope}) refused the call{also}"
    standing = f"; {_standing(state)}" if state else ""
    edit = f"accounting budgets edit {shlex.quote(budget)}"
    match why:
        case Why.OVER:
            said = _asked(asked, state)
            to_do = _ways_out(budget, f"{edit} --amount AMOUNT", asked, state)
        case Why.UNPRICED:
            said = f"no rate holds for {model or 'its model'}"
            explain = shlex.join([model or "MODEL", "--provider", provider or "PROVIDER"])
            to_do = f"See what is near: accounting rates explain {explain}; then add one"
        case Why.CURRENCY:
            said = f"{model or 'its model'} is priced in {currency or 'another currency'}, for which it names no rate"
            to_do = f"Name one: {edit} --fx {currency or 'CODE'}=RATE"
        case Why.UNBOUNDED:
            because = " and ".join(reasons) or "nothing bounds it"
            said = f"it is strict, and nobody can say what the call costs at most, as {because}"
            bound = f"Bound its answer: {edit} --max-output COUNT" if is_answer else "Bound the request"
            to_do = f"{bound}; or be less strict: {edit} --hard"
        case Why.AWAY:
            # What else the errors say is for who is to make a store: it has one, which holds the budget.
            wrong = " and ".join(reason.partition(". ")[0] for reason in reasons)
            said = f"it can't be asked now{f' ({wrong})' if wrong else ''}"
            to_do = (
                "Bring the store back: accounting doctor says what is wrong. Calls pass while it is away where that is "
                "said beforehand: --when-away pass"
            )
    return f"{refused}: {said}{standing}. {to_do}."


def unknown(setting: str) -> str:
    """The same where the setting wants a call refused as long as nobody could say which budgets there are."""
    return (
        f"{setting} refused the call: nobody could say yet which budgets there are. See what is wrong: accounting "
        "doctor; or have calls pass meanwhile: unset it."
    )


def _asked(asked: Decimal | None, state: BudgetState | None) -> str:
    if asked is None or state is None:
        return "it may cost more than remains"
    left = f"{plain(state.remaining)} remains" if state.remaining > 0 else "nothing remains"
    return f"it may cost {plain(asked)} {state.currency}, and {left}"


def _standing(state: BudgetState) -> str:
    """What there is of the limit, and until when."""
    used = [f"{plain(state.spent)} spent", f"{plain(state.reserved)} reserved"]
    if state.held:
        used.append(f"{plain(state.held)} held for calls that may have been charged")
    until = f" until {_instant(state.ends_at)}" if state.ends_at else ""
    return f"of {plain(state.limit)} {state.currency}{until}, {', '.join(used[:-1])} and {used[-1]}"


def _ways_out(budget: str, raising: str, asked: Decimal | None, state: BudgetState | None) -> str:
    ways = [f"accounting budgets show {shlex.quote(budget)}", f"raise the limit: {raising}"]
    if state is not None and asked is not None and asked > state.limit:
        ways.append("ask for less, as this is more than the whole limit")
    elif state is not None and state.ends_at is not None:
        ways.append(f"wait until {_instant(state.ends_at)}")
    return f"See {'; '.join(ways[:-1])}; or {ways[-1]}"


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
