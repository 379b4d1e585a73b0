"""Are the stored pictures those that the database says they are?"""

import hashlib

from sqlalchemy import Connection, select

from bildwerk.domain.errors import FileGone
from bildwerk.store.files import Files
from bildwerk.store.invariants import MAX_EXAMPLES, Breach
from bildwerk.store.schema import outputs, predictions

MISSING = ("S1", "every picture of a prediction is stored")
DIFFERENT = ("S2", "every stored picture has the recorded length and SHA-256")


def broken_files(connection: Connection, files: Files) -> list[Breach]:
    """S1 and S2, for all pictures whose retention is not over."""
    rows = connection.execute(
        select(outputs.c.object_key, outputs.c.bytes, outputs.c.sha256)
        .join(predictions, predictions.c.id == outputs.c.prediction_id)
        .where(predictions.c.outputs_expired_at.is_(None))
        .order_by(outputs.c.object_key)
    )
    missing: list[str] = []
    different: list[str] = []
    for key, byte_count, sha256 in rows:
        try:
            data = files.get(key)
        except FileGone:
            missing.append(key)
            continue
        if len(data) != byte_count or hashlib.sha256(data).hexdigest() != sha256:
            different.append(key)
    return [
        Breach(name, sentence, len(keys), tuple(keys[:MAX_EXAMPLES]))
        for (name, sentence), keys in ((MISSING, missing), (DIFFERENT, different))
        if keys
    ]
