"""Which hosts a request may name, by the URL under which the server is reached."""

from types import SimpleNamespace
from typing import cast

import pytest

from bildwerk.api.application import allowed_hosts
from bildwerk.api.context import Context


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://pictures.example", "pictures.example"),
        ("https://Pictures.example:8443", "pictures.example"),
        ("https://pictures.example/bildwerk", "pictures.example"),
        ("https://pictures.example:8443/a/b", "pictures.example"),
        ("https://me:secret@pictures.example/bildwerk", "pictures.example"),
        ("http://[2001:db8::1]:8000/bildwerk", "[2001:db8::1]"),
    ],
)
def test_the_public_host_is_allowed(public_url: str, host: str):
    hosts = allowed_hosts(cast(Context, SimpleNamespace(public_url=public_url)))
    assert hosts == {"localhost", "127.0.0.1", "[::1]", host}
