"""The ASGI application made of the route table: each handler behind its access check, each error in its envelope."""

from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Lifespan, Message

from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.edge import Edge
from bildwerk.api.errors import error_response
from bildwerk.api.route import Body, Handler, Route
from bildwerk.api.routes import ROUTES
from bildwerk.domain.account import Scope
from bildwerk.domain.errors import BildwerkError, InsufficientBalance, InternalError, MethodNotAllowed, NotFound

log = structlog.get_logger("bildwerk.api")


def build_application(context: Context, lifespan: Lifespan[Starlette]) -> Edge:
    """The application inside the `Edge` that every request passes first."""
    app = Starlette(
        routes=[StarletteRoute(route.path, endpoint(route), methods=[route.method]) for route in ROUTES],
        exception_handlers={BildwerkError: explain, HTTPException: explain_routing, Exception: admit},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = context
    app.state.table = ROUTES
    return Edge(app, allowed_hosts(context))


def endpoint(route: Route) -> Handler:
    handler = route.handler if route.contract.body is Body.NONE else within_budget(route.handler)
    return handler if route.scope is None else guarded(route, route.scope, handler)


def guarded(route: Route, scope: Scope, handler: Handler) -> Handler:
    """`handler`, run only for those who may and not more often than they may."""

    async def handle(request: Request) -> Response:
        context = context_of(request)
        caller = await context.keys.caller(request.headers)
        request.state.caller = caller
        caller.require(scope)
        allowance = context.limiter.take(caller.key.id, route.quota)
        request.state.rate_headers = allowance.headers
        allowance.require()
        response = await handler(request)
        response.headers.update(allowance.headers)
        return response

    return handle


def within_budget(handler: Handler) -> Handler:
    """`handler`, whose request's body counts from when it is received until the answer is made."""

    async def handle(request: Request) -> Response:
        with context_of(request).bodies.share() as share:

            async def receive() -> Message:
                message = await request.receive()
                share.take(len(message.get("body", b"")))
                return message

            return await handler(Request(request.scope, receive))

    return handle


async def explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, BildwerkError)
    if isinstance(error, InsufficientBalance):
        tell_operator(request)
    response = error_response(request, error)
    response.headers.update(getattr(request.state, "rate_headers", {}))
    return response


def tell_operator(request: Request) -> None:
    """What mends an empty account. It is said in the log alone: the client's answer is no place for it."""
    account_id = caller_of(request).account_id
    log.warning("insufficient balance", account=account_id, mended_by=f"bildwerk accounts top-up {account_id} AMOUNT")


async def admit(request: Request, _error: Exception) -> Response:
    """A defect of ours. Starlette raises it again once this is sent, so that `Edge` logs it."""
    return await explain(request, InternalError())


async def explain_routing(request: Request, error: Exception) -> Response:
    """No such route, or not with this verb. Whoever has no key is not told which routes there are."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        response = error_response(request, MethodNotAllowed())
        response.headers.update(error.headers or {})
        return response
    try:
        await context_of(request).keys.caller(request.headers)
    except BildwerkError as refused:
        return error_response(request, refused)
    return error_response(request, NotFound())


def allowed_hosts(context: Context) -> frozenset[str]:
    """The host names that requests may be addressed to; a page that rebinds its own name to us is none of them."""
    public = urlsplit(context.public_url).hostname or ""
    return frozenset({"localhost", "127.0.0.1", "[::1]", f"[{public}]" if ":" in public else public} - {""})
