"""Money and use as clients see them, and what became of an upload."""

from collections.abc import Sequence
from typing import Any

from bildwerk.domain.account import Account, Balance
from bildwerk.domain.pricing import dollars, dollars_fixed


def upload_envelope(url: str, filename: str, media_type: str, size: int) -> dict[str, Any]:
    """The answer to an upload. `media_type` and `size` (bytes) are those of what was stored, not of what was sent."""
    data = {
        "type": "image",
        "download_url": url,
        "url": url,
        "filename": filename,
        "file_name": filename,
        "content_type": media_type,
        "size": size,
    }
    return {"code": 200, "message": "", "msg": "", "url": url, "data": data}


def price_envelope(price: int) -> dict[str, Any]:
    """The answer to a calculation; `price` is micro-dollars."""
    amount = dollars(price)
    return {"code": 200, "message": "", "data": {"price": amount, "origin_price": amount, "estimated": False}}


def balance_envelope(account: Account, balance: Balance, request_id: str) -> dict[str, Any]:
    return {
        "object": "balance",
        "scope": "self",
        "account": {"id": account.id, "name": account.name, "type": "personal"},
        "available": money(balance.prepaid),
        "cash": money(balance.prepaid + balance.held),
        "bonus": money(0),
        "frozen": money(balance.held),
        "request_id": request_id,
    }


def money(micro: int) -> dict[str, str]:
    """Micro-dollars with all six decimals."""
    return {"value": dollars_fixed(micro), "currency": "usd"}


def bucket_list_envelope(
    buckets: Sequence[dict[str, Any]], request_id: str, *, scope: str = "self", next_page: str | None = None
) -> dict[str, Any]:
    """Daily buckets of use or of costs; `next_page` is the cursor of the following page, if there is one."""
    return {
        "object": "list",
        "scope": scope,
        "data": list(buckets),
        "has_more": next_page is not None,
        "next_page": next_page,
        "request_id": request_id,
    }


def bucket(date: str, next_date: str, results: Sequence[dict[str, Any]], *, partial: bool) -> dict[str, Any]:
    """One UTC day, `YYYY-MM-DD`; `partial` for a day that is not over."""
    return {
        "object": "bucket",
        "date": date,
        "start_at": f"{date}T00:00:00Z",
        "end_at": f"{next_date}T00:00:00Z",
        "partial": partial,
        "results": list(results),
    }
