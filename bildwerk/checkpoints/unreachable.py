"""What is said where the hub does not answer: why, what was kept, and what else can be done."""

import re

from bildwerk.checkpoints.disk_space import in_units

WAY_OUT = (
    "run this again to go on, or set HF_ENDPOINT to a mirror that can be reached, or bring the files here by other "
    "means and take them over with: bildwerk models import FOLDER"
)
ERROR_NUMBER = re.compile(r"\[Errno -?\d+\]\s*")
NO_NAME = re.compile(r"name or service not known|name resolution|nodename nor servname|no address associated", re.I)


def reason(error: Exception) -> str:
    """A clause, without the number that the system has for it."""
    text = ERROR_NUMBER.sub("", str(error)).strip() or type(error).__name__
    return f"{text} (no network, or no name server)" if NO_NAME.search(text) else text


def nothing_listed(repository: str, model: str, why: str, kept_bytes: int) -> str:
    """A sentence for a pull that could not begin. kept_bytes: of an earlier one that did not end."""
    kept = f"{in_units(kept_bytes)} of an earlier pull are kept" if kept_bytes else "nothing has changed"
    return f"{repository} cannot be fetched: {why}; {kept}; {WAY_OUT} --as {model}"
