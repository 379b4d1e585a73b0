"""Handlers that describe the API, for programs and for people; made from the rows that serve it."""

import base64
import hashlib
import html
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from bildwerk.api.answers import answer
from bildwerk.api.context import Context, context_of
from bildwerk.api.loras import lora_names
from bildwerk.api.operations import operation, response_headers
from bildwerk.api.route import Route
from bildwerk.schemas.answer_schemas import answer_schemas
from bildwerk.schemas.documents import input_schema

STYLE = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}td{padding:.2em 1em .2em 0}"


async def document(request: Request) -> Response:
    context = context_of(request)
    await require_key_off_loopback(request, context)
    return answer(describe(context, request.app.state.table))


async def front(_request: Request) -> Response:
    return PlainTextResponse("the API is described on /docs\n", 307, {"Location": "/docs"})


async def page(request: Request) -> Response:
    context = context_of(request)
    await require_key_off_loopback(request, context)
    style_hash = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; frame-ancestors 'none'"
    return HTMLResponse(render(request.app.state.table), headers={"Content-Security-Policy": policy})


async def require_key_off_loopback(request: Request, context: Context) -> None:
    """Raises `Unauthorized` for whoever has no key on a server that other machines can reach."""
    if not context.settings.is_for_this_machine_only:
        await context.keys.caller(request.headers)


def describe(context: Context, table: Sequence[Route]) -> dict[str, Any]:
    specs = context.catalog.values()
    models = {component_name(spec.short_name): input_schema(spec, lora_names(context, spec)) for spec in specs}
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        path = route.path.replace(":path", "")
        paths.setdefault(path, {})[route.method.lower()] = operation(route, sorted(models))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Bildwerk", "version": version("bildwerk")},
        "servers": [{"url": context.public_url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "headers": response_headers(),
            "schemas": {**models, **answer_schemas(specs)},
        },
    }


def component_name(short_name: str) -> str:
    """`flux-schnell` as `FluxSchnellInput`."""
    return "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", short_name)) + "Input"


def render(table: Sequence[Route]) -> str:
    rows = "".join(
        f"<tr><td>{first.method}</td><td>{paths}</td><td>{html.escape(first.summary)}</td>"
        f"<td>{'open' if first.scope is None else 'key'}</td></tr>"
        for first, paths in ((same[0], "<br>".join(map(shown_path, same))) for same in grouped(table))
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Bildwerk API</title><style>{STYLE}</style>'
        f'<h1>Bildwerk API</h1><p><a href="/openapi.json">openapi.json</a></p><table>{rows}</table></html>'
    )


def shown_path(route: Route) -> str:
    return f"<code>{html.escape(route.path)}</code>"


def grouped(table: Sequence[Route]) -> Iterable[list[Route]]:
    """Routes that do the same, together. A slash more at the end of a path is no other path to a reader."""
    found: dict[tuple[str, str], list[Route]] = defaultdict(list)
    paths = {route.path for route in table}
    for route in table:
        if route.path.removesuffix("/") not in paths - {route.path}:
            found[route.method, route.summary].append(route)
    return found.values()
