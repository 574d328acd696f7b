"""The alias rules in the books: added and withdrawn, never edited."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from accounting.aliases import Aliases, Rule, contradicted, is_among, refuse_circle
from accounting.errors import RateCardError
from accounting.ratebook import new_edition
from accounting.store import Lock, aliaslines, hold
from accounting.store.aliaslines import SHIPPED, Line
from accounting.store.withdrawals import refuse_gone

__all__ = ["SHIPPED", "Line", "Renewed", "add", "aliases", "beside", "lines", "renew", "withdraw", "without"]


@dataclass(frozen=True, slots=True)
class Renewed:
    """How many rules a newer program brought, and took back."""

    added: int
    withdrawn: int

    @property
    def any(self) -> bool:
        return bool(self.added or self.withdrawn)


def lines(conn: Connection, *, withdrawn: bool) -> list[Line]:
    """The rules with who added and withdrew them, in the order they were added."""
    return [line for line in aliaslines.lines(conn) if withdrawn or line.withdrawn_at is None]


def aliases(conn: Connection) -> Aliases:
    return aliaslines.in_force(conn)


def beside(conn: Connection, rule: Rule) -> list[Rule] | None:
    """The rules that hold once this one is added; None where it is there already.

    Raises `RateCardError` where another leads elsewhere from the same names of the same provider, or back to them, and
    where the rule would lead on and on.
    """
    held = aliaslines.read(conn, withdrawn=False)
    if is_among(rule, held):
        return None
    if other := contradicted(rule, held):
        raise RateCardError(
            f"Alias {other.id}, {other}, is for the same names as {rule}. Withdraw it first: "
            f"accounting rates aliases withdraw {other.id} --why …"
        )
    refuse_circle(rule, held)
    return [*held, rule]


def add(conn: Connection, rule: Rule, now: datetime, by: str) -> Rule | None:
    """Have calls be priced by the rule from now on; returns it with its id. Otherwise like `beside`."""
    hold(conn, Lock.INGEST)
    if beside(conn, rule) is None:
        return None
    added = aliaslines.append(conn, [rule], now, by)
    new_edition(conn)
    return added[0]


def without(conn: Connection, ids: Collection[int]) -> tuple[list[Rule], list[Rule]]:
    """The rules of these ids, and those that hold once they are withdrawn; raises as `withdraw` does."""
    gone = _in_force(conn, ids)
    return gone, [rule for rule in aliaslines.read(conn, withdrawn=False) if rule not in gone]


def withdraw(conn: Connection, ids: Collection[int], now: datetime, by: str, why: str) -> list[Rule]:
    """Have these rules lead no call to a rate from now on; they stay in the books. Returns them.

    All of them or, raising `RateCardError`, none.
    """
    hold(conn, Lock.INGEST)
    found = _in_force(conn, ids)
    aliaslines.withdraw(conn, [rule.id for rule in found], now, by, why)
    if found:
        new_edition(conn)
    return found


def renew(conn: Connection, shipped: Iterable[Rule], now: datetime) -> Renewed:
    """Have the books' shipped rules be those of this program. What people decided stays.

    That is: a rule that somebody withdrew does not come back, and none comes that leads elsewhere than one of theirs.
    """
    hold(conn, Lock.INGEST)
    rules, held = list(shipped), aliaslines.lines(conn)
    ours = [line.rule for line in held if line.added_by == SHIPPED and line.withdrawn_at is None]
    gone = [rule for rule in ours if not is_among(rule, rules)]
    decided = [line.rule for line in held if line.added_by != SHIPPED and line.withdrawn_at is None]
    refused = [line.rule for line in held if line.withdrawn_by not in (None, SHIPPED)]
    known = [*ours, *decided, *refused]
    fresh = [rule for rule in rules if not is_among(rule, known) and not contradicted(rule, decided)]
    aliaslines.withdraw(conn, [rule.id for rule in gone], now, SHIPPED, "no longer shipped")
    aliaslines.append(conn, fresh, now)
    renewed = Renewed(added=len(fresh), withdrawn=len(gone))
    if renewed.any:
        new_edition(conn)
    return renewed


def _in_force(conn: Connection, ids: Collection[int]) -> list[Rule]:
    found = {line.rule.id: line for line in aliaslines.lines(conn) if line.rule.id in ids}
    refuse_gone(found, ids, "alias", "accounting rates aliases list")
    return [line.rule for line in found.values()]
