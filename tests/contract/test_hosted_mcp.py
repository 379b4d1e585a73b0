"""The hosted API's own MCP server, unmodified from npm, finds everything that it needs here."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.contract.mcp_client import McpClient, mcp_server
from tests.live_service import LiveService

PACKAGE, VERSION = "atlascloud-mcp", "1.7.0"
MODEL = "black-forest-labs/flux-schnell"
UNREACHABLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|_CERT_")


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest) -> Path:
    """The installed package; a folder of pytest's cache keeps it from run to run."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir(f"{PACKAGE}-{VERSION}")
    installed = Path(folder) / "node_modules" / PACKAGE
    if not (installed / "package.json").is_file():
        install(Path(folder))
    assert json.loads((installed / "package.json").read_text())["version"] == VERSION
    return installed


def install(folder: Path) -> None:
    options = ["--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", str(folder)]
    command = ["npm", "install", *options, f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry did not deliver within 120 seconds")
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"the npm registry cannot be reached: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr


def environment(service: LiveService, key: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return inherited | {"ATLASCLOUD_API_KEY": key, "BILDWERK_TEST_URL": service.url}


def command(package: Path) -> list[str]:
    shim = Path(__file__).with_name("rewrite_host.mjs").as_uri()
    return ["node", "--import", shim, str(package / "dist" / "index.js")]


@pytest.fixture(scope="module")
def mcp(package: Path, service: LiveService) -> Iterator[McpClient]:
    with mcp_server(command(package), environment(service, service.key)) as client:
        yield client


def wait_for(mcp: McpClient, prediction_id: str) -> str:
    """What the poll tool says once the prediction has ended."""
    for _ in range(100):
        text = mcp.call("atlas_get_prediction", prediction_id=prediction_id)
        if "still in progress" not in text:
            return text
        time.sleep(0.1)
    raise AssertionError(f"{prediction_id} does not end")


def id_in(text: str) -> str:
    found = re.search(r"\*\*Prediction ID\*\*: `(\w+)`", text)
    assert found is not None, text
    return found[1]


def test_it_offers_its_tools(mcp: McpClient) -> None:
    assert {"atlas_list_models", "atlas_generate_image", "atlas_get_prediction", "atlas_upload_media"} <= set(
        mcp.tools()
    )


def test_it_lists_our_models(mcp: McpClient) -> None:
    text = mcp.call("atlas_list_models", type="Image")
    assert f"- `{MODEL}` — FLUX.1 [schnell] · Black Forest Labs" in text
    assert MODEL in mcp.call("atlas_list_models", query="flux schnell")
    assert "No models matched" in mcp.call("atlas_list_models", query="kling")


def test_it_describes_a_model_with_price_and_parameters(mcp: McpClient, service: LiveService) -> None:
    text = mcp.call("atlas_get_model_info", model=MODEL)
    assert "- Base: $0.003/image" in text
    assert f"- **Endpoint**: `{service.url}/api/v1/model/generateImage`" in text
    assert "- **`prompt`** (`string`, _required_):" in text
    assert "- Range: 64 .. 2048" in text
    assert f'curl -X GET "{service.url}/api/v1/model/prediction/{{prediction_id}}"' in text


def test_the_full_example_that_it_shows_is_a_request_that_we_take(mcp: McpClient, service: LiveService) -> None:
    text = mcp.call("atlas_get_model_info", model=MODEL)
    example = re.search(r"\*\*Full Example\*\*:\n+```json\n(.*?)```", text, re.DOTALL)
    assert example is not None
    body = {name: value for name, value in json.loads(example[1]).items() if value != ""} | {"prompt": "a lake"}
    answer = requests.post(
        f"{service.url}/api/v1/model/generateImage", json=body, headers=service.headers, timeout=30
    ).json()
    assert answer["code"] == 200, answer


def test_it_makes_a_picture(mcp: McpClient) -> None:
    params = {"prompt": "a lake", "size": "512*512", "steps": 4, "seed": 7, "num_images": 2, "output_format": "webp"}
    prediction_id = id_in(mcp.call("atlas_generate_image", model=MODEL, params=params))
    text = wait_for(mcp, prediction_id)
    assert "- **Status**: completed" in text
    assert "- **Cost**: $0.006" in text
    urls = re.findall(r"\[image\] (http\S+)", text)
    assert len(urls) == 2
    answer = requests.get(urls[1], timeout=30)
    assert answer.headers["content-type"] == "image/webp"


def test_it_finds_a_model_by_keyword(mcp: McpClient) -> None:
    text = mcp.call("atlas_quick_generate", model_keyword="flux schnell", type="Image", prompt="a meadow")
    assert "- **Status**: completed" in wait_for(mcp, id_in(text))


def test_a_dry_run_passes_its_check_of_our_schema(mcp: McpClient) -> None:
    params = {"prompt": "a lake", "width": 512, "height": 768, "enable_base64_output": False}
    assert "passed schema validation" in mcp.call("atlas_generate_image", model=MODEL, params=params, dry_run=True)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"prompt": "a lake", "width": 32}, "`width` must be >= 64"),
        ({"prompt": "a lake", "steps": 51}, "`steps` must be <= 50"),
        ({"prompt": "a lake", "output_format": "gif"}, "`output_format` must be one of"),
        ({"prompt": "a lake", "speed": 9}, "`speed` is not accepted"),
        ({"size": "512*512"}, "Missing required parameter `prompt`"),
        ({"prompt": "x" * 10_001}, "exceeds maxLength 10000"),
    ],
)
def test_it_refuses_by_our_schema_before_it_asks(mcp: McpClient, params: dict[str, object], reason: str) -> None:
    assert reason in mcp.refusal("atlas_generate_image", model=MODEL, params=params)


