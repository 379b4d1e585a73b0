"""A row of the route table as an operation of OpenAPI 3.1."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bildwerk.api.errors import OPENAI_PREFIXES, status_of
from bildwerk.api.route import Body, Route
from bildwerk.domain import errors
from bildwerk.domain.errors import BildwerkError, TooManyRequests, Unavailable
from bildwerk.schemas.documents import json_content, property_schema
from bildwerk.schemas.parameter import Parameter

OF_EVERY_ROUTE: tuple[type[BildwerkError], ...] = (errors.BadHost, errors.InvalidHeader, errors.InternalError)
BEHIND_A_KEY: tuple[type[BildwerkError], ...] = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.RateLimited,
    errors.StorageUnavailable,
)
LIST_MARK = "[]"
HEADERS = {
    "RequestId": ("The request's id, for questions about it.", "string"),
    "RetryAfter": ("Seconds until it is worth another try.", "integer"),
    "RateLimit": ("What is left of the key's requests, and until when.", "string"),
    "RateLimitPolicy": ("How many requests the key may send in which time.", "string"),
}


def response_headers() -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": kind}} for name, (description, kind) in HEADERS.items()
    }


def operation(route: Route, models: Sequence[str]) -> dict[str, Any]:
    """`models` are the names of the input schemas of the image models."""
    name = route.path.strip("/").replace("/", "_") + ("_" if route.path.endswith("/") else "")
    found: dict[str, Any] = {
        "operationId": re.sub(r"[^A-Za-z0-9_]", "", f"{route.method.lower()}_{name}"),
        "summary": route.summary,
        "security": [] if route.scope is None else [{"bearer": []}],
        "parameters": parameters(route),
        "responses": responses(route),
    }
    body = request_body(route.contract.body, models)
    return found | ({} if body is None else {"requestBody": body})


def parameters(route: Route) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", route.path)
    ]
    query = [described(row, name, "query") for row in route.contract.query for name in row.names]
    return [*named, *query, *(described(row, row.name, "header") for row in route.contract.headers)]


def described(row: Parameter, name: str, place: str) -> dict[str, Any]:
    """One name of a row; the others besides the first are its synonyms."""
    schema = {key: value for key, value in property_schema(row).items() if key != "description"}
    is_synonym = name != row.name
    text = f"The same as {row.name}." if is_synonym else row.description
    found: dict[str, Any] = {"name": name, "in": place, "description": text, "schema": schema}
    if row.name.endswith(LIST_MARK):
        found |= {"schema": {"type": "array", "items": schema}, "style": "form", "explode": True}
    return found | ({"required": True} if row.required and not is_synonym else {})


def request_body(body: Body, models: Sequence[str]) -> dict[str, Any] | None:
    if body is Body.NONE:
        return None
    if body is Body.FILE:
        file = {"type": "object", "required": ["file"], "properties": {"file": {"contentMediaType": "image/*"}}}
        return {"required": True, "content": {"multipart/form-data": {"schema": file}}}
    flat = [{"$ref": f"#/components/schemas/{model}"} for model in models] if body is Body.REQUEST else [named_model()]
    return {"required": True, "content": {"application/json": {"schema": {"anyOf": [*flat, nested()]}}}}


def named_model() -> dict[str, Any]:
    return {"type": "object", "required": ["model"], "properties": {"model": {"type": "string"}}}


def nested() -> dict[str, Any]:
    """The same with the parameters in `input`, which go before those beside it."""
    return {
        "type": "object",
        "required": ["input"],
        "properties": {"model": {"type": "string"}, "input": {"type": "object"}},
    }


def responses(route: Route) -> dict[str, Any]:
    contract = route.contract
    good = {status: good_response(route, text) for status, text in (contract.status, *contract.others)}
    for status in (204, 304):
        if status in good:
            good[status].pop("content", None)
    every = {**refusals(route), **good}
    return {str(status): every[status] for status in sorted(every)}


def good_response(route: Route, text: str) -> dict[str, Any]:
    contract = route.contract
    kinds: dict[str, Any] = {kind: {} for kind in contract.media_types}
    content = json_content(contract.answer) if contract.answer else kinds
    return {"description": text, "headers": headers_of(route), "content": content}


def refusals(route: Route) -> dict[int, dict[str, Any]]:
    """By status: which errors it stands for here, in the envelope of the route's clients."""
    envelope = "OpenAIError" if route.path.startswith(OPENAI_PREFIXES) else "Error"
    codes: dict[int, list[type[BildwerkError]]] = defaultdict(list)
    for error in dict.fromkeys(possible_errors(route)):
        codes[status_of(error())].append(error)
    return {
        status: {
            "description": "; ".join(f"{error.code}: {error.default_message}" for error in found),
            "headers": headers_of(route, has_retry=issubclass(found[0], TooManyRequests | Unavailable)),
            "content": json_content(envelope),
        }
        for status, found in codes.items()
    }


def possible_errors(route: Route) -> list[type[BildwerkError]]:
    checked = [errors.InvalidParameter] if route.contract.query else []
    guarded = BEHIND_A_KEY if route.scope is not None else ()
    return [*OF_EVERY_ROUTE, *guarded, *checked, *route.contract.errors]


def headers_of(route: Route, *, has_retry: bool = False) -> dict[str, Any]:
    names = {"X-Request-ID": "RequestId"}
    if route.scope is not None:
        names |= {"RateLimit": "RateLimit", "RateLimit-Policy": "RateLimitPolicy"}
    if has_retry:
        names |= {"Retry-After": "RetryAfter"}
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in names.items()}
