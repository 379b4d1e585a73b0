"""`bildwerk accounts`: make, list, show and top up the accounts of a server, also beside a running one."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from sqlalchemy import Connection

from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.guest_database import guest_database
from bildwerk.cli.standard_output import write_answer, write_table
from bildwerk.domain.account import Account
from bildwerk.domain.api_key import display
from bildwerk.domain.pricing import dollars, micro_dollars
from bildwerk.jobs import customers
from bildwerk.jobs.customers import MAX_BALANCE
from bildwerk.schemas.timestamps import rfc3339
from bildwerk.store import accounts as stored
from bildwerk.store import ledger
from bildwerk.store.clock import start_clock

accounts = App(name="accounts", help="Accounts: make, list, show and top them up.")

MAX_NAME_CHARACTERS = 100
MONEY = ("BALANCE", "HELD", "SPENT")
HEADINGS = ("ID", *MONEY, "NAME")
RANGE = f"from 0.000001 to {dollars(MAX_BALANCE)} US dollars, with six decimals at most"


@accounts.command
def create(name: str, *, data_dir: Path | None = None, json: bool | None = None) -> None:
    """Make an account. It has no money and no key yet: `accounts top-up` and `keys create --account` give them.

    Parameters
    ----------
    name
        Whose it is.
    data_dir
        The server's data folder.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    name = name.strip()
    if not (0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise UsageError(f"a name must be 1 to {MAX_NAME_CHARACTERS} printable characters, not {name[:60]!r}")
    with guest_database(data_dir) as (_, database):
        now = start_clock()()
        made = database.write_blocking(lambda connection: customers.open_account(connection, now, name, 0))
    write_answer(json, named(made), [made.id])


@accounts.command(name="list")
def list_accounts(*, data_dir: Path | None = None, json: bool | None = None) -> None:
    """List every account: its id, what it may spend, what open predictions hold, what it has spent; US dollars.

    Parameters
    ----------
    data_dir
        The server's data folder.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    with guest_database(data_dir) as (_, database):
        found = database.read_blocking(
            lambda connection: [facts(connection, account) for account in stored.list_accounts(connection)]
        )
    write_table(json, found, HEADINGS, [text_row(account) for account in found], numbers=MONEY)


@accounts.command
def show(account_id: str, *, data_dir: Path | None = None, json: bool | None = None) -> None:
    """Show an account: its money, its keys, and every payment into it, newest first.

    Parameters
    ----------
    account_id
        Its id, `acc_…`, as `bildwerk accounts list` shows it.
    data_dir
        The server's data folder.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    with guest_database(data_dir) as (_, database):
        found = database.read_blocking(lambda connection: full_facts(connection, wanted(connection, account_id)))
    write_answer(json, found, text_lines(found))


@accounts.command(name="top-up")
def top_up(
    account_id: str,
    amount: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    reference: str | None = None,
    data_dir: Path | None = None,
    json: bool | None = None,
) -> None:
    """Pay an amount into an account. It can be spent at once.

    Parameters
    ----------
    account_id
        Its id, `acc_…`, as `bildwerk accounts list` shows it.
    amount
        US dollars, such as 10 or 0.25.
    reference
        What names this payment, such as an invoice's number: the same command twice then pays once.
    data_dir
        The server's data folder.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    paid = read_amount(amount)
    with guest_database(data_dir) as (_, database):
        now = start_clock()()

        def pay(connection: Connection) -> tuple[bool, dict[str, Any]]:
            account = wanted(connection, account_id)
            is_new = customers.top_up(connection, now, account.id, paid, reference=reference)
            return is_new, facts(connection, account)

        is_new, after = database.write_blocking(pay)
    happened = "was topped up by" if is_new else f"already has, under the reference {reference}, its"
    sentence = f"{account_id} {happened} ${dollars(paid)}; its balance is ${after['balance']}"
    write_answer(json, {"amount": dollars(paid), "reference": reference, "is_new": is_new, **after}, [sentence])


def read_amount(text: str) -> int:
    """Micro-dollars. Raises `UsageError` that names the range."""
    try:
        amount = micro_dollars(text)
    except ValueError:
        amount = 0
    if not 0 < amount <= MAX_BALANCE:
        raise UsageError(f"an amount must be {RANGE}, not {text[:60]!r}")
    return amount


def wanted(connection: Connection, account_id: str) -> Account:
    found = stored.get(connection, account_id)
    if found is None:
        raise CommandError(f"there is no account {account_id[:60]!r}; `bildwerk accounts list` shows them")
    return found


def named(account: Account) -> dict[str, Any]:
    return {"id": account.id, "name": account.name, "created_at": rfc3339(account.created_at)}


def facts(connection: Connection, account: Account) -> dict[str, Any]:
    balance = ledger.balance(connection, account.id)
    money = {"balance": balance.prepaid, "held": balance.held, "spent": ledger.spent(connection, account.id)}
    return named(account) | {name: dollars(amount) for name, amount in money.items()}


def full_facts(connection: Connection, account: Account) -> dict[str, Any]:
    keys = [key for key in stored.list_keys(connection) if key.account_id == account.id]
    payments = [
        {**asdict(payment), "amount": dollars(payment.amount), "at": rfc3339(payment.at)}
        for payment in ledger.payments(connection, account.id)
    ]
    shown = [{"id": key.id, "name": key.name, "display": display(key.last4)} for key in keys]
    return {**facts(connection, account), "keys": shown, "payments": payments}


def text_row(account: Mapping[str, Any]) -> list[str]:
    return [account["id"], *(account[name] for name in ("balance", "held", "spent")), account["name"]]


def text_lines(account: Mapping[str, Any]) -> list[str]:
    return [
        f"{account['id']}  {account['name']}, since {account['created_at']}",
        *(f"{name:8}${account[name]}" for name in ("balance", "held", "spent")),
        *(f"key     {key['id']} {key['display']} {key['name']}".rstrip() for key in account["keys"]),
        *(
            f"paid in ${payment['amount']}  {payment['at']}  {payment['reason']}".rstrip()
            for payment in account["payments"]
        ),
    ]