def test_what_only_we_can_know_comes_back_as_our_sentence(mcp: McpClient) -> None:
    text = mcp.refusal("atlas_generate_image", model=MODEL, params={"prompt": "a lake", "size": "wide"})
    assert text == "Error: size must be width*height in pixels, such as 1024*1024, not 'wide'"


def test_it_uploads_a_picture(mcp: McpClient, picture_file: Path) -> None:
    text = mcp.call("atlas_upload_media", file_path=str(picture_file))
    assert "- **Filename**: image.png" in text
    assert "- **Detected type**: image" in text
    url = re.search(r"\*\*URL\*\*: (http\S+)", text)
    assert url is not None
    assert requests.get(url[1], timeout=30).headers["content-type"] == "image/png"


def test_it_says_why_an_upload_is_refused(mcp: McpClient, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert "PNG, JPEG or WebP" in mcp.refusal("atlas_upload_media", file_path=str(path))


def test_it_lists_what_was_made(mcp: McpClient) -> None:
    prediction_id = id_in(mcp.call("atlas_generate_image", model=MODEL, params={"prompt": "a sea"}))
    wait_for(mcp, prediction_id)
    text = mcp.call("atlas_list_predictions", limit=5)
    assert f"- `{prediction_id}` — **completed** — 20" in text
    assert f"- `{prediction_id}`" in mcp.call("atlas_list_predictions", prediction_id=prediction_id)
    assert "Showing 1 of 1 tasks" in mcp.call("atlas_list_predictions", prediction_id=prediction_id)
    assert f"- `{prediction_id}`" in mcp.call("atlas_list_predictions", status="completed", model=MODEL)
    assert "No generation history" in mcp.call("atlas_list_predictions", status="timeout")


def test_it_does_not_find_what_is_not_there(mcp: McpClient) -> None:
    text = mcp.refusal("atlas_get_prediction", prediction_id="pred_0")
    assert text.startswith("No prediction found with ID `pred_0`")


def test_it_knows_a_wrong_key_for_what_it_is(package: Path, service: LiveService) -> None:
    with mcp_server(command(package), environment(service, "apikey-of-another-host")) as stranger:
        text = stranger.refusal("atlas_generate_image", model=MODEL, params={"prompt": "a lake"})
    assert "Invalid or expired API key" in text


def test_a_canceled_prediction_is_an_end_with_a_reason(package: Path, slow_service: LiveService) -> None:
    with mcp_server(command(package), environment(slow_service, slow_service.key)) as patient:
        prediction_id = id_in(patient.call("atlas_generate_image", model=MODEL, params={"prompt": "a lake"}))
        url = f"{slow_service.url}/api/v1/model/prediction/{prediction_id}/cancel"
        requests.post(url, headers=slow_service.headers, timeout=30)
        text = wait_for(patient, prediction_id)
    assert "- **Status**: failed" in text
    assert re.search(r"## Error\n+\[3001\] .*cancel", text)


def test_it_tells_the_balance_the_use_and_the_costs(mcp: McpClient) -> None:
    wait_for(mcp, id_in(mcp.call("atlas_generate_image", model=MODEL, params={"prompt": "a desert"})))
    assert re.search(r"- \*\*Available\*\*: \$9\.9\d\n", mcp.call("atlas_get_balance"))
    days = {"start_date": "2026-01-01", "end_date": "2026-01-08"}
    assert "- **Buckets**: 7" in mcp.call("atlas_get_model_usage", **days)
    first = datetime.now(UTC).date()
    days = {"start_date": first.isoformat(), "end_date": (first + timedelta(days=2)).isoformat()}
    text = mcp.call("atlas_get_model_costs", **days, group_by=["model"], model_types=["image"])
    assert f'"model": "{MODEL}"' in text
    assert '"currency": "usd"' in text
