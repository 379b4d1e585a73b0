"""The business half runs where no torch is installed."""

import subprocess
import sys

SERVE_WITHOUT_A_CHILD = """
import sys, tempfile
from pathlib import Path
from tests.inline_service import GOOD, inline_service
with tempfile.TemporaryDirectory() as folder, inline_service(Path(folder) / "data") as service:
    path = "/api/v1/model/generateImage"
    answer = service.client.post(path, json={**GOOD, "enable_sync_mode": True}, headers=service.headers)
    assert answer.json()["status"] == "completed", answer.text
print([name for name in ("torch", "numpy", "safetensors", "tokenizers") if name in sys.modules])
"""


def test_a_prediction_is_served_without_torch():
    command = [sys.executable, "-W", "ignore", "-c", SERVE_WITHOUT_A_CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
