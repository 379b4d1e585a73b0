"""`bildwerk models import` and `bildwerk models verify`, as a person types them."""

import shutil
from pathlib import Path

import pytest

from tests.checkpoints.test_verification import damage
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def source(random_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(random_model, tmp_path / "downloads")
    return tmp_path / "downloads"


def test_an_imported_model_makes_pictures(bildwerk: Bildwerk, models: Path, source: Path, tmp_path: Path) -> None:
    outcome = bildwerk("models", "import", source, "--as", "flux-schnell")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.events[-1]["ready"]
    shutil.rmtree(source)
    picture = tmp_path / "cat.png"
    made = bildwerk("generate", "a cat", "--model", "flux-schnell", "--size", "64", "-o", picture)
    assert (made.exit_code, made.err) == (0, "")
    assert picture.exists()


def test_what_happened_to_the_files_is_said(bildwerk: Bildwerk, models: Path, source: Path) -> None:
    shared = bildwerk("models", "import", source, "--as", "flux-schnell", "--no-json").out
    assert "14 files" in shared
    assert "no further space taken" in shared
    shutil.rmtree(models)
    assert "14 files copied" in bildwerk("models", "import", source, "--as", "flux-schnell", "--copy", "--no-json").out


def test_the_cache_of_a_models_repository_says_itself_what_it_is(
    bildwerk: Bildwerk, models: Path, source: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--black-forest-labs--FLUX.1-schnell" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    source.rename(snapshot)
    assert bildwerk("models", "import", snapshot.parents[1]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["downloads"], "tells which model it is: say with --as which model the files are for; there are flux-schnell"),
        (["downloads", "--as", "flux-tiny"], "bildwerk/flux-tiny is part of Bildwerk"),
        (["nowhere", "--as", "flux-schnell"], "there is no file or folder nowhere"),
        (["downloads/vae/config.json", "--as", "flux-schnell"], "is no file of weights"),
    ],
)
def test_what_cannot_be_imported_is_explained(
    bildwerk: Bildwerk,
    models: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(source.parent)
    outcome = bildwerk("models", "import", *arguments)
    assert outcome.exit_code == 1
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not models.exists()


def test_a_model_that_is_whole_verifies(bildwerk: Bildwerk, models: Path, source: Path) -> None:
    bildwerk("models", "import", source, "--as", "flux-schnell")
    outcome = bildwerk("models", "verify", "flux-schnell")
    [found] = outcome.events
    assert outcome.exit_code == 0
    assert [file["verdict"] for file in found["files"]] == ["ok"] * 14
    lines = bildwerk("models", "verify", "--no-json").out.splitlines()
    assert f"ok       {TRANSFORMER}" in lines


def test_a_breach_ends_with_1_and_says_what_to_do(bildwerk: Bildwerk, models: Path, source: Path) -> None:
    bildwerk("models", "import", source, "--as", "flux-schnell", "--copy")
    damage(models / SCHNELL_FOLDER / TRANSFORMER)
    (models / SCHNELL_FOLDER / "vae" / "config.json").unlink()
    outcome = bildwerk("models", "verify", "flux-schnell", "--no-json")
    assert outcome.exit_code == 1
    assert f"damaged  {TRANSFORMER}: its SHA-256 begins with " in outcome.out
    assert "missing  vae/config.json: it is not there" in outcome.out
    assert f"import again, from files that are whole: {source / TRANSFORMER}" in outcome.out
    refused = bildwerk("generate", "a cat", "--model", "flux-schnell")
    assert refused.exit_code == 1
    assert "is damaged" in refused.err


def test_a_model_without_recorded_hashes_is_said_to_be_so(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk("models", "verify", "flux-schnell", "--no-json")
    assert outcome.exit_code == 0
    assert "no hashes are recorded: bildwerk models pull flux-schnell compares" in outcome.out


def test_a_model_that_is_not_here_does_not_verify(bildwerk: Bildwerk, models: Path) -> None:
    outcome = bildwerk("models", "verify", "flux-schnell", "--no-json")
    assert outcome.exit_code == 1
    assert "bildwerk models pull flux-schnell" in outcome.out
    assert bildwerk("models", "verify").exit_code == 0
