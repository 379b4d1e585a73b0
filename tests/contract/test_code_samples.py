"""The public page's code samples run unchanged but for host and key."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.live_service import LiveService

SAMPLES = Path(__file__).parent / "samples"


def run_sample(
    name: str, service: LiveService, folder: Path, **replacements: str
) -> "subprocess.CompletedProcess[str]":
    text = (SAMPLES / f"{name}.txt").read_text()
    host_and_key = {"https://api.atlascloud.ai": service.url, "$ATLASCLOUD_API_KEY": service.key}
    for old, new in {**host_and_key, **replacements}.items():
        assert old in text
        text = text.replace(old, new)
    script = folder / f"{name}.py"
    script.write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def submit(service: LiveService, **headers: str) -> str:
    body = {"model": "black-forest-labs/flux-schnell", "prompt": "a lake", "steps": 4}
    answer = requests.post(
        f"{service.url}/api/v1/model/generateImage", json=body, headers=service.headers | headers, timeout=30
    )
    found: str = answer.json()["data"]["id"]
    return found


def test_the_flat_sample_makes_a_picture_of_the_size_it_asks_for(service: LiveService, tmp_path: Path) -> None:
    done = run_sample("generate", service, tmp_path)
    assert done.stderr == ""
    url = re.fullmatch(r"Generated image: (http\S+)\n", done.stdout)
    assert url is not None
    answer = requests.get(url[1], timeout=30)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (512, 512)


def test_the_nested_sample_gets_an_id(service: LiveService, tmp_path: Path) -> None:
    done = run_sample("submit_nested", service, tmp_path)
    assert re.fullmatch(r"Prediction ID: pred_\w+\nStatus: processing\n", done.stdout), done.stderr


def test_the_poll_sample_sees_the_end_of_a_picture(service: LiveService, tmp_path: Path) -> None:
    done = run_sample("poll", service, tmp_path, pred_abc123=submit(service))
    assert re.search(r"Status: completed\nOutput URL: http\S+\n$", done.stdout), done.stderr


def test_the_poll_sample_sees_the_end_of_a_canceled_prediction(slow_service: LiveService, tmp_path: Path) -> None:
    prediction_id = submit(slow_service)
    url = f"{slow_service.url}/api/v1/model/prediction/{prediction_id}/cancel"
    assert requests.post(url, headers=slow_service.headers, timeout=30).status_code == 200
    done = run_sample("poll", slow_service, tmp_path, pred_abc123=prediction_id)
    assert re.search(r"Status: failed\nError: .*cancel.*\n$", done.stdout), done.stdout + done.stderr


def test_the_poll_sample_sees_the_end_of_an_expired_prediction(slow_service: LiveService, tmp_path: Path) -> None:
    prediction_id = submit(slow_service, **{"Cancel-After": "1s"})
    done = run_sample("poll", slow_service, tmp_path, pred_abc123=prediction_id)
    assert re.search(r"Status: failed\nError: \S.*\n$", done.stdout), done.stdout + done.stderr


def test_the_sample_with_a_model_that_is_not_there_gets_an_explanation(service: LiveService, tmp_path: Path) -> None:
    done = run_sample("submit", service, tmp_path)
    assert "'code': 404" in done.stdout
    assert "model not found" in done.stdout


def test_the_upload_sample_gets_a_url(service: LiveService, tmp_path: Path, picture_file: Path) -> None:
    done = run_sample("upload", service, tmp_path)
    url = re.fullmatch(r"File URL: (http\S+)\n", done.stdout)
    assert url is not None, done.stderr
    answer = requests.get(url[1], timeout=30)
    assert Image.open(io.BytesIO(answer.content)).size == (64, 48)


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.txt")))
def test_a_sample_without_its_own_key_is_turned_away(
    name: str, service: LiveService, tmp_path: Path, picture_file: Path
) -> None:
    text = (SAMPLES / f"{name}.txt").read_text().replace("https://api.atlascloud.ai", service.url)
    script = tmp_path / "sample.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 or "unauthorized" in done.stdout
