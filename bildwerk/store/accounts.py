"""Accounts and their keys. A key's secret is never here, only its keyed hash."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from bildwerk.domain.account import Account, ApiKey, Scope
from bildwerk.store import ledger
from bildwerk.store.schema import accounts, api_keys
from bildwerk.store.statement import Statement

KEY_BY_HASH = Statement(select(api_keys).where(api_keys.c.secret_hash == bindparam("secret_hash")))


def create(connection: Connection, now: int, account_id: str, name: str) -> Account:
    """A new customer with empty books."""
    connection.execute(insert(accounts).values(id=account_id, name=name, created_at=now))
    ledger.open_account(connection, account_id)
    return Account(account_id, name, now)


def get(connection: Connection, account_id: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    return None if row is None else Account(row.id, row.name, row.created_at)


def first(connection: Connection) -> Account | None:
    """The oldest account: the one that the first start made."""
    row = connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id).limit(1)).one_or_none()
    return None if row is None else Account(row.id, row.name, row.created_at)


def list_accounts(connection: Connection) -> list[Account]:
    """All of them, oldest first."""
    rows = connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
    return [Account(row.id, row.name, row.created_at) for row in rows]


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(accounts)).scalar_one())


def add_key(connection: Connection, key: ApiKey, secret_hash: str) -> None:
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            account_id=key.account_id,
            name=key.name,
            secret_hash=secret_hash,
            last4=key.last4,
            scopes=" ".join(sorted(key.scopes)),
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
    )


def find_key(connection: Connection, secret_hash: str) -> ApiKey | None:
    row = KEY_BY_HASH.row(connection, {"secret_hash": secret_hash})
    return None if row is None else read_key(row)


def list_keys(connection: Connection) -> list[ApiKey]:
    rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
    return [read_key(row) for row in rows]


def revoke_key(connection: Connection, now: int, key_id: str) -> bool:
    """Whether there was such a key. Revoking twice keeps the first time."""
    found = connection.execute(
        update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=func.coalesce(api_keys.c.revoked_at, now))
    )
    return found.rowcount == 1


def touch_keys(connection: Connection, used_at: dict[str, int]) -> None:
    """Note when keys were last used, by their ids."""
    for key_id, at in used_at.items():
        connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at))


def read_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        last4=row.last4,
        scopes=frozenset(Scope(word) for word in row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
