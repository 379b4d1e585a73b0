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


def test_loading_an_engine_does_not_wait_for_torchs_compiler() -> None:
    """It takes longer to import than all the rest of torch, and nobody who paints one picture needs it."""
    code = "import sys, bildwerk.engine.engine; print({'torch._dynamo', 'torch._inductor'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
