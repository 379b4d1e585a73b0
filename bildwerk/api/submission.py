"""A submit's headers and body become a valid, priced `Submission`."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from bildwerk.api import request_headers
from bildwerk.api.context import Context, caller_of, context_of
from bildwerk.api.kept_body import kept_body
from bildwerk.api.loras import chosen_loras
from bildwerk.domain.catalog import ModelSpec, find_model
from bildwerk.domain.errors import InvalidParameter, ModelNotFound, ModelUnavailable
from bildwerk.domain.pricing import price
from bildwerk.engine.request import MAX_SEED, GenerateRequest, LoraChoice
from bildwerk.jobs import idempotency
from bildwerk.jobs.engine_request import as_input, batch_key_text
from bildwerk.jobs.submission import IdempotencyKey, Submission, new_prediction_id
from bildwerk.schemas.inputs import ImageInput, known_names, merged, model_name, read_image_input

MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be submitted, and for how many seconds the caller wants to wait for its end."""

    submission: Submission
    wait_seconds: float
    preference_applied: str | None


async def find_earlier(context: Context, account_id: str, wanted: IdempotencyKey | None) -> str | None:
    """The prediction that the same request has already made: its answer needs neither a worker nor a free disk.

    Raises `IdempotencyMismatch`.
    """
    if wanted is None:
        return None
    return await context.database.look_up(lambda connection: idempotency.find(connection, account_id, wanted))


def read_order(
    request: Request, body: Mapping[str, Any], kind: str, key: IdempotencyKey | None, *, is_replay: bool = False
) -> Order:
    """Raises what `InvalidRequest` has, `ModelNotFound` or, unless it is a replay, `ModelUnavailable`."""
    context, caller, headers = context_of(request), caller_of(request), request.headers
    flat = merged(body)
    spec = known_model(context, model_name(flat), kind)
    if not is_replay:
        require_worker(context, spec)
    wanted, warnings = read_image_input(spec, flat)
    asked = engine_request(wanted, () if is_replay else chosen_loras(context, spec, wanted))
    preferred = request_headers.prefer_wait_seconds(headers)
    submission = Submission(
        prediction_id=new_prediction_id(),
        account_id=caller.account_id,
        api_key_id=caller.key.id,
        model=spec.id,
        input=as_input(asked),
        request_body=kept_body(body, known_names(spec)),
        batch_key=batch_key_text(spec.id, asked),
        images=asked.num_images,
        price=price(spec.price_per_image, asked.num_images),
        as_base64=wanted.enable_base64_output,
        object_hours=request_headers.object_hours(headers),
        request_hours=request_headers.request_hours(headers),
        cancel_at=cancel_at(context, headers),
        webhook_url=wanted.webhook_url,
        warnings=(*warnings, *house_warnings(context, spec, wanted)),
        idempotency=key,
        request_id=request.state.request_id,
    )
    wait = context.settings.timing.sync_wait if wanted.enable_sync_mode else float(preferred or 0)
    return Order(submission, wait, None if preferred is None else f"wait={preferred}")


def known_model(context: Context, name: str, kind: str) -> ModelSpec:
    spec = find_model(context.catalog, name)
    if spec is None or spec.type != kind:
        raise no_such_model(name, [each.id for each in context.catalog.values() if each.type == kind], kind)
    return spec


def no_such_model(name: str, there_are: Sequence[str], kind: str = "") -> ModelNotFound:
    """`there_are` names the models that could have been meant."""
    wanted = f"{kind.lower()} model".strip()
    return ModelNotFound(
        f"{ModelNotFound.default_message}: {name[:MAX_SHOWN]!a} is no {wanted} of this server, which has "
        f"{', '.join(there_are) or 'none'}"
    )


def require_worker(context: Context, spec: ModelSpec) -> None:
    if not context.workers.can_serve(spec.id):
        reason = context.missing.get(spec.id, "its worker is not healthy")
        raise ModelUnavailable(f"no worker can serve {spec.id}: {reason}", retry_after=30)


def engine_request(wanted: ImageInput, loras: tuple[LoraChoice, ...]) -> GenerateRequest:
    return GenerateRequest(
        prompt=wanted.prompt,
        width=wanted.width,
        height=wanted.height,
        steps=wanted.steps,
        seed=chosen_seed(wanted.seed, wanted.num_images),
        num_images=wanted.num_images,
        guidance=wanted.guidance,
        output_format=wanted.output_format,
        loras=loras,
    )


def chosen_seed(seed: int | None, images: int) -> int:
    """The seed of the first picture; those of the others follow it, and the last one must still be legal."""
    last = MAX_SEED - images + 1
    if seed is None:
        return secrets.randbelow(last + 1)
    if seed > last:
        raise InvalidParameter(f"seed must be at most {last} for {images} pictures, not {seed}", param="seed")
    return seed


def cancel_at(context: Context, headers: Headers) -> int | None:
    seconds = request_headers.cancel_after_seconds(headers)
    return None if seconds is None else context.now() + seconds * 1000


def house_warnings(context: Context, spec: ModelSpec, wanted: ImageInput) -> list[str]:
    """What this installation cannot do for the request."""
    found = []
    if spec.id in context.stand_ins:
        found.append(f"demo: {context.stand_ins[spec.id]} stands in for {spec.id}, whose weights are not here")
    if wanted.webhook_url is not None:
        found.append("webhook_url is kept but not called: this server does not deliver webhooks")
    return found


def read_idempotency(headers: Headers, body: Mapping[str, Any]) -> IdempotencyKey | None:
    """The caller's own name for the request. Raises `InvalidHeader`."""
    key = request_headers.idempotency_key(headers)
    if key is None:
        return None
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return IdempotencyKey(key, idempotency.body_hash(canonical))
