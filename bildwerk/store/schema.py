"""The tables. What must never happen is a constraint here, so that no code above can make it happen.

Times are integer milliseconds since 1970 (UTC), money is integer micro-dollars, ids are opaque text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from bildwerk.domain.prediction import MAX_ATTEMPTS

metadata = MetaData()


def _id(name: str, to: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, ForeignKey(to), nullable=nullable)


accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    _id("account_id", "accounts.id"),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("last4", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    _id("account_id", "accounts.id", nullable=True),
    Column("kind", Text, nullable=False),
    Column("balance", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("kind IN ('prepaid', 'held', 'funding', 'revenue')", name="known_kind"),
    CheckConstraint("(account_id IS NULL) = (kind IN ('funding', 'revenue'))", name="house_accounts_have_no_customer"),
    CheckConstraint("kind IN ('funding', 'revenue') OR balance >= 0", name="balance_never_negative"),
    CheckConstraint("kind NOT IN ('funding', 'revenue') OR balance = 0", name="house_accounts_cache_no_balance"),
    UniqueConstraint("account_id", "kind"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    _id("account_id", "accounts.id"),
    _id("api_key_id", "api_keys.id", nullable=True),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("claim_no", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("worker", Text),
    Column("lease_until", BigInteger),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("not_before", BigInteger, nullable=False, server_default=text("0")),
    Column("queue_ends_at", BigInteger, nullable=False),
    Column("cancel_at", BigInteger),
    Column("price", BigInteger, nullable=False),
    Column("images", Integer, nullable=False),
    Column("batch_key", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("request_body", Text, nullable=False),
    Column("as_base64", Boolean, nullable=False, server_default=false()),
    Column("object_hours", Integer, nullable=False),
    Column("request_hours", Integer),
    Column("webhook_url", Text),
    Column("warnings", Text, nullable=False, server_default=text("'[]'")),
    Column("engine_warnings", Text, nullable=False, server_default=text("'[]'")),
    Column("error_code", Text),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("timings", Text, nullable=False, server_default=text("'{}'")),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("outputs_expire_at", BigInteger),
    Column("outputs_expired_at", BigInteger),
    Column("request_erased_at", BigInteger),
    CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')", name="known_status"
    ),
    CheckConstraint("(status = 'running') = (worker IS NOT NULL)", name="running_has_a_worker"),
    CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="running_has_a_lease"),
    CheckConstraint("(status IN ('queued', 'running')) = (finished_at IS NULL)", name="terminal_has_an_end"),
    CheckConstraint(f"attempts BETWEEN 0 AND {MAX_ATTEMPTS}", name="attempts_within_limit"),
    CheckConstraint("price >= 0 AND images > 0", name="price_and_images"),
    Index("predictions_by_account", "account_id", "created_at", "id"),
)

IS_QUEUED, IS_RUNNING = text("status = 'queued'"), text("status = 'running'")
"""The conditions of two indexes. A query that has a parameter in place of the status is planned anew each time."""

Index(
    "predictions_waiting",
    predictions.c.account_id,
    predictions.c.created_at,
    predictions.c.id,
    sqlite_where=IS_QUEUED,
    postgresql_where=IS_QUEUED,
)
Index(
    "predictions_running",
    predictions.c.lease_until,
    sqlite_where=IS_RUNNING,
    postgresql_where=IS_RUNNING,
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    _id("prediction_id", "predictions.id", nullable=True),
    Column("claim_no", Integer),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("request_id", Text, nullable=False, server_default=text("''")),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("kind IN ('topup', 'hold', 'capture', 'release', 'refund', 'adjust')", name="known_kind"),
    CheckConstraint(
        "kind NOT IN ('hold', 'capture', 'release') OR prediction_id IS NOT NULL", name="holds_name_a_prediction"
    ),
)

Index(
    "one_hold",
    transfers.c.prediction_id,
    unique=True,
    sqlite_where=text("kind = 'hold'"),
    postgresql_where=text("kind = 'hold'"),
)
Index(
    "one_settlement",
    transfers.c.prediction_id,
    unique=True,
    sqlite_where=text("kind IN ('capture', 'release')"),
    postgresql_where=text("kind IN ('capture', 'release')"),
)

entries = Table(
    "entries",
    metadata,
    _id("transfer_id", "transfers.id"),
    _id("ledger_account_id", "ledger_accounts.id"),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("transfer_id", "ledger_account_id"),
    CheckConstraint("amount <> 0", name="no_empty_leg"),
    Index("entries_by_ledger_account", "ledger_account_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _id("account_id", "accounts.id"),
    Column("key", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    _id("prediction_id", "predictions.id"),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "key"),
    Index("idempotency_keys_by_age", "created_at"),
)

outputs = Table(
    "outputs",
    metadata,
    _id("prediction_id", "predictions.id"),
    Column("idx", Integer, nullable=False),
    Column("claim_no", Integer, nullable=False),
    Column("object_key", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    PrimaryKeyConstraint("prediction_id", "idx"),
)

history = Table(
    "history",
    metadata,
    _id("prediction_id", "predictions.id"),
    Column("seq", Integer, nullable=False),
    Column("from_status", Text),
    Column("to_status", Text, nullable=False),
    Column("claim_no", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("prediction_id", "seq"),
)

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    _id("prediction_id", "predictions.id"),
    Column("kind", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("prediction_id"),
)
"""One event for each prediction that has ended: what a webhook will announce."""

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    _id("account_id", "accounts.id"),
    Column("object_key", Text, nullable=False, unique=True),
    Column("file_name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("uploads_by_account", "account_id"),
)
