"""Who pays: an account, the principal that a key speaks for, and the words of its books.

The books are double-entry in integer micro-dollars (1 USD = 1,000,000). Each account has two ledger accounts:
`prepaid`, what it may spend, and `held`, what open predictions have set aside. The house has `funding` and `revenue`.
"""

from dataclasses import dataclass
from enum import StrEnum

MICRO_DOLLARS = 1_000_000


class LedgerKind(StrEnum):
    PREPAID = "prepaid"
    HELD = "held"
    FUNDING = "funding"
    REVENUE = "revenue"


class TransferKind(StrEnum):
    TOPUP = "topup"  # funding -> prepaid
    HOLD = "hold"  # prepaid -> held, when a prediction is submitted
    CAPTURE = "capture"  # held -> revenue, when it succeeds
    RELEASE = "release"  # held -> prepaid, when it ends in any other way
    REFUND = "refund"  # revenue -> prepaid, by an administrator with a reason
    ADJUST = "adjust"  # a correction, by an administrator with a reason


class Scope(StrEnum):
    PREDICT = "predict"
    READ = "read"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the books know it: its public id and its last four characters, never the secret."""

    id: str
    account_id: str
    name: str
    last4: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None

    def is_live(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Balance:
    """Micro-dollars that may be spent, and those held for open predictions."""

    prepaid: int
    held: int
