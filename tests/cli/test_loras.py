"""`bildwerk loras` puts in place what fits, and `bildwerk generate --lora` uses it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bildwerk.cli.model_files import MODELS_VARIABLE
from bildwerk.engine import images
from bildwerk.flux.transformer import Flux
from tests.cli.conftest import Bildwerk
from tests.lora_files import NAMINGS, flux_tiny, random_lora

TINY = ("--size", "64x64", "--steps", "1", "--seed", "7")
TINY_ID = "bildwerk/flux-tiny"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder of one's own, in which no model is but the embedded one."""
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def soft(tmp_path: Path) -> Path:
    return random_lora(tmp_path / "Soft.safetensors", seed=1)


def painted(bildwerk: Bildwerk, target: Path, *options: object) -> bytes:
    outcome = bildwerk("generate", "a lake", "-o", target, *TINY, *options)
    assert (outcome.exit_code, outcome.err) == (0, "")
    with Image.open(target) as image:
        return image.tobytes()


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_file_of_each_naming_is_added_listed_used_and_removed(
    bildwerk: Bildwerk, folder: Path, tmp_path: Path, naming: str
) -> None:
    source = random_lora(tmp_path / "source.safetensors", 1, naming)
    [added] = bildwerk("loras", "add", source, "--name", "night.v2").events
    assert (added["model"], added["name"], added["ranks"]) == (TINY_ID, "night.v2", [4, 4])
    stored = folder / "loras" / "bildwerk--flux-tiny" / "night.v2.safetensors"
    assert stored.read_bytes() == source.read_bytes()
    assert [lora["name"] for lora in bildwerk("loras", "list").events] == ["night.v2"]
    assert bildwerk("loras", "list", "--no-json").out.split()[:2] == [TINY_ID, "night.v2"]
    plain = painted(bildwerk, tmp_path / "plain.png")
    assert painted(bildwerk, tmp_path / "night.png", "--lora", "night.v2") != plain
    assert bildwerk("loras", "remove", "night.v2", "--no-json").out == f"removed night.v2 of {TINY_ID}\n"
    assert bildwerk("loras", "list").events == []
    assert not stored.exists()


def test_a_name_and_a_path_and_a_weight(bildwerk: Bildwerk, soft: Path, tmp_path: Path) -> None:
    bildwerk("loras", "add", soft)
    plain = painted(bildwerk, tmp_path / "0.png")
    whole = painted(bildwerk, tmp_path / "1.png", "--lora", "soft")
    half = painted(bildwerk, tmp_path / "2.png", "--lora", "soft:0.5")
    assert len({plain, whole, half}) == 3
    assert painted(bildwerk, tmp_path / "3.png", "--lora", "soft:1") == whole
    assert painted(bildwerk, tmp_path / "4.png", "--lora", f"{soft}:0.5") == half
    assert painted(bildwerk, tmp_path / "5.png", "--lora", "soft:0") == plain
    with Image.open(tmp_path / "2.png") as image:
        assert "Loras: soft:0.5" in str(images.read_parameters(image))


def test_several_are_told_in_the_first_event(bildwerk: Bildwerk, soft: Path, tmp_path: Path) -> None:
    other = random_lora(tmp_path / "other.safetensors", seed=2)
    both = ("--lora", f"{soft}:0.5", "--lora", f"{other}:-1")
    outcome = bildwerk("generate", "a lake", "-o", tmp_path / "lake.png", *TINY, *both, "--n", 2)
    assert outcome.events[0]["loras"] == [{"name": "Soft", "scale": 0.5}, {"name": "other", "scale": -1.0}]
    told = bildwerk("generate", "a lake", "-o", tmp_path / "lake.png", *TINY, *both, "--no-json").err
    assert "LoRA Soft:0.5, LoRA other:-1" in told


WRONG_OPTIONS = {
    "unknown": (["nothing"], "there is no LoRA 'nothing' for bildwerk/flux-tiny; there are: night, soft", 1),
    "no name": (["A B"], "there is no LoRA 'A B'", 1),
    "empty": ([""], "there is no LoRA ''", 1),
    "a weight beyond the range": (["soft:4.5"], "weight 4.5 of the LoRA soft is outside -4 to 4", 2),
    "1e10": (["soft:1e10"], "is outside -4 to 4", 2),
    "NaN": (["soft:nan"], "is outside -4 to 4", 2),
    "no number": (["soft:much"], "after the colon there must be a number from -4 to 4", 2),
    "six": (["soft"] * 6, "number of LoRAs 6 is outside 0 to 5", 2),
    "twice": (["soft", "soft:0.5"], "a LoRA is named more than once", 2),
    "no file": (["./nowhere.safetensors"], "nowhere.safetensors is missing or cannot be reached", 1),
    "a folder": (["/tmp"], "/tmp is not a regular file", 1),
    "a device": (["/dev/null"], "/dev/null is not a regular file", 1),
}


