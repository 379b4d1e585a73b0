"""Handlers of the account: its balance, and what was used and spent on which day."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from bildwerk.api.answers import answer
from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.usage_query import UsageQuery, date_of, read_usage_query, today
from bildwerk.domain.errors import Unauthorized
from bildwerk.schemas.account_envelopes import balance_envelope, bucket, bucket_list_envelope, money
from bildwerk.store import accounts, ledger, usage
from bildwerk.store.usage import Used

Row = tuple[int, dict[str, Any]]
Read = Callable[[Connection, str, int, int], list[Used]]


async def balance(request: Request) -> Response:
    context, account_id = context_of(request), caller_of(request).account_id
    account = await context.database.read(lambda connection: accounts.get(connection, account_id))
    if account is None:
        raise Unauthorized()
    held = await context.database.read(lambda connection: ledger.balance(connection, account_id))
    return answer(balance_envelope(account, held, request.state.request_id))


async def model_usage(request: Request) -> Response:
    return await buckets(request, usage.requests_and_images, counts)


async def model_costs(request: Request) -> Response:
    return await buckets(request, usage.money_spent, costs)


async def buckets(request: Request, read: Read, figures: Callable[[Sequence[Used]], dict[str, Any]]) -> Response:
    """Daily buckets of what `read` finds, each group's rows summed up by `figures`."""
    context, caller, query = context_of(request), caller_of(request), read_usage_query(request)
    found = await context.database.read(
        lambda connection: read(connection, caller.account_id, query.first_day, query.end_day)
    )
    rows = grouped([used for used in found if is_wanted(context, query, used)], context, query, figures)
    last = query.first_row + query.max_rows
    now = today(context.now())
    days = [
        bucket(date_of(day), date_of(day + 1), [result for _, result in of_day], partial=day >= now)
        for day, of_day in groupby(rows[query.first_row : last], key=lambda row: row[0])
    ]
    next_page = str(last) if last < len(rows) else None
    return answer(bucket_list_envelope(days, request.state.request_id, scope=query.scope, next_page=next_page))


def is_wanted(context: Context, query: UsageQuery, used: Used) -> bool:
    kind = model_type(context, used.model)
    return (not query.model_ids or used.model in query.model_ids) and (
        not query.model_types or kind in query.model_types
    )


def model_type(context: Context, model: str) -> str:
    spec = context.catalog.get(model)
    return "unknown" if spec is None else spec.type.lower()


def grouped(
    found: Iterable[Used], context: Context, query: UsageQuery, figures: Callable[[Sequence[Used]], dict[str, Any]]
) -> list[Row]:
    """A row for each day and group, in order; without grouping, one for every day whether or not anything was used."""
    piles: dict[tuple[int, tuple[str, ...]], list[Used]] = defaultdict(list)
    if not query.group_by:
        piles.update({(day, ()): [] for day in range(query.first_day, query.end_day)})
    for used in found:
        names = {"model": used.model, "model_type": model_type(context, used.model), "api_key": used.api_key_id}
        piles[used.day, tuple(names[group] for group in query.group_by)].append(used)
    return [
        (day, dict(zip(query.group_by, names, strict=True)) | figures(pile))
        for (day, names), pile in sorted(piles.items(), key=lambda item: item[0])
    ]


def counts(pile: Sequence[Used]) -> dict[str, Any]:
    return {"requests": sum(used.requests for used in pile), "images": sum(used.images for used in pile)}


def costs(pile: Sequence[Used]) -> dict[str, Any]:
    return {"amount": money(sum(used.spent for used in pile))}
