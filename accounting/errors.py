"""Every error a caller can meet.

    AccountingError
    ├── ConfigurationError        a setting, option, name or file that can't be used as it is
    │   ├── AlreadyMetered        the client is wrapped already, for another project or other tags
    │   ├── UnsupportedClient     not a client, or a version of one, that can be wrapped
    │   ├── RateCardError         a rate card or alias that can't be used, or contradicts another
    │   └── FxRateError           an exchange rate that can't be read, or contradicts another
    ├── RateMissing               no rate holds for what is to be priced
    ├── UsageMissing              what is to be priced is unknown
    ├── UsageInvalid              what is to be priced contradicts itself
    ├── JournalUnavailable        a call was refused because it could not be written down (opt-in)
    ├── BudgetExceeded            a call was refused by a hard budget, and not sent
    ├── Undelivered               some journals could not be delivered, all others were
    ├── CallInvalid               a delivered call that can't be read; it is kept in `rejected`
    ├── CurrencyMismatch          two currencies met in one sum
    └── StoreError
        ├── StoreMissing          there is no store at the URL
        ├── StoreAway             the store can't be reached now; it may be back soon
        └── SchemaMismatch        the store's schema is older or newer than this program

Messages say what was found, what was expected and what to do.
"""

from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any


class AccountingError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(AccountingError):
    """A setting, option, name or file that can't be used as it is."""


class AlreadyMetered(ConfigurationError):
    """The client is metered already, for another project or with other tags."""


class UnsupportedClient(ConfigurationError):
    """The object is no client that can be metered."""


class RateCardError(ConfigurationError):
    """A rate card can't be read, an alias not be used, or one of them contradicts another."""


class FxRateError(ConfigurationError):
    """An exchange rate can't be read, or contradicts another."""


class RateMissing(AccountingError):
    """No rate holds for what is to be priced; the message says what is near, and how to add one."""


class UsageMissing(AccountingError):
    """Nobody said what was used: unknown is not zero, so it has no price."""


class UsageInvalid(AccountingError):
    """A count is no count, or the parts of one come to more than it is."""


class JournalUnavailable(AccountingError):
    """The journal can't be written and `ACCOUNTING_JOURNAL_REQUIRED` is set: the call was not sent."""


class BudgetExceeded(AccountingError):
    """A hard budget said no: the call was not sent, and has cost nothing.

    `why` is one of over, unpriced, currency, unbounded, away (see `decisions.Why`). Amounts are exact, in `currency`;
    what nobody knows is None, as all of them are where the store could not be asked. The budget's period ends at
    `ends_at` (UTC), None where it never begins anew.
    """

    def __init__(
        self,
        message: str,
        *,
        why: str,
        budget: str,
        scope: str,
        currency: str | None = None,
        limit: Decimal | None = None,
        spent: Decimal | None = None,
        reserved: Decimal | None = None,
        held: Decimal | None = None,
        asked: Decimal | None = None,
        ends_at: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.why = why
        self.budget = budget
        self.scope = scope
        self.currency = currency
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.held = held
        self.asked = asked
        self.ends_at = ends_at

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes may have to be told, and an error is made anew there by its message alone."""
        return partial(type(self), why=self.why, budget=self.budget, scope=self.scope), self.args, vars(self)


class Undelivered(AccountingError):
    """Some journals could not be delivered; all others were."""


class CallInvalid(AccountingError):
    """Bytes delivered as a call don't describe one."""


class CurrencyMismatch(AccountingError):
    """Amounts in two currencies met in one sum."""


class StoreError(AccountingError):
    """The store can't be used."""


class StoreMissing(StoreError):
    """There is no store at the URL."""


class StoreAway(StoreError):
    """The store can't be reached now; it may be back soon."""


class SchemaMismatch(StoreError):
    """The store's schema is older or newer than this program."""
