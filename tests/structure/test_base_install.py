"""Without the `engine` extra there is no torch, and everything that needs none works."""

import subprocess
import sys
from pathlib import Path

import pytest

BLOCK_HEAVY_PACKAGES = """
import sys
HEAVY = {"torch", "numpy", "safetensors", "tokenizers", "transformers", "diffusers"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def run_without_heavy_packages(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK_HEAVY_PACKAGES + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def bildwerk(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from bildwerk.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return run_without_heavy_packages(code, *arguments)


MOVING = [("models", "pull", "--help"), ("models", "import", "--help"), ("models", "verify")]


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("--version",),
        ("generate", "--help"),
        ("models", "list"),
        ("models", "show", "flux-schnell"),
        *MOVING,
    ],
    ids=" ".join,
)
def test_a_command_that_computes_no_picture_needs_no_torch(command: tuple[str, ...]) -> None:
    result = bildwerk(*command)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


def test_loras_are_listed_without_torch_and_added_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    there = tmp_path / "loras" / "bildwerk--flux-tiny" / "soft.safetensors"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"weights")
    assert '"name": "soft"' in bildwerk("loras", "list").stdout
    result = bildwerk("loras", "add", str(there))
    assert result.returncode == 1
    assert "checking a LoRA needs" in result.stderr
    assert "pip install 'bildwerk[engine]'" in result.stderr


def test_the_fake_engine_paints_without_torch_and_numpy() -> None:
    result = run_without_heavy_packages(
        "from pathlib import Path\n"
        "from bildwerk.engine.fake import FakeEngine\n"
        "from bildwerk.engine.request import EngineSpec, GenerateRequest\n"
        "spec = EngineSpec('painter', Path('nowhere'))\n"
        "*_, picture = FakeEngine(spec).generate([GenerateRequest('a lake', 64, 64, 1, 0)])\n"
        "print(picture.media_type)"
    )
    assert (result.stdout, result.stderr) == ("image/png\n", "")


def test_generate_without_torch_says_what_to_install(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "black-forest-labs--flux-schnell").symlink_to(random_model)
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    result = bildwerk("generate", "a lake", "--model", "flux-schnell", "-o", str(tmp_path / "lake.png"))
    assert result.returncode == 1
    assert "pip install 'bildwerk[engine]'" in result.stderr


LIGHT_IMPORTS = """
import sys
import bildwerk.cli.main, bildwerk.cli.commands.generate, bildwerk.cli.commands.models, bildwerk.cli.commands.doctor
import bildwerk.cli.commands.pull, bildwerk.cli.commands.import_files, bildwerk.cli.commands.verify
import bildwerk.engine.request, bildwerk.engine.fake, bildwerk.domain.catalog
heavy = {"torch", "numpy", "safetensors", "tokenizers", "huggingface_hub", "hf_xet"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_importing_the_commands_loads_nothing_heavy() -> None:
    result = subprocess.run([sys.executable, "-c", LIGHT_IMPORTS], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
