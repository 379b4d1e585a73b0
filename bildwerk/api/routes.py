"""The route table: what is served, by whom, and who may ask. Everything else is refused."""

from bildwerk.api import account, catalog, contracts, events, files, health, openapi, predictions, uploads
from bildwerk.api.route import Route
from bildwerk.domain.account import Scope

READ, PREDICT = Scope.READ, Scope.PREDICT
MODEL = "/api/v1/model"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{MODEL}/generateImage",
        predictions.generate_image,
        PREDICT,
        "Submit an image prediction",
        contracts.SUBMIT,
        "submits",
    ),
    Route(
        "POST",
        f"{MODEL}/generateVideo",
        predictions.generate_video,
        PREDICT,
        "Submit a video prediction",
        contracts.SUBMIT_OTHER,
        "submits",
    ),
    Route(
        "POST",
        f"{MODEL}/generateAudio",
        predictions.generate_audio,
        PREDICT,
        "Submit an audio prediction",
        contracts.SUBMIT_OTHER,
        "submits",
    ),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}", predictions.poll, READ, "Read a prediction", contracts.POLL),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}/", predictions.poll, READ, "Read a prediction", contracts.POLL),
    Route("GET", f"{MODEL}/result/{{prediction_id}}", predictions.poll, READ, "Read a prediction", contracts.POLL),
    Route("GET", f"{MODEL}/getResult", predictions.poll_by_query, READ, "Read a prediction", contracts.POLL_BY_QUERY),
    Route(
        "GET",
        f"{MODEL}/prediction/{{prediction_id}}/events",
        events.events,
        READ,
        "Follow a prediction's progress",
        contracts.EVENTS,
    ),
    Route(
        "POST",
        f"{MODEL}/prediction/{{prediction_id}}/cancel",
        predictions.cancel,
        PREDICT,
        "Cancel a prediction",
        contracts.CANCEL,
    ),
    Route("GET", f"{MODEL}/history", predictions.history, READ, "List your own predictions", contracts.HISTORY),
    Route(
        "POST", f"{MODEL}/uploadMedia", uploads.upload_media, PREDICT, "Upload a picture", contracts.UPLOAD, "submits"
    ),
    Route(
        "POST",
        f"{MODEL}/calculate",
        predictions.calculate,
        None,
        "Price a request without running it",
        contracts.CALCULATE,
    ),
    Route("GET", "/public/v1/balance", account.balance, READ, "Read your balance", contracts.BALANCE),
    Route("GET", "/public/v1/model-usage", account.model_usage, READ, "Count your predictions by day", contracts.USAGE),
    Route("GET", "/public/v1/model-costs", account.model_costs, READ, "Sum your costs by day", contracts.COSTS),
    Route("GET", "/api/v1/models", catalog.models, None, "List the models", contracts.CATALOG),
    Route("GET", "/model/schema/{slug}.json", catalog.schema, None, "Read a model's schema", contracts.MODEL_SCHEMA),
    Route("GET", "/model/readme/{slug}.md", catalog.readme, None, "Read a model's description", contracts.MODEL_README),
    Route(
        "GET",
        "/model/example/{slug}.json",
        catalog.example,
        None,
        "Read an example request of a model",
        contracts.MODEL_EXAMPLE,
    ),
    Route("GET", "/files/{key:path}", files.file, None, "Read a stored picture by its signed URL", contracts.FILE),
    Route("GET", "/healthz", health.live, None, "Is the server alive?", contracts.LIVE),
    Route("GET", "/readyz", health.ready, None, "Can the server make pictures now?", contracts.READY),
    Route("GET", "/version", health.version, None, "Which version is this?", contracts.VERSION),
    Route("GET", "/", openapi.front, None, "Go to the page that describes the API", contracts.FRONT),
    Route("GET", "/openapi.json", openapi.document, None, "Read this description of the API", contracts.DESCRIPTION),
    Route("GET", "/docs", openapi.page, None, "Read this description of the API as a page", contracts.PAGE),
)
