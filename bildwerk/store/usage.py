"""What an account has used and paid, by day, model and key: read from the predictions and from the books themselves."""

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from bildwerk.store.schema import entries, ledger_accounts, predictions, transfers

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Used:
    """One day (counted from 1970, UTC), one model, one key: all requests, the pictures delivered, the micro-dollars."""

    day: int
    model: str
    api_key_id: str
    requests: int = 0
    images: int = 0
    spent: int = 0


def requests_and_images(connection: Connection, account_id: str, first_day: int, end_day: int) -> list[Used]:
    """By the day of the submit. `end_day` is the first that no longer counts."""
    day = predictions.c.created_at // DAY_MS
    delivered = func.sum(case((predictions.c.status == "succeeded", predictions.c.images), else_=0))
    query = (
        select(day.label("day"), predictions.c.model, predictions.c.api_key_id, func.count(), delivered)
        .where(
            predictions.c.account_id == account_id,
            predictions.c.created_at >= first_day * DAY_MS,
            predictions.c.created_at < end_day * DAY_MS,
        )
        .group_by(day, predictions.c.model, predictions.c.api_key_id)
    )
    rows = connection.execute(query).all()
    return [Used(row[0], row[1], row[2] or "", requests=row[3], images=int(row[4])) for row in rows]


def money_spent(connection: Connection, account_id: str, first_day: int, end_day: int) -> list[Used]:
    """By the day of the booking: what was captured, less what was refunded."""
    day = transfers.c.created_at // DAY_MS
    query = (
        select(day.label("day"), predictions.c.model, predictions.c.api_key_id, func.sum(entries.c.amount))
        .select_from(transfers)
        .join(predictions, predictions.c.id == transfers.c.prediction_id)
        .join(entries, entries.c.transfer_id == transfers.c.id)
        .join(ledger_accounts, ledger_accounts.c.id == entries.c.ledger_account_id)
        .where(
            ledger_accounts.c.kind == "revenue",
            predictions.c.account_id == account_id,
            transfers.c.created_at >= first_day * DAY_MS,
            transfers.c.created_at < end_day * DAY_MS,
        )
        .group_by(day, predictions.c.model, predictions.c.api_key_id)
    )
    return [Used(row[0], row[1], row[2] or "", spent=int(row[3])) for row in connection.execute(query).all()]
