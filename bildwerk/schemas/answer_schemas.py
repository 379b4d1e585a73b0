"""The schema of every answer, read off what the envelopes' own functions make of samples."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bildwerk.domain.account import Account, Balance
from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.errors import InvalidParameter, Unauthorized
from bildwerk.domain.prediction import FailureCode, Output, Prediction, Status
from bildwerk.schemas.account_envelopes import (
    balance_envelope,
    bucket,
    bucket_list_envelope,
    money,
    price_envelope,
    upload_envelope,
)
from bildwerk.schemas.catalog_envelopes import catalog_envelope
from bildwerk.schemas.documents import example_document, prediction_schema, schema_document
from bildwerk.schemas.error_envelopes import error_envelope, openai_error_envelope
from bildwerk.schemas.inference import schema_of
from bildwerk.schemas.prediction_envelopes import history_envelope
from bildwerk.schemas.server_envelopes import live_envelope, ready_envelope, version_envelope

URL = "https://pictures.example"
REFUSALS = ((400, InvalidParameter("…", param="size")), (401, Unauthorized()))
GROUPED = {"model": "…", "model_type": "image", "api_key": "ak_…"}
WAITING = Prediction(
    id="pred_…",
    account_id="acc_…",
    model="…",
    status=Status.QUEUED,
    claim_no=0,
    attempts=0,
    cancel_requested=False,
    price=3000,
    images=1,
    input={"seed": 1},
    request_body="{}",
    as_base64=False,
    warnings=("…",),
    submit_warnings=("…",),
    error_code=None,
    error="",
    timings={},
    created_at=0,
    started_at=None,
    finished_at=None,
    outputs_expire_at=None,
)
FAILED = replace(WAITING, status=Status.FAILED, error_code=FailureCode.WORKER_LOST, error="…", finished_at=1)
PICTURE = Output(0, 1, "outputs/…", "…", 1, "image/png", 64, 64, 1)
MADE = replace(WAITING, status=Status.SUCCEEDED, started_at=0, finished_at=1, outputs=(PICTURE,))


def answer_schemas(specs: Iterable[ModelSpec]) -> dict[str, dict[str, Any]]:
    """By the name that a route's contract gives it. `specs` are the models of the catalog."""
    models = list(specs)
    return {
        "Error": schema_of(*(error_envelope(status, error, "req_…") for status, error in REFUSALS)),
        "OpenAIError": schema_of(*(openai_error_envelope(status, error, "req_…") for status, error in REFUSALS)),
        "Prediction": prediction_schema(),
        "History": schema_of(history_envelope(history_rows(), URL, page=1, size=20, total=3)),
        "Upload": schema_of(upload_envelope(f"{URL}/files/…", "a.png", "image/png", 1)),
        "Price": schema_of(price_envelope(3000)),
        "Balance": schema_of(balance_envelope(Account("acc_…", "…", 0), Balance(1, 1), "req_…")),
        "Usage": schema_of(*buckets({"requests": 1, "images": 1})),
        "Costs": schema_of(*buckets({"amount": money(1)})),
        "Catalog": schema_of(catalog_envelope(models, URL)),
        "ModelSchema": schema_of(*(schema_document(spec, URL) for spec in models)),
        "ModelExample": schema_of(*(example_document(spec) for spec in models)),
        "Live": schema_of(live_envelope()),
        "Ready": schema_of(*(ready_envelope(is_ok, [], ["…"]) for is_ok in (True, False))),
        "Version": schema_of(version_envelope("0.1.0")),
    }


def history_rows() -> list[tuple[Prediction, list[str]]]:
    return [(WAITING, []), (FAILED, []), (MADE, [f"{URL}/files/…"])]


def buckets(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """A list of buckets whose results are grouped by everything, and one of results that are not grouped."""
    return [
        bucket_list_envelope([bucket("2026-01-01", "2026-01-02", [result], partial=False)], "req_…", next_page=page)
        for result, page in ((figures | GROUPED, "1"), (figures, None))
    ]
