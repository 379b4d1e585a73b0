"""The token goes to the endpoint and nowhere else, and every refusal says what to do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub import Hub, TransientError
from bildwerk.checkpoints.hub_access import HubAccess, hub_access
from bildwerk.checkpoints.listing import read_listing
from tests.checkpoints.conftest import REPOSITORY, TRANSFORMER, access_to
from tests.hub_server import COMMIT, LARGE_SUFFIXES, HubServer, folder_content

SECRET = "hf_secret"


WITH_THE_HUBS_LIBRARY = """
import sys
from huggingface_hub import HfApi, hf_hub_download
info = HfApi().model_info(sys.argv[1], revision="main", files_metadata=True)
print(info.sha, len(info.siblings), sum(file.lfs is not None for file in info.siblings))
for path in sys.argv[3:]:
    hf_hub_download(sys.argv[1], path, local_dir=sys.argv[2])
"""


def test_our_hub_speaks_as_the_hubs_own_library_expects(hub_of_lakes: HubServer, tmp_path: Path) -> None:
    """Else these tests would show that we understand ourselves."""
    hub_of_lakes.gate = SECRET
    environment = {
        **os.environ,
        **hub_of_lakes.environment(HF_TOKEN=SECRET, HF_HOME=str(tmp_path / "hf")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    paths = [TRANSFORMER, "vae/config.json"]
    command = [sys.executable, "-c", WITH_THE_HUBS_LIBRARY, REPOSITORY, str(tmp_path / "lake"), *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    files = hub_of_lakes.published[REPOSITORY]
    large = sum(path.endswith(LARGE_SUFFIXES) for path in files)
    assert done.stdout.split() == [COMMIT, str(len(files)), str(large)], done.stderr
    got = {path: content for path, content in folder_content(tmp_path / "lake").items() if ".cache" not in path}
    assert got == {path: files[path] for path in paths}, done.stderr


def read_file(hub: Hub, path: str = TRANSFORMER) -> bytes:
    listing = hub.listing(REPOSITORY)
    with hub.body(listing, listing.files[path], 0) as body:
        return b"".join(body.chunks)


def test_the_token_is_sent_to_the_endpoint_and_to_no_host_that_it_redirects_to(
    hub_of_lakes: HubServer, tmp_path: Path
) -> None:
    with Hub(access_to(hub_of_lakes, tmp_path, SECRET)) as hub:
        read_file(hub)
    tokens = {(seen.host in hub_of_lakes.endpoint, seen.token) for seen in hub_of_lakes.seen}
    assert tokens == {(True, f"Bearer {SECRET}"), (False, None)}


def hub_of(answer: Any, access: HubAccess) -> Hub:
    return Hub(access, httpx2.MockTransport(answer))


ACCESS = HubAccess("https://hub.example", Path("cache"), Path("token"), SECRET, "HF_TOKEN")


@pytest.mark.parametrize(
    ("location", "keeps"),
    [
        ("/elsewhere", True),
        ("https://hub.example/elsewhere", True),
        ("https://hub.example.evil.org/", False),
        ("https://hub.example:8443/", False),
        ("https://hub.example@evil.org/", False),
        ("//evil.org/", False),
    ],
)
def test_a_redirect_keeps_the_token_at_the_same_origin_only(location: str, keeps: bool) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        if len(seen) == 1:
            return httpx2.Response(307, headers={"Location": location})
        return httpx2.Response(200, json={"sha": COMMIT, "siblings": []})

    hub_of(answer, ACCESS).listing(REPOSITORY)
    assert (SECRET in seen[1].headers.get("Authorization", "")) is keeps


def test_a_redirect_to_plain_http_is_not_followed() -> None:
    hub = hub_of(lambda _: httpx2.Response(302, headers={"Location": "http://hub.example/"}), ACCESS)
    with pytest.raises(CheckpointError, match="redirects to http://, which is not followed"):
        hub.listing(REPOSITORY)


@pytest.mark.parametrize("location", ["https://[", "http://hub.example:99999999/", "https://\x7f/", "https://"])
def test_a_redirect_to_no_address_is_explained(location: str) -> None:
    hub = hub_of(lambda _: httpx2.Response(302, headers={"Location": location}), ACCESS)
    with pytest.raises(CheckpointError):
        hub.listing(REPOSITORY)


def test_an_answer_that_cannot_be_decoded_may_be_asked_for_again() -> None:
    answer = httpx2.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx2.ByteStream(b"not gzip"))
    with pytest.raises(TransientError):
        hub_of(lambda _: answer, ACCESS).listing(REPOSITORY)


def test_a_circle_of_redirects_ends() -> None:
    hub = hub_of(lambda _: httpx2.Response(302, headers={"Location": "/again"}), ACCESS)
    with pytest.raises(CheckpointError, match="redirects more than 5 times"):
        hub.listing(REPOSITORY)


def test_a_gated_repository_without_a_token_says_what_to_accept_and_how_to_give_one(
    hub_of_lakes: HubServer, tmp_path: Path
) -> None:
    hub_of_lakes.gate = SECRET
    with Hub(access_to(hub_of_lakes, tmp_path)) as hub, pytest.raises(CheckpointError) as caught:
        read_file(hub)
    sentence = str(caught.value)
    assert sentence.startswith(f"{REPOSITORY} is gated: sign in and accept the conditions on ")
    assert f"{hub_of_lakes.endpoint}/{REPOSITORY}" in sentence
    assert f"give it as HF_TOKEN or write it to {tmp_path / 'token'}" in sentence


def test_a_gated_repository_with_a_token_that_was_not_let_in(hub_of_lakes: HubServer, tmp_path: Path) -> None:
    hub_of_lakes.gate = SECRET
    with Hub(access_to(hub_of_lakes, tmp_path, "hf_other")) as hub, pytest.raises(CheckpointError) as caught:
        read_file(hub)
    assert "the account of the token from HF_TOKEN has not been let in" in str(caught.value)
    assert f"{hub_of_lakes.endpoint}/{REPOSITORY}" in str(caught.value)
    assert "hf_other" not in str(caught.value)


def test_a_gated_repository_with_a_token_that_is_let_in(hub_of_lakes: HubServer, tmp_path: Path) -> None:
    hub_of_lakes.gate = SECRET
    with Hub(access_to(hub_of_lakes, tmp_path, SECRET)) as hub:
        assert read_file(hub) == hub_of_lakes.published[REPOSITORY][TRANSFORMER]


@pytest.mark.parametrize(
    ("token", "repository", "revision", "says"),
    [
        (None, "painters/sea", "main", "shows no repository painters/sea to those without a token: check the name"),
        (SECRET, "painters/sea", "main", "there is no repository painters/sea at http://127.0.0.1"),
        (SECRET, REPOSITORY, "v9", "painters/lake has no revision 'v9'"),
        (SECRET, "../secrets", "main", "is not the name of a repository, which is owner/name"),
        (SECRET, "https://evil.org/a", "main", "is not the name of a repository, which is owner/name"),
    ],
)
def test_what_is_not_there_is_named(
    hub_of_lakes: HubServer, tmp_path: Path, token: str | None, repository: str, revision: str, says: str
) -> None:
    with Hub(access_to(hub_of_lakes, tmp_path, token)) as hub, pytest.raises(CheckpointError) as caught:
        hub.listing(repository, revision)
    assert says in str(caught.value)


def test_a_file_that_went_away_is_named(hub_of_lakes: HubServer, tmp_path: Path) -> None:
    with Hub(access_to(hub_of_lakes, tmp_path)) as hub:
        listing = hub.listing(REPOSITORY)
        del hub_of_lakes.published[REPOSITORY][TRANSFORMER]
        with (
            pytest.raises(CheckpointError, match=f"has no file {TRANSFORMER}"),
            hub.body(listing, listing.files[TRANSFORMER], 0),
        ):
            pass


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_may_be_asked_again(hub_of_lakes: HubServer, tmp_path: Path, status: int) -> None:
    hub_of_lakes.faults.statuses["/api/models"] = (status, "")
    with Hub(access_to(hub_of_lakes, tmp_path)) as hub, pytest.raises(TransientError, match=str(status)):
        hub.listing(REPOSITORY)


def test_a_host_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    access = HubAccess("http://127.0.0.1:1", tmp_path, tmp_path / "token")
    with Hub(access) as hub, pytest.raises(TransientError, match=r"127\.0\.0\.1 cannot be reached"):
        hub.listing(REPOSITORY)


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"sha": "main", "siblings": []}'])
def test_an_answer_that_is_no_hubs_is_said(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"does not answer as the hub does|not the description of a repository"):
        hub_of(lambda _: httpx2.Response(200, content=content), ACCESS).listing(REPOSITORY)


def listing_of(*entries: object) -> object:
    return {"sha": COMMIT, "siblings": list(entries)}


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "", ".", "a//b", "a/./b", "x" * 300, "a\nb"]
)
def test_a_name_that_leads_elsewhere_is_not_there(path: str) -> None:
    entry = {"rfilename": path, "size": 1, "blobId": "0" * 40}
    assert read_listing(REPOSITORY, listing_of(entry)).files == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"rfilename": "a"},
        {"rfilename": "a", "size": 1},
        {"rfilename": "a", "size": -1, "blobId": "0" * 40},
        {"rfilename": "a", "size": 2**63, "blobId": "0" * 40},
        {"rfilename": "a", "size": 1, "blobId": "../../x"},
        {"rfilename": "a", "size": 1, "lfs": {"sha256": "../../x"}},
        "a",
    ],
)
def test_a_file_that_could_not_be_verified_is_refused(entry: object) -> None:
    with pytest.raises(CheckpointError):
        read_listing(REPOSITORY, listing_of(entry))


def test_the_environment_means_what_it_means_to_the_hubs_own_library(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" hf_filed\n")
    access = hub_access({"HF_HOME": str(tmp_path)})
    assert (access.endpoint, access.cache, access.token) == ("https://huggingface.co", tmp_path / "hub", "hf_filed")
    named = {"HF_HOME": str(tmp_path), "HF_TOKEN": "hf_named", "HF_ENDPOINT": "https://mirror.example/"}
    access = hub_access(named | {"HF_HUB_CACHE": "/cache"})
    assert (access.endpoint, access.cache, access.token) == ("https://mirror.example", Path("/cache"), "hf_named")
    assert "hf_named" not in repr(access)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"HF_ENDPOINT": "mirror.example"}, "HF_ENDPOINT must begin with https://"),
        ({"HF_TOKEN": "hf_\u00e4"}, "what HF_TOKEN holds is no token"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_an_environment_that_makes_no_sense_is_explained(environment: dict[str, str], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        hub_access({"HF_HOME": "/nowhere", **environment})
