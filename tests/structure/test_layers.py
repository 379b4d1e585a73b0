"""The house stands as it was drawn: the contracts of pyproject.toml hold, and they name every room there is."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bildwerk"
FORBIDDEN_TO_THE_PICTURE_HALF = ("domain", "schemas", "store", "settings")


def contracts() -> list[dict[str, object]]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[dict[str, object]] = pyproject["tool"]["importlinter"]["contracts"]
    return found


def test_every_import_contract_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    exit_code = lint_imports(cache_dir=None)
    assert exit_code == 0, capsys.readouterr().out


def test_the_picture_half_is_kept_from_every_room_of_the_business_half_that_exists() -> None:
    [contract] = [one for one in contracts() if str(one["name"]).startswith("The picture half never hears")]
    existing = {
        f"bildwerk.{room}"
        for room in FORBIDDEN_TO_THE_PICTURE_HALF
        if (PACKAGE / room / "__init__.py").is_file() or (PACKAGE / f"{room}.py").is_file()
    }
    assert existing <= set(contract["forbidden_modules"])


def modules() -> Iterator[Path]:
    yield from PACKAGE.rglob("*.py")


def test_every_init_is_empty() -> None:
    assert [str(path) for path in ROOT.glob("*/**/__init__.py") if ".venv" not in path.parts and path.read_text()] == []


def test_no_type_is_imported_for_checking_alone() -> None:
    assert [str(path) for path in modules() if "TYPE_CHECKING" in path.read_text()] == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


VAGUE_NAMES = {"utils", "helpers", "common", "misc", "manager", "factory", "service", "core"}


def test_every_file_is_named_for_the_noun_in_it() -> None:
    assert [str(path) for path in modules() if path.stem in VAGUE_NAMES] == []


def test_the_hot_path_reads_on_one_screen() -> None:
    tree = ast.parse((PACKAGE / "engine" / "engine.py").read_text())
    [engine] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "FluxEngine"]
    [generate] = [node for node in engine.body if isinstance(node, ast.FunctionDef) and node.name == "generate"]
    first = generate.body[1] if ast.get_docstring(generate) else generate.body[0]
    assert generate.end_lineno is not None
    assert generate.end_lineno - first.lineno + 1 <= 25


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").iterdir()), ids=lambda path: path.name)
def test_every_script_says_what_it_does(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert any(line.startswith("# ") for line in lines[:2])
