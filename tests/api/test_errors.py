"""Every error of the business has an HTTP status, a code of its own, and a text in the reader's language."""

import re
from collections import Counter

import pytest
from starlette.requests import Request

from bildwerk.api.errors import STATUSES, error_response, status_of
from bildwerk.domain import errors
from bildwerk.domain.errors import (
    BildwerkError,
    InsufficientBalance,
    InvalidParameter,
    ModelNotFound,
    RateLimited,
    Unauthorized,
)


def every_error(error: type[BildwerkError] = BildwerkError) -> set[type[BildwerkError]]:
    return {error}.union(*(every_error(child) for child in error.__subclasses__()))


@pytest.mark.parametrize("error", sorted(every_error(), key=lambda error: error.__name__))
def test_every_error_has_a_status_that_its_family_has(error: type[BildwerkError]):
    status = status_of(error())
    assert 400 <= status <= 599
    assert (status >= 500) == (not issubclass(error, KNOWN_FAULTS_OF_CALLERS))


KNOWN_FAULTS_OF_CALLERS = (
    errors.InvalidRequest,
    errors.AccessDenied,
    errors.NotFound,
    errors.InsufficientBalance,
    errors.QuotaExceeded,
    errors.TooManyRequests,
)


def test_the_map_names_no_error_that_is_not_there():
    assert set(STATUSES) <= every_error()


def test_no_two_errors_share_a_code_but_the_root_and_a_defect():
    counts = Counter(error.code for error in every_error())
    assert {code for code, count in counts.items() if count > 1} == {"internal_error"}


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = set(
        re.findall(
            r"([A-Z]\w+)(?=\s|$)", "\n".join(re.findall(r"^[│ ]*[├└]── .*|^BildwerkError$", str(errors.__doc__), re.M))
        )
    )
    assert {error.__name__ for error in every_error()} <= drawn | {"BildwerkError"}


def answer_to(error: BildwerkError, path: str = "/api/v1/x", language: str = "") -> tuple[int, bytes, dict[str, str]]:
    headers = [(b"accept-language", language.encode())] if language else []
    response = error_response(Request({"type": "http", "path": path, "headers": headers, "state": {}}), error)
    return response.status_code, bytes(response.body), dict(response.headers)


def test_a_reader_of_german_gets_the_details_and_the_sentence_once():
    _, body, _ = answer_to(ModelNotFound("model not found: 'x' is no model"), language="de")
    assert "Dieses Modell gibt es nicht: 'x' is no model" in body.decode()
    _, body, _ = answer_to(ModelNotFound(), language="de")
    assert '"Dieses Modell gibt es nicht"' in body.decode()


def test_a_reader_of_german_gets_german_and_the_details():
    _, body, _ = answer_to(InvalidParameter("steps must be an integer from 1 to 50", param="steps"), language="de")
    assert "Ein Parameter ist ungültig: steps must be an integer from 1 to 50" in body.decode()
    assert '"param":"steps"' in body.decode()
    assert "Nicht angemeldet" in answer_to(Unauthorized(), language="de-CH")[1].decode()


def test_the_openai_surface_has_its_own_envelope():
    assert answer_to(Unauthorized(), path="/v1/images/generations")[1].startswith(b'{"error":{')
    assert answer_to(Unauthorized())[1].startswith(b'{"code":401')


def test_what_may_be_tried_again_says_when():
    assert answer_to(RateLimited(retry_after=0.2))[2]["retry-after"] == "1"
    assert "retry-after" not in answer_to(InsufficientBalance())[2]
