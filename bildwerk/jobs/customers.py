"""Opening an account and giving out keys; the first start does both."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from bildwerk.domain.account import ALL_SCOPES, MICRO_DOLLARS, Account, ApiKey, Scope
from bildwerk.domain.api_key import NewApiKey, keyed_hash, new_api_key, random_base62
from bildwerk.store import accounts, ledger
from bildwerk.store.files import fsync_folder

FIRST_GRANT = 10 * MICRO_DOLLARS


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
