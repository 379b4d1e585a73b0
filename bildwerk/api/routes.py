"""The route table: what is served, by whom, and who may ask. Everything else is refused."""

from bildwerk.api import account, catalog, events, files, health, openapi, predictions, uploads
from bildwerk.api.route import Route
from bildwerk.domain.account import Scope

READ, PREDICT = Scope.READ, Scope.PREDICT
MODEL = "/api/v1/model"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST", f"{MODEL}/generateImage", predictions.generate_image, PREDICT, "Submit an image prediction", "submits"
    ),
    Route(
        "POST", f"{MODEL}/generateVideo", predictions.generate_video, PREDICT, "Submit a video prediction", "submits"
    ),
    Route(
        "POST", f"{MODEL}/generateAudio", predictions.generate_audio, PREDICT, "Submit an audio prediction", "submits"
    ),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}", predictions.poll, READ, "Read a prediction"),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}/", predictions.poll, READ, "Read a prediction"),
    Route("GET", f"{MODEL}/result/{{prediction_id}}", predictions.poll, READ, "Read a prediction"),
    Route("GET", f"{MODEL}/getResult", predictions.poll_by_query, READ, "Read a prediction"),
    Route("GET", f"{MODEL}/prediction/{{prediction_id}}/events", events.events, READ, "Follow a prediction's progress"),
    Route("POST", f"{MODEL}/prediction/{{prediction_id}}/cancel", predictions.cancel, PREDICT, "Cancel a prediction"),
    Route("GET", f"{MODEL}/history", predictions.history, READ, "List your own predictions"),
    Route("POST", f"{MODEL}/uploadMedia", uploads.upload_media, PREDICT, "Upload a picture", "submits"),
    Route("POST", f"{MODEL}/calculate", predictions.calculate, None, "Price a request without running it"),
    Route("GET", "/public/v1/balance", account.balance, READ, "Read your balance"),
    Route("GET", "/public/v1/model-usage", account.model_usage, READ, "Count your predictions by day"),
    Route("GET", "/public/v1/model-costs", account.model_costs, READ, "Sum your costs by day"),
    Route("GET", "/api/v1/models", catalog.models, None, "List the models"),
    Route("GET", "/model/schema/{slug}.json", catalog.schema, None, "Read a model's schema"),
    Route("GET", "/model/readme/{slug}.md", catalog.readme, None, "Read a model's description"),
    Route("GET", "/model/example/{slug}.json", catalog.example, None, "Read an example request of a model"),
    Route("GET", "/files/{key:path}", files.file, None, "Read a stored picture by its signed URL"),
    Route("GET", "/healthz", health.live, None, "Is the server alive?"),
    Route("GET", "/readyz", health.ready, None, "Can the server make pictures now?"),
    Route("GET", "/version", health.version, None, "Which version is this?"),
    Route("GET", "/openapi.json", openapi.document, None, "Read this description of the API"),
    Route("GET", "/docs", openapi.page, None, "Read this description of the API as a page"),
)
