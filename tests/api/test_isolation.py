"""Two accounts: whatever belongs to one is, to the other, as if it did not exist.

The table names every route there is, so that a new one cannot be forgotten.
"""

import json
from collections.abc import Iterator

import pytest
from httpx import Response

from bildwerk.api.routes import ROUTES
from bildwerk.domain.account import Scope
from bildwerk.domain.api_key import new_api_key
from bildwerk.store import accounts
from tests.inline_service import GOOD, InlineService, bearer, inline_service

P = "/api/v1/model"

ANOTHERS_ID = {
    ("GET", f"{P}/prediction/{{prediction_id}}"): f"{P}/prediction/%s",
    ("GET", f"{P}/prediction/{{prediction_id}}/"): f"{P}/prediction/%s/",
    ("GET", f"{P}/result/{{prediction_id}}"): f"{P}/result/%s",
    ("GET", f"{P}/getResult"): f"{P}/getResult?predictionId=%s",
    ("POST", f"{P}/prediction/{{prediction_id}}/cancel"): f"{P}/prediction/%s/cancel",
    ("GET", f"{P}/prediction/{{prediction_id}}/events"): f"{P}/prediction/%s/events",
}
"""Routes that name a prediction, and how: another account's is answered like an unknown one."""

OWN_ROWS_ONLY = {
    ("GET", f"{P}/history"),
    ("GET", "/public/v1/balance"),
    ("GET", "/public/v1/model-usage"),
    ("GET", "/public/v1/model-costs"),
}
"""Routes that list or count: another account's rows are not among them."""

NAMES_NOTHING = {
    ("POST", f"{P}/generateImage"),
    ("POST", f"{P}/generateVideo"),
    ("POST", f"{P}/generateAudio"),
    ("POST", f"{P}/uploadMedia"),
}
"""Routes behind a key that name nothing of anybody's."""

