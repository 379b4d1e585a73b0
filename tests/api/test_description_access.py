"""Who may read the description of the API: everybody on this machine, and elsewhere whoever has a key."""

from pathlib import Path

import pytest

from tests.inline_service import inline_service


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
@pytest.mark.parametrize(
    ("host", "proxy", "stranger"),
    [
        ("127.0.0.1", "", 200),
        ("::1", "", 200),
        ("localhost", "", 200),
        ("127.0.0.1", "10.0.0.0/8", 401),
        ("localhost", "127.0.0.1", 401),
        ("0.0.0.0", "", 401),
        ("a-name-of-this-machine", "", 401),
    ],
)
def test_a_stranger_needs_a_key_where_others_can_come(path: str, host: str, proxy: str, stranger: int, tmp_path: Path):
    with inline_service(tmp_path / "data", host=host, behind_proxy=proxy) as service:
        assert service.client.get(path).status_code == stranger
        assert service.client.get(path, headers=service.headers).status_code == 200


def test_the_front_leads_to_the_description(tmp_path: Path):
    with inline_service(tmp_path / "data") as service:
        front = service.client.get("/", follow_redirects=False)
        assert (front.status_code, front.headers["location"]) == (307, "/docs")
        assert "/docs" in front.text
        assert service.client.get("/").text == service.client.get("/docs").text
