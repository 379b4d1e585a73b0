"""Handlers of the catalog and of each model's documents."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from bildwerk.api.answers import answer
from bildwerk.api.context import Context, context_of
from bildwerk.api.loras import lora_names
from bildwerk.api.submission import no_such_model
from bildwerk.domain.catalog import ModelSpec
from bildwerk.schemas.catalog_envelopes import catalog_envelope, example_slug, slug
from bildwerk.schemas.documents import example_document, readme_document, schema_document

PUBLIC = {"Cache-Control": "public, max-age=300"}


async def models(request: Request) -> Response:
    context = context_of(request)
    return answer(catalog_envelope(context.catalog.values(), context.public_url), PUBLIC)


async def schema(request: Request) -> Response:
    context = context_of(request)
    spec = named(request, context, slug)
    return answer(schema_document(spec, context.public_url, lora_names(context, spec)), PUBLIC)


async def readme(request: Request) -> Response:
    context = context_of(request)
    spec = named(request, context, slug)
    text = readme_document(spec, lora_names(context, spec))
    return PlainTextResponse(text, media_type="text/markdown", headers=PUBLIC)


async def example(request: Request) -> Response:
    return answer(example_document(named(request, context_of(request), example_slug)), PUBLIC)


def named(request: Request, context: Context, slug_of: Callable[[str], str]) -> ModelSpec:
    wanted = request.path_params["slug"]
    specs = {slug_of(spec.id): spec for spec in context.catalog.values()}
    if wanted not in specs:
        raise no_such_model(wanted, list(specs))
    return specs[wanted]