OPEN = {
    ("POST", f"{P}/calculate"),
    ("GET", "/api/v1/models"),
    ("GET", "/model/schema/{slug}.json"),
    ("GET", "/model/readme/{slug}.md"),
    ("GET", "/model/example/{slug}.json"),
    ("GET", "/files/{key:path}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/version"),
    ("GET", "/"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}
"""Routes without a key: they show nothing of an account but to whoever holds a signed URL."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InlineService]:
    with inline_service(tmp_path_factory.mktemp("isolation")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(service: InlineService) -> dict[str, str]:
    return bearer(service.new_key()[1])


@pytest.fixture(scope="module")
def prediction(service: InlineService) -> str:
    return made(service, service.headers)


def made(service: InlineService, headers: dict[str, str]) -> str:
    answer = service.client.post(f"{P}/generateImage", json={**GOOD, "enable_sync_mode": True}, headers=headers)
    assert answer.json()["status"] == "completed"
    return str(answer.json()["id"])


def without_request_id(answer: Response) -> dict[str, object]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def test_every_route_is_in_the_table():
    table = set(ANOTHERS_ID) | OWN_ROWS_ONLY | NAMES_NOTHING | OPEN
    assert {(route.method, route.path) for route in ROUTES} == table
    assert {(route.method, route.path) for route in ROUTES if route.scope is None} == OPEN


@pytest.mark.parametrize(("method", "path"), [(method, path) for (method, _), path in ANOTHERS_ID.items()])
def test_anothers_prediction_is_answered_like_an_unknown_one(
    service: InlineService, stranger: dict[str, str], prediction: str, method: str, path: str
):
    theirs = service.client.request(method, path % prediction, headers=stranger)
    unknown = service.client.request(method, path % f"pred_{'0' * 32}", headers=stranger)
    assert theirs.status_code == 404
    assert without_request_id(theirs) == without_request_id(unknown)
    assert theirs.json()["error"]["code"] == "prediction_not_found"
    own = service.client.request(method, path % prediction, headers=service.headers)
    assert prediction in own.text


ODD_IDS = ["..%2f..", "%2e%2e", "' OR 1=1 --", "pred_x", "%00", "a" * 10_000, "pred_%F0%9F%98%80", "%ff"]


@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda text: text[:12])
def test_an_odd_id_is_an_unknown_one(service: InlineService, odd: str):
    answer = service.client.get(f"{P}/getResult?predictionId={odd}", headers=service.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "prediction_not_found")


def test_each_account_sees_its_own_history(service: InlineService, stranger: dict[str, str], prediction: str):
    theirs = made(service, stranger)
    seen = {row["ID"] for row in service.client.get(f"{P}/history", headers=stranger).json()["data"]["items"]}
    assert theirs in seen
    assert prediction not in seen


def test_anothers_picture_cannot_be_reached_with_ones_own_signature(
    service: InlineService, stranger: dict[str, str], prediction: str
):
    url = service.client.get(f"{P}/prediction/{prediction}", headers=service.headers).json()["outputs"][0]
    other = service.client.get(f"{P}/prediction/{made(service, stranger)}", headers=stranger).json()["outputs"][0]
    forged = url.partition("?")[0] + "?" + other.partition("?")[2]
    assert service.client.get(url).status_code == 200
    assert service.client.get(forged).status_code == 403


@pytest.mark.parametrize(
    ("method", "path"), [(route.method, route.path) for route in ROUTES if route.scope is not None]
)
@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearer", "Bearer x", "Bearer bw_live_" + "0" * 38])
def test_no_route_behind_a_key_answers_without_one(
    service: InlineService, method: str, path: str, authorization: str | None
):
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = service.client.request(method, path.replace("{prediction_id}", "pred_x"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_an_unknown_path_is_401_without_a_key_and_404_with_one(service: InlineService):
    assert service.client.get("/api/v1/nothing").status_code == 401
    assert service.client.get("/api/v1/nothing", headers=service.headers).status_code == 404


ODD_PATHS = ["//api/v1/model/history", "/API/v1/model/history", "/api/v1/%2e/model/history", "/api/v1/model/history/"]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_an_odd_spelling_of_a_path_is_no_way_around_the_key(service: InlineService, path: str):
    assert service.client.get(path).status_code in (401, 404)


@pytest.mark.parametrize(("method", "path"), sorted({(route.method, route.path) for route in ROUTES}))
@pytest.mark.parametrize("verb", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
def test_another_verb_is_refused_on_every_route(service: InlineService, method: str, path: str, verb: str):
    concrete = path.replace("{prediction_id}", "x").replace("{slug}", "x").replace("{key:path}", "x")
    answer = service.client.request(verb, concrete)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


def test_a_revoked_key_is_refused(service: InlineService):
    key_id, secret = service.new_key()
    assert service.client.get(f"{P}/history", headers=bearer(secret)).status_code == 200
    service.database.write_blocking(lambda connection: accounts.revoke_key(connection, 2, key_id))
    assert service.client.get(f"{P}/history", headers=bearer(secret)).status_code == 401


def test_an_expired_key_is_refused(service: InlineService):
    _, secret = service.new_key(expires_at=service.service.context.now())
    assert service.client.get(f"{P}/history", headers=bearer(secret)).status_code == 401


def test_all_keys_that_are_none_get_the_same_answer(service: InlineService):
    revoked_id, revoked = service.new_key()
    service.database.write_blocking(lambda connection: accounts.revoke_key(connection, 2, revoked_id))
    _, expired = service.new_key(expires_at=service.service.context.now())
    unknown, typo = new_api_key().secret, service.key[:-1] + ("a" if service.key[-1] != "a" else "b")
    attempts = [
        "",
        "Basic Zm9vOmJhcg==",
        "Bearer",
        "Bearer ' OR '1'='1",
        *map(bearer_text, [revoked, expired, unknown, typo]),
    ]
    answers = [service.client.get(f"{P}/history", headers={"Authorization": attempt}) for attempt in attempts]
    assert {answer.status_code for answer in answers} == {401}
    assert len({json.dumps(answer.json() | {"request_id": ""}) for answer in answers}) == 1


def bearer_text(secret: str) -> str:
    return f"Bearer {secret}"


def test_a_key_that_may_only_read_cannot_submit(service: InlineService):
    _, secret = service.new_key(scopes=frozenset({Scope.READ}))
    assert service.client.get(f"{P}/history", headers=bearer(secret)).status_code == 200
    answer = service.client.post(f"{P}/generateImage", json=GOOD, headers=bearer(secret))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_two_authorization_headers_are_none(service: InlineService):
    pair = [("Authorization", f"Bearer {service.key}"), ("Authorization", f"Bearer {service.key}")]
    assert service.client.get(f"{P}/history", headers=pair).status_code == 401


def test_a_key_in_the_query_is_not_read(service: InlineService):
    assert service.client.get(f"{P}/history?api_key={service.key}&Authorization={service.key}").status_code == 401


HOSTS = ["a/?x=", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::1"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_refused(service: InlineService, host: str):
    answer = service.client.get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_host")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_this_machines_own_names_are_accepted(service: InlineService, host: str):
    assert service.client.get("/healthz", headers={"Host": host}).status_code == 200


def test_proxy_headers_change_nothing(service: InlineService):
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/x", "X-Original-URL": f"{P}/history"}
    answer = service.client.post(f"{P}/generateImage", json=GOOD, headers={**service.headers, **forged})
    assert "evil" not in answer.text
    assert service.client.get("/healthz", headers=forged).json() == {"status": "ok"}


def test_a_cancel_is_idempotent_in_every_status(service: InlineService, prediction: str):
    for _ in range(2):
        answer = service.client.post(f"{P}/prediction/{prediction}/cancel", headers=service.headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")


@pytest.mark.parametrize(
    "query",
    [
        *("no=0", "no=-1", "no=x", "no=1e3", "no=99999999999999", "no=", "pageNo=0", "page=x", "page=%D9%A5"),
        *("size=0", "size=-1", "size=x", "pageSize=0", "pageSize=1.5", "status=done"),
    ],
)
def test_a_page_outside_the_range_is_refused_by_name(service: InlineService, query: str):
    answer = service.client.get(f"{P}/history?{query}", headers=service.headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_a_page_size_is_capped(service: InlineService):
    answer = service.client.get(f"{P}/history?size=1000000000", headers=service.headers)
    assert answer.json()["data"]["pageSize"] == 100


@pytest.mark.parametrize("query", ["no=2&size=1", "pageNo=2&pageSize=1", "page=2&pageSize=1", "no=2&page=02&size=1"])
def test_a_page_is_known_by_all_of_its_names(service: InlineService, query: str):
    made = [
        service.client.post(f"{P}/generateImage", json=GOOD, headers=service.headers).json()["id"] for _ in range(2)
    ]
    data = service.client.get(f"{P}/history?{query}", headers=service.headers).json()["data"]
    assert [row["ID"] for row in data["items"]] == made[:1]
    assert (data["pageNo"], data["pageSize"]) == (2, 1)


@pytest.mark.parametrize(
    "query", ["no=1&page=2", "pageNo=1&pageNo=2", "size=5&pageSize=6", "status=failed&status=completed"]
)
def test_contradicting_pages_are_refused_and_not_chosen_from(service: InlineService, query: str):
    answer = service.client.get(f"{P}/history?{query}", headers=service.headers)
    assert answer.status_code == 400
    assert "was given more than once" in answer.json()["message"]


def test_parameters_of_nobody_are_left_alone(service: InlineService):
    assert service.client.get(f"{P}/history?utm_source=a&utm_source=b", headers=service.headers).status_code == 200
