"""Reading predictions: by id, by account, by page; and counts for the limits. Nothing here changes a status."""

import json
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, select

from bildwerk.domain.prediction import FailureCode, Output, Prediction, Status
from bildwerk.store.schema import IS_QUEUED, outputs, predictions
from bildwerk.store.statement import Statement

BY_ID = Statement(select(predictions).where(predictions.c.id == bindparam("wanted")))
OUTPUTS = Statement(
    select(outputs).where(outputs.c.prediction_id == bindparam("prediction_id")).order_by(outputs.c.idx)
)

QUEUED_IN_ALL = select(func.count()).select_from(predictions).where(IS_QUEUED)
QUEUED = Statement(
    select(
        QUEUED_IN_ALL.where(predictions.c.account_id == bindparam("account_id")).scalar_subquery().label("own"),
        QUEUED_IN_ALL.scalar_subquery().label("in_all"),
    )
)


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which of an account's predictions: newest first, `size` on page `number` (from 1); perhaps but one."""

    number: int = 1
    size: int = 20
    model: str | None = None
    prediction_id: str | None = None
    statuses: frozenset[Status] | None = None


def find(connection: Connection, prediction_id: str) -> Prediction | None:
    """The prediction with its outputs, whoever it belongs to."""
    row = BY_ID.row(connection, {"wanted": prediction_id})
    return None if row is None else read_whole(connection, row)


def find_of_account(connection: Connection, account_id: str, prediction_id: str) -> Prediction | None:
    """The prediction if it is the account's own; another's is the same as none."""
    found = find(connection, prediction_id)
    return found if found is not None and found.account_id == account_id else None


def find_outputs(connection: Connection, prediction_id: str) -> tuple[Output, ...]:
    return tuple(read_output(row) for row in OUTPUTS.rows(connection, {"prediction_id": prediction_id}))


def find_output(connection: Connection, object_key: str) -> Output | None:
    row = connection.execute(select(outputs).where(outputs.c.object_key == object_key)).one_or_none()
    return None if row is None else read_output(row)


def page(connection: Connection, account_id: str, wanted: HistoryFilter) -> tuple[list[Prediction], int]:
    """One page of an account's predictions, newest first, and how many there are on all pages."""
    condition = matches(account_id, wanted)
    total = connection.execute(select(func.count()).select_from(predictions).where(condition)).scalar_one()
    rows = connection.execute(
        select(predictions)
        .where(condition)
        .order_by(predictions.c.created_at.desc(), predictions.c.id.desc())
        .limit(wanted.size)
        .offset((wanted.number - 1) * wanted.size)
    ).all()
    return [read_whole(connection, row) for row in rows], int(total)


def matches(account_id: str, wanted: HistoryFilter) -> ColumnElement[bool]:
    conditions = [predictions.c.account_id == account_id]
    if wanted.model is not None:
        conditions.append(predictions.c.model == wanted.model)
    if wanted.prediction_id is not None:
        conditions.append(predictions.c.id == wanted.prediction_id)
    if wanted.statuses is not None:
        conditions.append(predictions.c.status.in_(sorted(wanted.statuses)))
    return and_(*conditions)


def count_queued(connection: Connection, account_id: str) -> tuple[int, int]:
    """How many wait, of one account and of all."""
    ((own, all_),) = QUEUED.rows(connection, {"account_id": account_id})
    return own, all_


def read_whole(connection: Connection, row: Row[Any]) -> Prediction:
    """The prediction of a row, with its outputs, which are there when it has succeeded and never change."""
    found = read_row(row)
    if found.status is not Status.SUCCEEDED:
        return found
    return replace(found, outputs=find_outputs(connection, row.id))


def read_row(row: Row[Any]) -> Prediction:
    return Prediction(
        id=row.id,
        account_id=row.account_id,
        model=row.model,
        status=Status(row.status),
        claim_no=row.claim_no,
        attempts=row.attempts,
        cancel_requested=bool(row.cancel_requested),
        price=row.price,
        images=row.images,
        input=json.loads(row.input),
        request_body=row.request_body,
        as_base64=bool(row.as_base64),
        warnings=(*json.loads(row.warnings), *json.loads(row.engine_warnings)),
        submit_warnings=tuple(json.loads(row.warnings)),
        error_code=FailureCode(row.error_code) if row.error_code else None,
        error=row.error,
        timings=json.loads(row.timings),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outputs_expire_at=row.outputs_expire_at,
    )


def read_output(row: Row[Any]) -> Output:
    return Output(
        index=row.idx,
        claim_no=row.claim_no,
        object_key=row.object_key,
        sha256=row.sha256,
        byte_count=row.bytes,
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        seed=row.seed,
    )