@pytest.mark.parametrize(("typed", "reason", "exit_code"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
def test_what_cannot_be_applied_is_explained_before_the_model_is_loaded(
    bildwerk: Bildwerk, soft: Path, tmp_path: Path, typed: list[str], reason: str, exit_code: int
) -> None:
    for name in ("soft", "night"):
        bildwerk("loras", "add", soft, "--name", name)
    options = [word for text in typed for word in ("--lora", text)]
    outcome = bildwerk("generate", "a lake", "-o", tmp_path / "lake.png", *TINY, *options)
    assert outcome.exit_code == exit_code
    assert reason in outcome.err
    assert outcome.out == ""
    assert not (tmp_path / "lake.png").exists()


def test_a_file_that_does_not_fit_is_explained(bildwerk: Bildwerk, tmp_path: Path) -> None:
    other = tmp_path / "xl.safetensors"
    save_file(STABLE_DIFFUSION_XL, other)
    outcome = bildwerk("generate", "a lake", "-o", tmp_path / "lake.png", *TINY, "--lora", other)
    assert outcome.exit_code == 1
    assert "It looks like a LoRA for Stable Diffusion XL" in outcome.err


def kohya_unet(text_width: int) -> dict[str, torch.Tensor]:
    block = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    return {
        f"{block}.lora_down.weight": torch.zeros(4, text_width),
        f"{block}.lora_up.weight": torch.zeros(640, 4),
        f"{block}.alpha": torch.tensor(4.0),
    }


STABLE_DIFFUSION_XL = kohya_unet(2048)


def wide_flux(path: Path) -> Path:
    """A LoRA for a FLUX twice as wide."""
    params = flux_tiny().params
    wide = replace(params, hidden_size=params.hidden_size * 2, num_heads=params.num_heads * 2)
    return random_lora(path, 1, flux=Flux(wide))


MISFITS = {
    "Stable Diffusion XL": lambda path: save_file(STABLE_DIFFUSION_XL, path),
    "Stable Diffusion 1": lambda path: save_file(kohya_unet(768), path),
    "a FLUX transformer of width 512": wide_flux,
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_lora_for_another_architecture_is_not_added(
    bildwerk: Bildwerk, folder: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "other.safetensors"
    MISFITS[kind](path)
    for options in ((), ("--model", "flux-tiny")):
        outcome = bildwerk("loras", "add", path, *options)
        assert (outcome.exit_code, outcome.out) == (1, "")
        assert f"It looks like a LoRA for {kind}." in outcome.err
        assert "What fits is a LoRA for a FLUX transformer of width 256" in outcome.err
    assert not folder.exists()


NO_LORAS = {
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04" + bytes(1000)), "can run code"),
    "a zip archive of torch": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(1000)), "can run code"),
    "nothing": (lambda path: path.write_bytes(b""), "has only 0 bytes"),
    "a checkpoint": (lambda path: save_file({"img_in.weight": torch.zeros(2, 2)}, path), "is not a LoRA"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "not there": (lambda path: None, "is missing or cannot be reached"),
}


@pytest.mark.parametrize(("make", "reason"), NO_LORAS.values(), ids=NO_LORAS.keys())
def test_what_is_no_lora_is_not_added(bildwerk: Bildwerk, folder: Path, tmp_path: Path, make, reason: str) -> None:
    path = tmp_path / "some.safetensors"
    make(path)
    outcome = bildwerk("loras", "add", path)
    assert outcome.exit_code == 1
    assert reason in outcome.err
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "Soft", "a b", "x" * 65, "ä", "/etc/passwd"])
def test_a_name_that_is_none_is_refused(bildwerk: Bildwerk, folder: Path, soft: Path, name: str) -> None:
    outcome = bildwerk("loras", "add", soft, f"--name={name}")
    assert outcome.exit_code == 1
    assert "is not the name of a LoRA: a name is 1 to 64 of a-z" in outcome.err
    assert not folder.exists()


def test_a_file_whose_name_is_none_needs_another(bildwerk: Bildwerk, soft: Path) -> None:
    odd = soft.rename(soft.with_name("My LoRA.safetensors"))
    outcome = bildwerk("loras", "add", odd)
    assert outcome.exit_code == 1
    assert "'My LoRA.safetensors' makes no name that requests could use: give one with --name" in outcome.err
    assert bildwerk("loras", "add", odd, "--name", "mine").exit_code == 0


def test_one_that_is_there_is_replaced_only_when_asked(bildwerk: Bildwerk, soft: Path, tmp_path: Path) -> None:
    other = random_lora(tmp_path / "other.safetensors", seed=2)
    [first] = bildwerk("loras", "add", soft).events
    outcome = bildwerk("loras", "add", other, "--name", "soft")
    assert outcome.exit_code == 1
    assert "has a LoRA soft already" in outcome.err
    assert Path(first["path"]).read_bytes() == soft.read_bytes()
    assert bildwerk("loras", "add", other, "--name", "soft", "--replace").exit_code == 0
    assert Path(first["path"]).read_bytes() == other.read_bytes()
    assert [path.name for path in Path(first["path"]).parent.iterdir()] == ["soft.safetensors"]


def test_a_model_whose_files_are_not_here_takes_none(bildwerk: Bildwerk, soft: Path) -> None:
    outcome = bildwerk("loras", "add", soft, "--model", "flux-schnell")
    assert outcome.exit_code == 1
    assert "black-forest-labs/flux-schnell cannot be used" in outcome.err


def test_removing_what_is_not_there_says_what_is(bildwerk: Bildwerk, soft: Path) -> None:
    assert "there are: none" in bildwerk("loras", "remove", "soft").err
    bildwerk("loras", "add", soft)
    outcome = bildwerk("loras", "remove", "../soft")
    assert outcome.exit_code == 1
    assert "there are: soft" in outcome.err


def test_only_one_model_can_be_looked_at(bildwerk: Bildwerk, soft: Path) -> None:
    bildwerk("loras", "add", soft)
    assert bildwerk("loras", "list", "--model", "flux-schnell").events == []
    assert bildwerk("loras", "remove", "soft", "--model", "flux-schnell").exit_code == 1
    assert [lora["name"] for lora in bildwerk("loras", "list", "--model", "flux-tiny").events] == ["soft"]
