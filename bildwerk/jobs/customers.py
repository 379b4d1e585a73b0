"""Opening an account, paying into it and giving out keys; the first start does all three."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from bildwerk.domain.account import ALL_SCOPES, MICRO_DOLLARS, Account, ApiKey, Scope
from bildwerk.domain.api_key import NewApiKey, keyed_hash, new_api_key, random_base62
from bildwerk.domain.errors import InvalidParameter
from bildwerk.domain.pricing import dollars
from bildwerk.store import accounts, ledger
from bildwerk.store.files import fsync_folder

FIRST_GRANT = 10 * MICRO_DOLLARS
MAX_BALANCE = 1_000_000_000 * MICRO_DOLLARS
"""Far below 2^63 micro-dollars, beyond which SQLite counts in floating point."""
MAX_REFERENCE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class FirstCustomer:
    """The account and the key that the first start made."""

    account: Account
    key: NewApiKey


def open_account(connection: Connection, now: int, name: str, grant: int) -> Account:
    """A new customer with `grant` micro-dollars to spend."""
    account = accounts.create(connection, now, f"acc_{random_base62(22)}", name)
    if grant:
        ledger.top_up(connection, now, account.id, grant, transfer_id=f"grant_{account.id}", reason="grant")
    return account


def top_up(connection: Connection, now: int, account_id: str, amount: int, *, reference: str | None = None) -> bool:
    """Pay `amount` micro-dollars into an account. False where the payment of that reference has been booked before.

    Raises `InvalidParameter` for an amount that is not above 0 or brings the account above `MAX_BALANCE`, and for a
    reference that is not printable or that names another payment.
    """
    transfer_id = f"topup_{random_base62(22)}" if reference is None else referenced_id(reference)
    booked = ledger.find_payment(connection, transfer_id)
    if booked is not None:
        if booked != (ledger.prepaid_id(account_id), amount):
            raise InvalidParameter(f"the reference {reference} already names another payment", param="reference")
        return False
    balance = ledger.balance(connection, account_id)
    most = MAX_BALANCE - balance.prepaid - balance.held
    if not 0 < amount <= most:
        raise InvalidParameter(
            f"an account may have {dollars(MAX_BALANCE)} USD at most: a top-up of this one must be from 0.000001 to "
            f"{dollars(most)}, not {dollars(amount)}",
            param="amount",
        )
    ledger.top_up(connection, now, account_id, amount, transfer_id=transfer_id, reason=reference or "")
    return True


def referenced_id(reference: str) -> str:
    """The id of the one transfer that a reference names; it cannot be a random one's."""
    if not (0 < len(reference) <= MAX_REFERENCE_CHARACTERS and reference.isprintable()):
        raise InvalidParameter(
            f"a reference must be 1 to {MAX_REFERENCE_CHARACTERS} printable characters, not {reference[:60]!r}",
            param="reference",
        )
    return f"topup:{reference}"


def give_key(
    connection: Connection,
    now: int,
    account_id: str,
    pepper: bytes,
    new: NewApiKey,
    *,
    name: str = "",
    scopes: frozenset[Scope] = ALL_SCOPES,
    expires_at: int | None = None,
) -> ApiKey:
    """Enter `new` as a key of the account. Its secret is not kept."""
    key = ApiKey(new.public_id, account_id, name, new.last4, scopes, now, expires_at, None, None)
    accounts.add_key(connection, key, keyed_hash(pepper, new.secret))
    return key


def open_first_account(connection: Connection, now: int, pepper: bytes, credentials: Path) -> FirstCustomer | None:
    """On an empty database: the first account with its grant and a key, written to `credentials`; else None.

    The file is durable before the transaction is, so that there is never a key that nobody knows.
    """
    if accounts.count(connection):
        return None
    ledger.open_house_accounts(connection)
    account = open_account(connection, now, "first account", FIRST_GRANT)
    new = new_api_key()
    give_key(connection, now, account.id, pepper, new, name="first key")
    write_credentials(credentials, new.secret)
    return FirstCustomer(account, new)


def write_credentials(path: Path, secret: str) -> None:
    """A file of mode 0600; one that an interrupted first start left behind is replaced."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"ATLASCLOUD_API_KEY={secret}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    fsync_folder(path.parent)
