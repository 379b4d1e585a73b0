"""The published description is a valid one, names everything that is read, and is what the service does."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from PIL import Image
from starlette.datastructures import QueryParams

from bildwerk.api.routes import ROUTES
from bildwerk.settings import Limits
from tests.inline_service import GOOD, InlineService, bearer, inline_service

MANY = Limits(submits_per_minute=10**9, reads_per_minute=10**9, queued_per_account=10**9, queued_in_all=10**9)
P = "/api/v1/model"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    with inline_service(tmp_path_factory.mktemp("inline") / "data", limits=MANY) as running:
        yield running


@pytest.fixture(scope="module")
def document(service: InlineService) -> Document:
    found: Document = service.client.get("/openapi.json").json()
    return found


def test_it_is_a_valid_description(document: Document) -> None:
    validate(document)


def test_it_names_every_route_and_every_row(document: Document) -> None:
    for route in ROUTES:
        operation = document["paths"][route.path.replace(":path", "")][route.method.lower()]
        told = {(each["in"], each["name"]) for each in operation["parameters"] if each["in"] != "path"}
        query = {("query", name) for row in route.contract.query for name in row.names}
        assert told == query | {("header", row.name) for row in route.contract.headers}
        assert ("401" in operation["responses"]) == (
            route.scope is not None or route.path in ("/docs", "/openapi.json")
        )
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)


ROWS = [(route, row) for route in ROUTES for row in route.contract.query if row.kind == "integer" or row.options]


@pytest.mark.parametrize(("route", "row"), ROWS, ids=lambda each: getattr(each, "path", getattr(each, "name", "")))
def test_every_row_is_read(service: InlineService, route: Any, row: Any) -> None:
    url = route.path.replace("{prediction_id}", made(service))
    needed = {"start_date": "2026-01-01", "end_date": "2026-01-02", "predictionId": made(service)}
    for name in row.names:
        answer = service.client.get(url, params={**needed, name: "never"}, headers=service.headers)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == name.removesuffix("[]")


def made(service: InlineService) -> str:
    """The id of a prediction that has ended."""
    answer = service.client.post(f"{P}/generateImage", json=GOOD | {"enable_sync_mode": True}, headers=service.headers)
    return str(answer.json()["id"])


def assert_described(document: Document, path: str, answer: httpx.Response) -> None:
    """The status, the headers, the type and the content of an answer are among those that its operation names."""
    operation = document["paths"][path][answer.request.method.lower()]
    told = operation["responses"].get(str(answer.status_code))
    assert told is not None, f"{answer.request.method} {path} does not name {answer.status_code}: {answer.text[:200]}"
    for name in told["headers"]:
        assert name in answer.headers or (name.startswith("RateLimit") and answer.status_code in (400, 401, 403)), name
    assert ("Retry-After" in answer.headers) == ("Retry-After" in told["headers"])
    if answer.status_code in (204, 304):
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in told["content"], f"{path} answers with {kind}"
    if schema := told["content"][kind].get("schema"):
        whole = {**schema, "components": document["components"]}
        Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json())


def test_every_good_answer_is_as_described(
    service: InlineService, document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, headers, asked = service.client, service.headers, names_asked_for(monkeypatch)
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(picture)
    seen = set()

    def check(method: str, path: str, status: int = 200, **request: Any) -> httpx.Response:
        url = request.pop("url", path)
        asked.clear()
        answer = client.request(method, url, **{"headers": headers, **request})
        assert answer.status_code == status, answer.text
        assert_described(document, path, answer)
        told = {each["name"] for each in document["paths"][path][method.lower()]["parameters"]}
        assert asked <= told, f"{path} reads what it is not said to"
        seen.add((method, path))
        return answer

    base64 = check("POST", f"{P}/generateImage", json=GOOD | {"enable_base64_output": True, "enable_sync_mode": True})
    assert base64.json()["outputs"][0].startswith("data:")
    ended = check("POST", f"{P}/generateImage", json=GOOD | {"enable_sync_mode": True, "nonsense": 1}).json()
    running = check("POST", f"{P}/generateImage", json={"model": GOOD["model"], "input": GOOD}).json()["id"]
    for kind in ("Video", "Audio"):
        check("POST", f"{P}/generate{kind}", 404, json=GOOD)
    ids = {"prediction_id": ended["id"]}
    for path in ("prediction/{prediction_id}", "prediction/{prediction_id}/", "result/{prediction_id}"):
        answer = check("GET", f"{P}/{path}", url=f"{P}/{path.format(**ids)}?wait=1")
        tag = {**headers, "If-None-Match": answer.headers["ETag"]}
        check("GET", f"{P}/{path}", 304, url=f"{P}/{path.format(**ids)}", headers=tag)
    check("GET", f"{P}/getResult", params={"predictionId": ended["id"]})
    check("POST", f"{P}/prediction/{{prediction_id}}/cancel", url=f"{P}/prediction/{running}/cancel")
    events = f"{P}/prediction/{{prediction_id}}/events"
    check("GET", events, url=events.format(**ids))
    check("GET", events, 204, url=events.format(**ids), headers={**headers, "Last-Event-ID": "end"})
    check("GET", f"{P}/history", params={"pageNo": 1, "status": "completed"})
    with picture.open("rb") as data:
        check("POST", f"{P}/uploadMedia", files={"file": data})
    check("POST", f"{P}/calculate", json=GOOD)
    check("GET", "/public/v1/balance")
    day = {"start_date": "2026-01-01", "end_date": "2026-06-01"}
    for page in ("usage", "costs"):
        check("GET", f"/public/v1/model-{page}", params=day)
        check("GET", f"/public/v1/model-{page}", params=day | {"group_by[]": ["model", "api_key"], "limit": "1"})
    check("GET", "/api/v1/models")
    for path in ("/model/schema/{slug}.json", "/model/readme/{slug}.md", "/model/example/{slug}.json"):
        check("GET", path, url=path.format(slug="bildwerk-flux-tiny"))
    url = ended["outputs"][0]
    check("GET", "/files/{key}", url=url)
    check("GET", "/files/{key}", 206, url=url, headers={"Range": "bytes=0-9"})
    check("GET", "/files/{key}", 416, url=url, headers={"Range": "bytes=9999999-"})
    check("GET", "/", 307, follow_redirects=False)
    for path in ("/healthz", "/readyz", "/version", "/openapi.json", "/docs"):
        check("GET", path)
    assert seen == {(route.method, route.path.replace(":path", "")) for route in ROUTES}


def names_asked_for(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The query parameters that are looked for from now on."""
    asked: set[str] = set()
    for name in ("get", "getlist"):
        look_up = getattr(QueryParams, name)

        def noting(params: QueryParams, key: str, *default: Any, look_up: Any = look_up) -> Any:
            asked.add(key)
            return look_up(params, key, *default)

        monkeypatch.setattr(QueryParams, name, noting)
    return asked


