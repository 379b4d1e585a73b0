"""What must never happen, as queries that must return no row. Each names the rows that break it.

They are read-only and hold on a live database at every moment, but for those that `when` limits.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from bildwerk.domain.prediction import MAX_ATTEMPTS, TRANSITIONS
from bildwerk.store.ledger import REVENUE_ID

TERMINAL = "('succeeded', 'failed', 'canceled', 'expired')"
LEGAL = ", ".join(f"'{before or '-'}>{after}'" for before, after in sorted(TRANSITIONS, key=str))


class When(StrEnum):
    ALWAYS = "always"
    QUIESCENT = "quiescent"  # nobody submits and nothing runs
    KEYED = "keyed"  # every submit carried an Idempotency-Key


@dataclass(frozen=True, slots=True)
class Invariant:
    id: str
    sentence: str
    breaches: str
    """SQL whose first column names each row that breaks it."""
    when: When = When.ALWAYS


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold: how often, and the first few rows that break it."""

    id: str
    sentence: str
    count: int
    examples: tuple[str, ...]


INVARIANTS = (
    Invariant(
        "I01",
        "the legs of every transfer sum to zero",
        "SELECT transfer_id FROM entries GROUP BY transfer_id HAVING sum(amount) <> 0",
    ),
    Invariant(
        "I02",
        "every cached balance is the sum of its entries",
        """
        SELECT a.id FROM ledger_accounts a LEFT JOIN entries e ON e.ledger_account_id = a.id
        WHERE a.kind IN ('prepaid', 'held')
        GROUP BY a.id, a.balance HAVING a.balance <> coalesce(sum(e.amount), 0)
        """,
    ),
    Invariant(
        "I03",
        "no customer's balance is below zero",
        "SELECT id FROM ledger_accounts WHERE kind IN ('prepaid', 'held') AND balance < 0",
    ),
    Invariant(
        "I04",
        "every prediction has exactly one hold, of its price",
        """
        SELECT p.id FROM predictions p
        LEFT JOIN transfers t ON t.prediction_id = p.id AND t.kind = 'hold'
        LEFT JOIN entries e ON e.transfer_id = t.id AND e.ledger_account_id = p.account_id || ':held'
        GROUP BY p.id, p.price HAVING count(t.id) <> 1 OR coalesce(sum(e.amount), 0) <> p.price
        """,
    ),
    Invariant(
        "I05",
        "a prediction is settled at most once",
        """
        SELECT prediction_id FROM transfers WHERE kind IN ('capture', 'release')
        GROUP BY prediction_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I06",
        "a prediction is settled exactly when it has ended",
        f"""
        SELECT p.id FROM predictions p
        LEFT JOIN transfers t ON t.prediction_id = p.id AND t.kind IN ('capture', 'release')
        WHERE (p.status IN {TERMINAL}) <> (t.id IS NOT NULL)
        """,
    ),
    Invariant(
        "I07",
        "what succeeded is captured and nothing else is",
        """
        SELECT p.id FROM predictions p
        JOIN transfers t ON t.prediction_id = p.id AND t.kind IN ('capture', 'release')
        WHERE (p.status = 'succeeded') <> (t.kind = 'capture')
        """,
    ),
    Invariant(
        "I08",
        "a settlement moves exactly the price out of held",
        """
        SELECT t.id FROM transfers t JOIN predictions p ON p.id = t.prediction_id
        LEFT JOIN entries e ON e.transfer_id = t.id AND e.ledger_account_id = p.account_id || ':held'
        WHERE t.kind IN ('capture', 'release') AND coalesce(e.amount, 0) <> -p.price
        """,
    ),
    Invariant(
        "I09",
        "an account's held balance is the price of its open predictions",
        """
        SELECT a.id FROM ledger_accounts a
        LEFT JOIN predictions p ON p.account_id = a.account_id AND p.status IN ('queued', 'running')
        WHERE a.kind = 'held'
        GROUP BY a.id, a.balance HAVING a.balance <> coalesce(sum(p.price), 0)
        """,
    ),
    Invariant(
        "I10",
        "revenue is the price of all that succeeded, less refunds",
        f"""
        SELECT 'revenue' WHERE (
            SELECT coalesce(sum(e.amount), 0) FROM entries e JOIN transfers t ON t.id = e.transfer_id
            WHERE e.ledger_account_id = '{REVENUE_ID}' AND t.kind NOT IN ('refund', 'adjust')
        ) <> (SELECT coalesce(sum(price), 0) FROM predictions WHERE status = 'succeeded')
        """,
    ),
    Invariant(
        "I11",
        "what succeeded has exactly its pictures",
        """
        SELECT p.id FROM predictions p LEFT JOIN outputs o ON o.prediction_id = p.id
        WHERE p.status = 'succeeded'
        GROUP BY p.id, p.images HAVING count(o.idx) <> p.images
        """,
    ),
    Invariant(
        "I12",
        "what did not succeed has no pictures",
        """
        SELECT DISTINCT p.id FROM predictions p JOIN outputs o ON o.prediction_id = p.id WHERE p.status <> 'succeeded'
        """,
    ),
    Invariant(
        "I13",
        "pictures are those of the claim that won",
        """
        SELECT o.object_key FROM outputs o JOIN predictions p ON p.id = o.prediction_id WHERE o.claim_no <> p.claim_no
        """,
    ),
    Invariant(
        "I14",
        "a picture lies under its own account and prediction",
        """
        SELECT o.object_key FROM outputs o JOIN predictions p ON p.id = o.prediction_id
        WHERE substr(o.object_key, 1, length('outputs/' || p.account_id || '/' || p.id || '/'))
            <> 'outputs/' || p.account_id || '/' || p.id || '/'
        """,
    ),
    Invariant(
        "I15",
        "what has ended has exactly one event, of that status, and what is open has none",
        f"""
        SELECT p.id FROM predictions p LEFT JOIN events v ON v.prediction_id = p.id
        GROUP BY p.id, p.status
        HAVING count(v.id) <> CASE WHEN p.status IN {TERMINAL} THEN 1 ELSE 0 END
            OR coalesce(max(v.kind), p.status) <> p.status
        """,
    ),
    Invariant(
        "I16",
        "the history of a prediction is an unbroken chain from its submission",
        """
        SELECT h.prediction_id FROM history h
        LEFT JOIN history b ON b.prediction_id = h.prediction_id AND b.seq = h.seq - 1
        WHERE coalesce(b.to_status, '-') <> coalesce(h.from_status, '-')
        """,
    ),
    Invariant(
        "I17",
        "every step of a history is a legal transition",
        f"""
        SELECT prediction_id FROM history WHERE coalesce(from_status, '-') || '>' || to_status NOT IN ({LEGAL})
        """,
    ),
    Invariant(
        "I18",
        "a prediction's status is the last one of its history",
        """
        SELECT p.id FROM predictions p
        LEFT JOIN history h ON h.prediction_id = p.id
            AND h.seq = (SELECT max(seq) FROM history x WHERE x.prediction_id = p.id)
        WHERE h.to_status IS NULL OR h.to_status <> p.status
        """,
    ),
    Invariant(
        "I19",
        "an idempotency key names one prediction of its own account",
        """
        SELECT i.key FROM idempotency_keys i JOIN predictions p ON p.id = i.prediction_id
        WHERE p.account_id <> i.account_id
        UNION SELECT max(key) FROM idempotency_keys GROUP BY prediction_id HAVING count(*) > 1
        """,
    ),
    Invariant(
        "I19",
        "every prediction has its idempotency key",
        """
        SELECT p.id FROM predictions p LEFT JOIN idempotency_keys i ON i.prediction_id = p.id
        WHERE i.prediction_id IS NULL
        """,
        When.KEYED,
    ),
    Invariant(
        "I20",
        "nothing is open",
        "SELECT id FROM predictions WHERE status IN ('queued', 'running')",
        When.QUIESCENT,
    ),
    Invariant(
        "I21",
        "no prediction has used up more attempts than it may, or has more attempts than claims",
        f"SELECT id FROM predictions WHERE attempts > {MAX_ATTEMPTS} OR attempts > claim_no",
    ),
)

MAX_EXAMPLES = 5


def broken(connection: Connection, conditions: frozenset[When] = frozenset()) -> list[Breach]:
    """Those invariants that do not hold. `conditions` says which of the limited ones may be asked, too."""
    asked = (invariant for invariant in INVARIANTS if invariant.when in (When.ALWAYS, *conditions))
    return [breach for invariant in asked if (breach := examine(connection, invariant)) is not None]


def examine(connection: Connection, invariant: Invariant) -> Breach | None:
    rows = [str(row[0]) for row in connection.exec_driver_sql(invariant.breaches)]
    if not rows:
        return None
    return Breach(invariant.id, invariant.sentence, len(rows), tuple(rows[:MAX_EXAMPLES]))
