"""The books: append-only transfers whose legs sum to zero, and the balances they leave.

Rows are always touched in one order, prediction -> prepaid -> held, so that two transfers cannot wait for each other.
The house's accounts have no cached balance: it would be the one row that everybody writes.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, update

from bildwerk.domain.account import Balance, LedgerKind, TransferKind
from bildwerk.domain.errors import InsufficientBalance
from bildwerk.domain.pricing import dollars
from bildwerk.store.schema import entries, ledger_accounts, transfers
from bildwerk.store.statement import Statement

FUNDING_ID = "house:funding"
REVENUE_ID = "house:revenue"

NEW_TRANSFER = Statement(insert(transfers))
NEW_ENTRY = Statement(insert(entries))
MOVE_BALANCE = Statement(
    update(ledger_accounts)
    .where(ledger_accounts.c.id == bindparam("moved"), ledger_accounts.c.balance + bindparam("amount") >= 0)
    .values(balance=ledger_accounts.c.balance + bindparam("amount"))
)

Legs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One movement of money: `(ledger account id, micro-dollars)` legs that sum to zero, in lock order."""

    id: str
    kind: TransferKind
    legs: Legs
    prediction_id: str | None = None
    claim_no: int | None = None
    reason: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """Micro-dollars that came into an account from outside, when (milliseconds since 1970), and why."""

    id: str
    amount: int
    at: int
    reason: str


def prepaid_id(account_id: str) -> str:
    return f"{account_id}:{LedgerKind.PREPAID}"


def held_id(account_id: str) -> str:
    return f"{account_id}:{LedgerKind.HELD}"


def open_house_accounts(connection: Connection) -> None:
    rows = [{"id": FUNDING_ID, "kind": LedgerKind.FUNDING}, {"id": REVENUE_ID, "kind": LedgerKind.REVENUE}]
    connection.execute(insert(ledger_accounts), rows)


def open_account(connection: Connection, account_id: str) -> None:
    rows = [
        {"id": prepaid_id(account_id), "account_id": account_id, "kind": LedgerKind.PREPAID},
        {"id": held_id(account_id), "account_id": account_id, "kind": LedgerKind.HELD},
    ]
    connection.execute(insert(ledger_accounts), rows)


def top_up(connection: Connection, now: int, account_id: str, amount: int, *, transfer_id: str, reason: str) -> None:
    legs = ((FUNDING_ID, -amount), (prepaid_id(account_id), amount))
    post(connection, now, Transfer(transfer_id, TransferKind.TOPUP, legs, reason=reason))


def hold(
    connection: Connection, now: int, account_id: str, *, prediction_id: str, price: int, request_id: str = ""
) -> None:
    """Set the price aside. Raises `InsufficientBalance` when the account has less."""
    legs = ((prepaid_id(account_id), -price), (held_id(account_id), price))
    transfer = Transfer(f"hold_{prediction_id}", TransferKind.HOLD, legs, prediction_id, 0, request_id=request_id)
    post(connection, now, transfer)


def capture(
    connection: Connection, now: int, account_id: str, *, prediction_id: str, claim_no: int, price: int
) -> None:
    """What was held is earned."""
    legs = ((held_id(account_id), -price), (REVENUE_ID, price))
    post(connection, now, Transfer(f"settle_{prediction_id}", TransferKind.CAPTURE, legs, prediction_id, claim_no))


def release(
    connection: Connection, now: int, account_id: str, *, prediction_id: str, claim_no: int, price: int
) -> None:
    """What was held goes back."""
    legs = ((prepaid_id(account_id), price), (held_id(account_id), -price))
    post(connection, now, Transfer(f"settle_{prediction_id}", TransferKind.RELEASE, legs, prediction_id, claim_no))


def post(connection: Connection, now: int, transfer: Transfer) -> None:
    """Write a transfer, its legs and the balances they move."""
    values = {
        "id": transfer.id,
        "kind": transfer.kind,
        "prediction_id": transfer.prediction_id,
        "claim_no": transfer.claim_no,
        "reason": transfer.reason,
        "request_id": transfer.request_id,
        "created_at": now,
    }
    NEW_TRANSFER.run(connection, values)
    legs = [(ledger_account_id, amount) for ledger_account_id, amount in transfer.legs if amount]
    if not legs:
        return
    for ledger_account_id, amount in legs:
        NEW_ENTRY.run(connection, entry_values(transfer.id, ledger_account_id, amount))
    for ledger_account_id, amount in legs:
        if ledger_account_id not in (FUNDING_ID, REVENUE_ID):
            move_balance(connection, ledger_account_id, amount)


def entry_values(transfer_id: str, ledger_account_id: str, amount: int) -> dict[str, str | int]:
    return {"transfer_id": transfer_id, "ledger_account_id": ledger_account_id, "amount": amount}


def move_balance(connection: Connection, ledger_account_id: str, amount: int) -> None:
    if MOVE_BALANCE.run(connection, {"moved": ledger_account_id, "amount": amount}) != 1:
        raise InsufficientBalance(f"insufficient balance: this costs {dollars(-amount)} USD")


def balance(connection: Connection, account_id: str) -> Balance:
    rows = connection.execute(
        select(ledger_accounts.c.kind, ledger_accounts.c.balance).where(ledger_accounts.c.account_id == account_id)
    )
    by_kind: dict[str, int] = {row.kind: row.balance for row in rows}
    return Balance(prepaid=by_kind[LedgerKind.PREPAID], held=by_kind[LedgerKind.HELD])


def revenue(connection: Connection) -> int:
    """Micro-dollars earned, net of refunds, summed from the entries."""
    total = select(func.coalesce(func.sum(entries.c.amount), 0)).where(entries.c.ledger_account_id == REVENUE_ID)
    return int(connection.execute(total).scalar_one())


def spent(connection: Connection, account_id: str) -> int:
    """Micro-dollars that an account's predictions have cost, net of refunds, summed from the entries."""
    total = (
        select(func.coalesce(-func.sum(entries.c.amount), 0))
        .select_from(entries)
        .join(transfers, transfers.c.id == entries.c.transfer_id)
        .where(entries.c.ledger_account_id.in_((prepaid_id(account_id), held_id(account_id))))
        .where(transfers.c.kind.in_((TransferKind.CAPTURE, TransferKind.REFUND)))
    )
    return int(connection.execute(total).scalar_one())


def payments(connection: Connection, account_id: str) -> list[Payment]:
    """What came into an account, newest first."""
    rows = connection.execute(
        select(transfers.c.id, entries.c.amount, transfers.c.created_at, transfers.c.reason)
        .join(entries, entries.c.transfer_id == transfers.c.id)
        .where(transfers.c.kind == TransferKind.TOPUP, entries.c.ledger_account_id == prepaid_id(account_id))
        .order_by(transfers.c.created_at.desc(), transfers.c.id)
    )
    return [Payment(row.id, row.amount, row.created_at, row.reason) for row in rows]


def find_payment(connection: Connection, transfer_id: str) -> tuple[str, int] | None:
    """The ledger account that a top-up went to, and its micro-dollars; None where there is no such top-up."""
    row = connection.execute(
        select(entries.c.ledger_account_id, entries.c.amount).where(
            entries.c.transfer_id == transfer_id, entries.c.ledger_account_id != FUNDING_ID
        )
    ).one_or_none()
    return None if row is None else (row.ledger_account_id, row.amount)
