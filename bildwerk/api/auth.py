"""Who asks: the one key in the one `Authorization` header, and what it may do."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import Headers

from bildwerk.domain.account import ApiKey, Scope
from bildwerk.domain.api_key import is_well_formed, keyed_hash
from bildwerk.domain.errors import Forbidden, Unauthorized
from bildwerk.store import accounts
from bildwerk.store.clock import Now
from bildwerk.store.database import Database

CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that a request speaks for, by which of its keys."""

    account_id: str
    key: ApiKey

    def require(self, scope: Scope) -> None:
        if scope not in self.key.scopes:
            raise Forbidden(f"this key's scope does not cover it: it needs {scope}")


class KeyRing:
    """Keys by their secrets, remembered for a second: a revoked key is refused after that."""

    def __init__(self, database: Database, pepper: bytes, now: Now, cache_seconds: float) -> None:
        self._database = database
        self._pepper = pepper
        self._now = now
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()
        self._used: dict[str, int] = {}

    async def caller(self, headers: Headers) -> Caller:
        """Raises `Unauthorized`, always with the same words, and without a look-up for a bad checksum."""
        secret = bearer_secret(headers)
        if secret is None or not is_well_formed(secret):
            raise Unauthorized()
        key = await self._find(keyed_hash(self._pepper, secret))
        now = self._now()
        if key is None or not key.is_live(now):
            raise Unauthorized()
        self._used[key.id] = now
        return Caller(key.account_id, key)

    async def note_use(self) -> None:
        """Write down when each key was last used."""
        used, self._used = self._used, {}
        if used:
            await self._database.write(lambda connection: accounts.touch_keys(connection, used))

    async def _find(self, secret_hash: str) -> ApiKey | None:
        cached = self._cache.get(secret_hash)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        key = await self._database.look_up(lambda connection: accounts.find_key(connection, secret_hash))
        self._cache[secret_hash] = (time.monotonic() + self._cache_seconds, key)
        self._cache.move_to_end(secret_hash)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return key


def bearer_secret(headers: Headers) -> str | None:
    """The secret of `Authorization: Bearer <secret>`; None where there is no such header, or more than one."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, secret = values[0].partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None
