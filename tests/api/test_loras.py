"""LoRAs in a request: those that the server's owner put in place, by name, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import text

from bildwerk.jobs.engine_request import as_request
from tests.api.answers import assert_error
from tests.inline_service import GOOD, MODEL, InlineService, inline_service

SUBMIT = "/api/v1/model/generateImage"
SOFT, NIGHT = {"path": "soft", "scale": 0.5}, {"path": "night"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[InlineService]:
    with inline_service(tmp_path / "data") as running:
        for name in ("soft", "night"):
            put(running, name)
        yield running


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    """One for all requests that leave no trace."""
    with inline_service(tmp_path_factory.mktemp("untouched") / "data") as running:
        for name in ("soft", "night"):
            put(running, name)
        yield running


def put(service: InlineService, name: str, content: bytes = b"weights") -> Path:
    path = service.service.context.loras.path(MODEL, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def submit(service: InlineService, **values: Any) -> Response:
    return service.client.post(SUBMIT, json=GOOD | values, headers=service.headers)


def ended(service: InlineService, **values: Any) -> dict[str, Any]:
    data: dict[str, Any] = submit(service, seed=7, enable_sync_mode=True, **values).json()["data"]
    return data


def picture(service: InlineService, **values: Any) -> str:
    data = ended(service, enable_base64_output=True, **values)
    assert data["status"] == "completed", data["error"]
    (found,) = data["outputs"]
    return str(found)


def rows(service: InlineService) -> list[Any]:
    query = text("SELECT input, batch_key, price, request_body FROM predictions ORDER BY created_at, id")
    return list(service.database.read_blocking(lambda connection: connection.execute(query).all()))


def balance(service: InlineService) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/public/v1/balance", headers=service.headers).json()
    return {name: found[name]["value"] for name in ("available", "frozen")}


def test_both_shapes_of_the_body_name_them(service: InlineService) -> None:
    flat = submit(service, seed=7, loras=[SOFT, NIGHT])
    nested = service.client.post(
        SUBMIT, json={"model": MODEL, "input": {**GOOD, "seed": 7, "loras": [SOFT, NIGHT]}}, headers=service.headers
    )
    assert (flat.status_code, nested.status_code) == (200, 200)
    assert flat.json()["data"]["warnings"] == []
    one, other = rows(service)
    version = f"7-{service.service.context.loras.path(MODEL, 'soft').stat().st_mtime_ns}"
    assert json.loads(one.input)["loras"][0] == {"name": "soft", "scale": 0.5, "version": version}
    assert json.loads(one.input)["loras"][1]["name"] == "night"
    assert json.loads(one.input)["loras"][1]["scale"] == 1.0
    assert (one.input, one.batch_key) == (other.input, other.batch_key)
    assert json.loads(one.request_body)["loras"] == [SOFT, NIGHT]


def test_they_reach_the_picture_and_leave_the_next_one_alone(service: InlineService) -> None:
    plain = picture(service)
    assert len({plain, picture(service, loras=[SOFT]), picture(service, loras=[NIGHT])}) == 3
    assert picture(service) == plain
    assert picture(service, loras=[]) == picture(service, loras=None) == plain
    assert picture(service, loras=[{"path": "soft", "scale": 0}]) == plain
    assert picture(service, loras=[SOFT, NIGHT]) == picture(service, loras=[NIGHT, SOFT])


def test_only_the_very_same_loras_make_the_same_batch_key(service: InlineService) -> None:
    for loras in ([SOFT], [SOFT], [NIGHT], [], [SOFT, NIGHT], [{"path": "soft", "scale": 0.6}]):
        submit(service, loras=loras)
    keys = [row.batch_key for row in rows(service)]
    assert len(set(keys)) == 5
    put(service, "soft", b"other weights")
    submit(service, loras=[SOFT])
    assert rows(service)[-1].batch_key not in keys


def test_they_cost_nothing(service: InlineService) -> None:
    price = service.client.post("/api/v1/model/calculate", json=GOOD | {"loras": [SOFT, NIGHT]}).json()["data"]["price"]
    plain, adapted = ended(service), ended(service, loras=[SOFT, NIGHT])
    assert plain["price"] == adapted["price"] == price == "0.0001"
    assert {row.price for row in rows(service)} == {100}


BAD: dict[str, tuple[Any, str]] = {
    "a text": ("soft", "loras must be a list of at most 5 objects"),
    "an object": ({"path": "soft"}, "loras must be a list of at most 5 objects"),
    "true": (True, "loras must be a list"),
    "a number": (1, "loras must be a list"),
    "a list of texts": (["soft"], r"loras\[0\] must be an object such as"),
    "null in the list": ([None], r"loras\[0\] must be an object such as"),
    "a list in the list": ([[SOFT]], r"loras\[0\] must be an object such as"),
    "an empty object": ([{}], r"loras\[0\]\.path is missing"),
    "no path": ([SOFT, {"scale": 1}], r"loras\[1\]\.path is missing"),
    "no text as path": ([{"path": 5}], r"loras\[0\]\.path must be a text"),
    "null as path": ([{"path": None}], r"loras\[0\]\.path must be a text"),
    "an empty path": ([{"path": ""}], r"loras\[0\]\.path must be a text"),
    "a long path": ([{"path": "x" * 65}], r"loras\[0\]\.path must be a text of 1 to 64 characters"),
    "NUL": ([{"path": "soft\x00"}], r"loras\[0\]\.path must be a text"),
    "unknown": ([{"path": "nothing"}], r"loras\[0\]\.path must be one of night, soft, not 'nothing'"),
    "capital letters": ([{"path": "Soft"}], "must be one of night, soft"),
    "with its ending": ([{"path": "soft.safetensors"}], "must be one of night, soft"),
    "dots": ([{"path": ".."}], "must be one of night, soft"),
    "a hidden file": ([{"path": ".soft"}], "must be one of night, soft"),
    "a backslash": ([{"path": "..\\soft"}], "must be one of night, soft"),
    "a path up": ([{"path": "../x"}], "URLs and paths of files are not taken"),
    "an absolute path": ([{"path": "/etc/passwd"}], "URLs and paths of files are not taken"),
    "a URL": ([{"path": "https://example.com/" + "x" * 200}], "URLs and paths of files are not taken"),
    "a repository": ([{"path": "somebody/lora"}], "URLs and paths of files are not taken"),
    "too strong": ([{"path": "soft", "scale": 1e10}], r"loras\[0\]\.scale must be a number from -4 to 4"),
    "too strong, backwards": ([{"path": "soft", "scale": -4.01}], r"loras\[0\]\.scale must be a number from -4 to 4"),
    "a text as scale": ([{"path": "soft", "scale": "1"}], r"loras\[0\]\.scale must be a number"),
    "true as scale": ([{"path": "soft", "scale": True}], r"loras\[0\]\.scale must be a number"),
    "a list as scale": ([{"path": "soft", "scale": [1]}], r"loras\[0\]\.scale must be a number"),
    "fifty": ([{"path": f"l{i}"} for i in range(50)], "at most 5 objects, not one of 50"),
    "six": ([{"path": f"l{i}"} for i in range(6)], "at most 5 objects, not one of 6"),
    "twice": ([SOFT, {"path": "soft"}], r"loras\[1\]\.path must be another one"),
}


@pytest.mark.parametrize(("loras", "reason"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_is_refused_and_nothing_is_made_or_held(
    untouched: InlineService, loras: Any, reason: str
) -> None:
    before = balance(untouched)
    for body in (GOOD | {"loras": loras}, {"model": MODEL, "input": GOOD | {"loras": loras}}):
        answer = untouched.client.post(SUBMIT, json=body, headers=untouched.headers)
        detail = assert_error(answer, 400, "invalid_parameter", "loras")
        assert re.search(reason, detail["message"])
    assert rows(untouched) == []
    assert balance(untouched) == before


def test_a_refusal_stays_short_however_many_there_are(service: InlineService) -> None:
    for number in range(100):
        put(service, f"{number:064}")
    answer = submit(service, loras=[{"path": "nothing"}])
    assert "and 96 more" in assert_error(answer, 400, "invalid_parameter", "loras")["message"]


def test_a_model_that_has_none_says_so(service: InlineService) -> None:
    for name in ("soft", "night"):
        service.service.context.loras.path(MODEL, name).unlink()
    answer = submit(service, loras=[SOFT])
    message = assert_error(answer, 400, "invalid_parameter", "loras")["message"]
    assert message.endswith("and it has none, not 'soft'")


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_in_the_folder_is_not_there(service: InlineService, kind: str, tmp_path: Path) -> None:
    path = service.service.context.loras.path(MODEL, "odd")
    (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret") if kind == "link" else path.mkdir()
    answer = submit(service, loras=[{"path": "odd"}])
    assert "one of night, soft" in assert_error(answer, 400, "invalid_parameter", "loras")["message"]


def test_unknown_members_are_named_and_bind_nothing(service: InlineService) -> None:
    strange = {"file": "/etc/passwd", "version": "1-1", "name": "night", "weight": 3}
    data = ended(service, loras=[SOFT | strange])
    assert data["status"] == "completed"
    assert {f"loras[0].{name} is not known and was ignored" for name in strange} <= set(data["warnings"])
    (row,) = rows(service)
    (kept,) = json.loads(row.input)["loras"]
    assert (kept["name"], kept["scale"], kept["version"] == "1-1", "file" in kept) == ("soft", 0.5, False, False)


def test_a_row_that_names_a_file_is_not_believed(service: InlineService) -> None:
    submit(service, loras=[SOFT])
    values = json.loads(rows(service)[0].input)
    values["loras"][0]["file"] = "/etc/passwd"
    assert as_request(values, "pred").loras[0].file is None


def test_a_row_of_an_older_version_has_none(service: InlineService) -> None:
    submit(service)
    values = {name: value for name, value in json.loads(rows(service)[0].input).items() if name != "loras"}
    assert as_request(values, "pred").loras == ()


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_file_that_changes_while_its_prediction_waits_fails_it_free_of_charge(tmp_path: Path, change: str) -> None:
    with inline_service(tmp_path / "data", step_seconds=0.2) as service:
        path, before = put(service, "soft"), balance(service)
        first = submit(service, steps=4).json()["id"]
        waiting = submit(service, loras=[SOFT]).json()["id"]
        path.write_bytes(b"other weights") if change == "replaced" else path.unlink()
        poll = f"/api/v1/model/prediction/{waiting}?wait=30"
        data = service.client.get(poll, headers=service.headers).json()["data"]
        assert (data["status"], data["error_code"], data["price"]) == ("failed", 1001, "0")
        assert data["error"].startswith("the LoRA soft ")
        assert str(tmp_path) not in data["error"]
        assert (
            service.client.get(f"/api/v1/model/prediction/{first}?wait=30", headers=service.headers).json()["status"]
            == "completed"
        )
        after = balance(service)
        assert after["frozen"] == before["frozen"]
        assert round(float(before["available"]) - float(after["available"]), 6) == 0.0001


def test_a_replay_is_answered_although_its_lora_is_gone(service: InlineService) -> None:
    headers = service.headers | {"Idempotency-Key": "once"}
    first = service.client.post(SUBMIT, json=GOOD | {"loras": [SOFT]}, headers=headers)
    service.service.context.loras.path(MODEL, "soft").unlink()
    again = service.client.post(SUBMIT, json=GOOD | {"loras": [SOFT]}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert submit(service, loras=[SOFT]).status_code == 400


def test_the_documents_list_those_that_are_there_now(service: InlineService) -> None:
    url = "/model/schema/bildwerk-flux-tiny.json"
    schema = service.client.get(url).json()["components"]["schemas"]["Input"]["properties"]["loras"]
    assert (schema["type"], schema["maxItems"], schema["items"]["required"]) == ("array", 5, ["path"])
    members = schema["items"]["properties"]
    assert members["path"]["examples"] == ["night", "soft"]
    assert "no URL" in members["path"]["description"]
    assert (members["scale"]["minimum"], members["scale"]["maximum"], members["scale"]["default"]) == (-4, 4, 1)
    put(service, "snow")
    assert "`night`, `snow`, `soft`" in service.client.get("/model/readme/bildwerk-flux-tiny.md").text
    described = service.client.get("/openapi.json").json()["components"]["schemas"]["FluxTinyInput"]
    assert described["properties"]["loras"]["items"]["properties"]["path"]["examples"] == ["night", "snow", "soft"]


def test_the_names_of_other_models_are_not_listed(service: InlineService) -> None:
    assert "Now here: none." in service.client.get("/model/readme/black-forest-labs-flux-schnell.md").text
