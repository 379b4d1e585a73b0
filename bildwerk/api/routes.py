"""The route table: what is served, by whom, and who may ask. Everything else is refused."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api import account, catalog, files, health, predictions, uploads
from bildwerk.domain.account import Scope

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """`scope` None: open to everybody. `quota` names the rate limit that a request counts against."""

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    quota: str = "reads"


READ, PREDICT = Scope.READ, Scope.PREDICT
MODEL = "/api/v1/model"

ROUTES: tuple[Route, ...] = (
    Route("POST", f"{MODEL}/generateImage", predictions.generate_image, PREDICT, "submits"),
    Route("POST", f"{MODEL}/generateVideo", predictions.generate_video, PREDICT, "submits"),
    Route("POST", f"{MODEL}/generateAudio", predictions.generate_audio, PREDICT, "submits"),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}", predictions.poll, READ),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}/", predictions.poll, READ),
    Route("GET", f"{MODEL}/result/{{prediction_id}}", predictions.poll, READ),
    Route("GET", f"{MODEL}/getResult", predictions.poll_by_query, READ),
    Route("POST", f"{MODEL}/prediction/{{prediction_id}}/cancel", predictions.cancel, PREDICT),
    Route("GET", f"{MODEL}/history", predictions.history, READ),
    Route("POST", f"{MODEL}/uploadMedia", uploads.upload_media, PREDICT, "submits"),
    Route("POST", f"{MODEL}/calculate", predictions.calculate, None),
    Route("GET", "/public/v1/balance", account.balance, READ),
    Route("GET", "/public/v1/model-usage", account.model_usage, READ),
    Route("GET", "/public/v1/model-costs", account.model_costs, READ),
    Route("GET", "/api/v1/models", catalog.models, None),
    Route("GET", "/model/schema/{slug}.json", catalog.schema, None),
    Route("GET", "/model/readme/{slug}.md", catalog.readme, None),
    Route("GET", "/model/example/{slug}.json", catalog.example, None),
    Route("GET", "/files/{key:path}", files.file, None),
    Route("GET", "/healthz", health.live, None),
    Route("GET", "/readyz", health.ready, None),
    Route("GET", "/version", health.version, None),
)
