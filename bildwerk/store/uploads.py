"""The rows of uploads: which pictures an account has sent, how much room they take, and which are past their end."""

from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from bildwerk.domain.upload import Upload
from bildwerk.store.schema import uploads


def add(connection: Connection, upload: Upload) -> None:
    connection.execute(
        insert(uploads).values(
            id=upload.id,
            account_id=upload.account_id,
            object_key=upload.object_key,
            file_name=upload.file_name,
            media_type=upload.media_type,
            bytes=upload.byte_count,
            sha256=upload.sha256,
            width=upload.width,
            height=upload.height,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
        )
    )


def find_by_key(connection: Connection, object_key: str) -> Upload | None:
    row = connection.execute(select(uploads).where(uploads.c.object_key == object_key)).one_or_none()
    return None if row is None else read_row(row)


def byte_count(connection: Connection, account_id: str) -> int:
    """The bytes that all uploads of an account take together."""
    query = select(func.coalesce(func.sum(uploads.c.bytes), 0)).where(uploads.c.account_id == account_id)
    return int(connection.execute(query).scalar_one())


def remove_expired(connection: Connection, now: int, most: int) -> list[str]:
    """Forget uploads past their end, `most` at a time; their object keys."""
    due = select(uploads.c.id).where(uploads.c.expires_at <= now).limit(most)
    rows = connection.execute(delete(uploads).where(uploads.c.id.in_(due)).returning(uploads.c.object_key))
    return [row.object_key for row in rows]


def read_row(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        account_id=row.account_id,
        object_key=row.object_key,
        file_name=row.file_name,
        media_type=row.media_type,
        byte_count=row.bytes,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
