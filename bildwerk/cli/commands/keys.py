"""`bildwerk keys`: make, list and revoke API keys, also beside a running service."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.guest_database import guest_database
from bildwerk.cli.standard_output import write_answer, write_table
from bildwerk.domain.account import ALL_SCOPES, ApiKey, Scope
from bildwerk.domain.api_key import display, new_api_key
from bildwerk.jobs.customers import give_key
from bildwerk.schemas.timestamps import rfc3339
from bildwerk.store import accounts
from bildwerk.store.clock import start_clock
from bildwerk.store.database import Database

keys = App(name="keys", help="API keys: make, list and revoke them.")

DAY_MS = 86_400_000
MAX_DAYS = 36_500
HEADINGS = ("ID", "KEY", "STATE", "SCOPES", "ACCOUNT", "NAME")


@keys.command
def create(
    *,
    data_dir: Path | None = None,
    account: str | None = None,
    name: str = "",
    scope: Annotated[tuple[Scope, ...], Parameter(negative=(), show_default=False)] = (),
    days: int | None = None,
    json: bool | None = None,
) -> None:
    """Make a key. Its secret is shown now and never again.

    Parameters
    ----------
    data_dir
        The server's data folder.
    account
        Id of the account that it speaks for. Default: the first one.
    name
        What it is for.
    scope
        What it may do; more than one can be given. Default: everything.
    days
        After how many days it ends. Default: never.
    json
        Print a JSON object with the field `key`. Default: only where standard output is not a terminal.
    """
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise UsageError(f"--days must be from 1 to {MAX_DAYS}, not {days}")
    with guest_database(data_dir) as (folder, database):
        now = start_clock()()
        owner = owning_account(database, account)
        new = new_api_key()
        ends = None if days is None else now + days * DAY_MS
        scopes = frozenset(scope) or ALL_SCOPES
        pepper = folder.secrets.key_pepper
        key = database.write_blocking(
            lambda connection: give_key(connection, now, owner, pepper, new, name=name, scopes=scopes, expires_at=ends)
        )
    write_answer(json, {"key": new.secret, **facts(key)}, [new.secret])


@keys.command(name="list")
def list_keys(*, data_dir: Path | None = None, json: bool | None = None) -> None:
    """List every key: its id, its last characters, whether it is live, what it may do, its account and its name.

    Parameters
    ----------
    data_dir
        The server's data folder.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    with guest_database(data_dir) as (_, database):
        found = database.read_blocking(accounts.list_keys)
        now = start_clock()()
    write_table(json, map(facts, found), HEADINGS, [text_row(key, now) for key in found])


@keys.command
def revoke(key_id: str, *, data_dir: Path | None = None, json: bool | None = None) -> None:
    """Revoke a key: within a second nobody can use it any more.

    Parameters
    ----------
    key_id
        Its id, `ak_…`, as `bildwerk keys list` shows it.
    data_dir
        The server's data folder.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    with guest_database(data_dir) as (_, database):
        now = start_clock()()
        if not database.write_blocking(lambda connection: accounts.revoke_key(connection, now, key_id)):
            raise CommandError(f"there is no key {key_id[:60]!r}; `bildwerk keys list` shows them")
    write_answer(json, {"id": key_id, "revoked": True}, [f"{key_id} is revoked"])


def owning_account(database: Database, account_id: str | None) -> str:
    find: Callable[..., Any] = accounts.first if account_id is None else lambda c: accounts.get(c, account_id)
    account = database.read_blocking(find)
    if account is None:
        shown = "" if account_id is None else f" {account_id[:60]!r}"
        raise CommandError(f"there is no account{shown}; `bildwerk accounts list` shows them")
    return str(account.id)


def facts(key: ApiKey) -> dict[str, Any]:
    moments = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "id": key.id,
        "account": key.account_id,
        "name": key.name,
        "display": display(key.last4),
        "scopes": sorted(key.scopes),
        **{name: None if moment is None else rfc3339(moment) for name, moment in moments.items()},
    }


def text_row(key: ApiKey, now: int) -> list[str]:
    state = "live" if key.is_live(now) else "revoked" if key.revoked_at else "expired"
    return [key.id, display(key.last4), state, ",".join(sorted(key.scopes)), key.account_id, key.name]
