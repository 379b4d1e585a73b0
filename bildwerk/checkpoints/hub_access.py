"""How this machine reaches the hub: the environment variables of huggingface_hub, with its meaning of them.

`HF_ENDPOINT`, `HF_TOKEN` or the token file (`HF_TOKEN_PATH`, else `token` in `HF_HOME`), and the cache (`HF_HUB_CACHE`,
else `hub` in `HF_HOME`). Source: huggingface/huggingface_hub, `constants.py` and `utils/_auth.py`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError

PUBLIC_ENDPOINT = "https://huggingface.co"
YES = frozenset({"1", "ON", "YES", "TRUE"})


@dataclass(frozen=True, slots=True)
class HubAccess:
    """`token_source` says where the token came from, for messages; the token itself is never shown."""

    endpoint: str
    cache: Path
    token_path: Path
    token: str | None = field(default=None, repr=False)
    token_source: str = ""

    def page(self, repository: str) -> str:
        """Where a person reads about a repository and accepts its licence."""
        return f"{self.endpoint}/{repository}"


def hub_access(environment: Mapping[str, str]) -> HubAccess:
    """Raises `CheckpointError` where the hub must not be asked, or its address is none."""
    if _is_yes(environment.get("HF_HUB_OFFLINE")):
        raise CheckpointError("HF_HUB_OFFLINE is set: nothing is downloaded until it is unset")
    endpoint = (environment.get("HF_ENDPOINT") or PUBLIC_ENDPOINT).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise CheckpointError(f"HF_ENDPOINT must begin with https:// or http://, not {endpoint[:80]!r}")
    token_path = hub_token_path(environment)
    token, source = _token(environment, token_path)
    return HubAccess(endpoint, hub_cache(environment), token_path, token, source)


def hub_cache(environment: Mapping[str, str]) -> Path:
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return _path(named) if named else _home(environment) / "hub"


def hub_token_path(environment: Mapping[str, str]) -> Path:
    named = environment.get("HF_TOKEN_PATH")
    return _path(named) if named else _home(environment) / "token"


def _home(environment: Mapping[str, str]) -> Path:
    if named := environment.get("HF_HOME"):
        return _path(named)
    return _path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def _path(text: str) -> Path:
    return Path(os.path.expanduser(os.path.expandvars(text)))  # noqa: PTH111 (without a home folder, as it stands)


def _token(environment: Mapping[str, str], path: Path) -> tuple[str | None, str]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _cleaned(environment.get(name, ""), name):
            return token, name
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None, ""
    token = _cleaned(content, str(path))
    return (token, str(path)) if token else (None, "")


def _cleaned(text: str, source: str) -> str:
    token = "".join(text.split())
    if not (token.isascii() and token.isprintable()):
        raise CheckpointError(f"what {source} holds is no token: it has characters that none has")
    return token


def _is_yes(value: str | None) -> bool:
    return value is not None and value.upper() in YES
