"""Why the hub does not give a file, as a sentence that says what to do."""

from dataclasses import dataclass

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub_access import HubAccess

GATED = "GatedRepo"
NO_REVISION = "RevisionNotFound"
NO_ENTRY = "EntryNotFound"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the hub was asked for: a file, or without `path` what the repository holds."""

    repository: str
    revision: str
    path: str | None = None


def refusal(access: HubAccess, asked: Asked, status: int, code: str) -> CheckpointError:
    """status: of the answer; code: its header X-Error-Code, or nothing."""
    if code == NO_REVISION:
        sentence = f"{asked.repository} has no revision {asked.revision[:100]!r}"
    elif code == NO_ENTRY:
        sentence = f"{asked.repository} has no file {asked.path} at revision {asked.revision}"
    elif status == 401 and code != GATED:
        sentence = _unknown(access, asked.repository)
    elif status in (401, 403):
        sentence = _gated(access, asked.repository)
    elif status == 404:
        sentence = f"there is no repository {asked.repository} at {access.endpoint}"
    else:
        what = asked.repository if asked.path is None else f"{asked.path} of {asked.repository}"
        sentence = f"{access.endpoint} does not give {what}: it answers with status {status}"
    return CheckpointError(sentence)


def _unknown(access: HubAccess, repository: str) -> str:
    """The hub does not say whether a repository is there to those who may not see it."""
    if access.token is None:
        return (
            f"{access.endpoint} shows no repository {repository} to those without a token: check the name; if it is "
            f"private or gated, {how_to_be_let_in(access, repository)}"
        )
    return (
        f"{access.endpoint} does not accept the token from {access.token_source}, or there is no repository "
        f"{repository} for it; check the name, or {how_to_give_a_token(access)}"
    )


def _gated(access: HubAccess, repository: str) -> str:
    if access.token is None:
        return f"{repository} is gated: {how_to_be_let_in(access, repository)}"
    return (
        f"{repository} is gated, and the account of the token from {access.token_source} has not been let in: accept "
        f"the conditions on {access.page(repository)} with that account (a token of limited scope must also allow "
        "reading gated repositories), then run this again"
    )


def how_to_be_let_in(access: HubAccess, repository: str) -> str:
    return f"sign in and accept the conditions on {access.page(repository)}, then {how_to_give_a_token(access)}"


def how_to_give_a_token(access: HubAccess) -> str:
    return (
        f"make a token that may read at {access.endpoint}/settings/tokens and give it as HF_TOKEN or write it to "
        f"{access.token_path}"
    )
