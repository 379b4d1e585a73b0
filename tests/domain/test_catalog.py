"""The catalog names what can be asked for."""

from dataclasses import fields
from pathlib import Path

import pytest

from bildwerk.domain.catalog import CATALOG_FOLDER, EngineNumbers, find_model, load_catalog
from bildwerk.engine.request import EngineSpec

SCHNELL = (CATALOG_FOLDER / "flux-schnell.toml").read_text()


def test_it_holds_the_embedded_model_and_schnell() -> None:
    catalog = load_catalog()
    assert {"bildwerk/flux-tiny", "black-forest-labs/flux-schnell"} <= set(catalog)
    assert catalog["bildwerk/flux-tiny"].embedded
    assert catalog["black-forest-labs/flux-schnell"].price_per_image == 3_000


@pytest.mark.parametrize("name", ["flux-tiny", "bildwerk/flux-tiny"])
def test_a_model_answers_to_its_id_and_its_short_name(name: str) -> None:
    model = find_model(load_catalog(), name)
    assert model is not None
    assert model.id == "bildwerk/flux-tiny"


def test_an_unknown_name_finds_nothing() -> None:
    assert find_model(load_catalog(), "flux") is None


def test_the_engine_table_has_exactly_the_numbers_that_the_engine_takes() -> None:
    ours = {field.name for field in fields(EngineNumbers)}
    theirs = {field.name for field in fields(EngineSpec)} - {"id", "folder", "loras_folder", "precision", "placement"}
    assert ours == theirs


def test_a_spec_with_an_unknown_or_missing_entry_is_refused_by_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("colour = 3\n" + SCHNELL)
    with pytest.raises(ValueError, match=r"a\.toml: not a model spec: .*colour"):
        load_catalog(tmp_path)
    (tmp_path / "a.toml").write_text(SCHNELL.replace("max_steps = 4", ""))
    with pytest.raises(ValueError, match=r"a\.toml: not a model spec: .*max_steps"):
        load_catalog(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("max_steps = 4", "max_steps = ", "Invalid value"),
        ("max_steps = 4", 'max_steps = "4"', "max_steps is '4', but must be of type int"),
        ("max_steps = 4", "max_steps = true", "max_steps is True, but must be of type int"),
        ("max_steps = 4", "max_steps = 4\nmax_native_pixels = 2.5", r"max_native_pixels is 2\.5, but .* int \| None"),
        ("embedded = false", "embedded = 0", "embedded is 0, but must be of type bool"),
        ("price_per_image = 3_000", "price_per_image = 0.003", r"price_per_image is 0\.003"),
        ("[engine]", "[[engine]]", "mapping"),
    ],
)
def test_a_malformed_spec_is_refused_by_file(tmp_path: Path, old: str, new: str, reason: str) -> None:
    (tmp_path / "a.toml").write_text(SCHNELL.replace(old, new))
    with pytest.raises(ValueError, match=rf"a\.toml: not a model spec: .*{reason}"):
        load_catalog(tmp_path)


def test_two_models_may_not_answer_to_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SCHNELL)
    (tmp_path / "b.toml").write_text(SCHNELL.replace('id = "black-forest-labs/', 'id = "somebody/'))
    with pytest.raises(ValueError, match="more than one model answers to flux-schnell"):
        load_catalog(tmp_path)