odd_text = st.sampled_from(
    ["", "0", "1", "-1", "x", "5", "2026-01-01", "99999999999", "1.5", "completed", "é", "'", "\\"]
)
odd_json = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    """Texts inside and outside of what a parameter's schema allows."""
    if schema["type"] == "array":
        return values(schema["items"])
    if schema["type"] == "integer":
        return odd_text | st.integers(schema["minimum"] - 1, min(schema["maximum"] + 1, 2**40)).map(str)
    return odd_text | st.sampled_from([*schema.get("enum", []), *schema.get("examples", []), "a"])


@st.composite
def requests(draw: st.DrawFn, document: Document, prediction: str) -> tuple[str, dict[str, Any]]:
    """A path of the description, and a request to it made of what the description says, and of its opposite."""
    path = draw(st.sampled_from(sorted(document["paths"])))
    method = draw(st.sampled_from(sorted(document["paths"][path])))
    operation = document["paths"][path][method]
    url, sent = path, {"query": [], "header": {}}
    for each in operation["parameters"]:
        if each["in"] == "path":
            value = draw(st.sampled_from([prediction, "none", "bildwerk-flux-tiny", "a/../b"]))
            url = url.replace("{" + each["name"] + "}", quote(value, safe="/"))
        elif draw(st.booleans()):
            value = draw(values(each["schema"]))
            if each["in"] == "query":
                sent["query"].append((each["name"], "0" if each["name"] == "wait" else value))
            elif value.isascii() and "wait" not in value:
                sent["header"][each["name"]] = value
    request: dict[str, Any] = {"method": method.upper(), "url": url, "params": sent["query"], "headers": sent["header"]}
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        body = draw(
            st.dictionaries(st.sampled_from([*GOOD, "seed", "input", "steps", "num_images"]), odd_json, max_size=2)
        )
        request |= {"json": draw(st.sampled_from([GOOD | body, body, []]))}
    elif content:
        request |= {"files": {draw(st.sampled_from(["file", "other"])): draw(st.binary(max_size=20))}}
    return path, request


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data(), has_key=st.sampled_from([True, True, True, False]))
def test_whatever_is_sent_the_answer_is_as_described(
    service: InlineService, document: Document, data: st.DataObject, has_key: bool
) -> None:
    path, request = data.draw(requests(document, "pred_unknown"))
    request |= {"headers": request["headers"] | (service.headers if has_key else {}), "follow_redirects": False}
    if ".." in request["url"]:
        return  # a client takes it away: another route
    assert_described(document, path, service.client.request(**request))


def test_a_key_that_may_not_is_answered_as_described(tmp_path: Path) -> None:
    limits = replace(MANY, reads_per_minute=1, free_disk_bytes=2**62)
    with inline_service(tmp_path / "data", limits=limits) as service:
        document = service.client.get("/openapi.json").json()
        for status, path, method, key in (
            (503, f"{P}/generateImage", "POST", service.key),
            (200, "/public/v1/balance", "GET", service.key),
            (429, "/public/v1/balance", "GET", service.key),
            (401, "/public/v1/balance", "GET", "none"),
            (403, f"{P}/generateImage", "POST", service.new_key(scopes=frozenset())[1]),
        ):
            answer = service.client.request(method, path, json=GOOD, headers=bearer(key))
            assert answer.status_code == status
            assert_described(document, path, answer)
