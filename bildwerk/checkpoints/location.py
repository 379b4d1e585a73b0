"""Where a model's files lie."""

from pathlib import Path

from bildwerk.domain.catalog import ModelSpec

PACKAGE_FOLDER = Path(__file__).parents[1]
DEFAULT_MODELS_FOLDER = Path("~/.local/share/bildwerk/models")


def folder_of(model: ModelSpec, models_folder: Path) -> Path:
    """Embedded models lie in the package, all others in `models_folder`, one folder each."""
    if model.embedded:
        return PACKAGE_FOLDER / "models" / model.short_name
    return models_folder / model.id.replace("/", "--")


def how_to_get(model: ModelSpec) -> str:
    """A sentence for those who lack the files."""
    if model.embedded:
        return f"{model.id} is part of Bildwerk: this installation is incomplete, install it again"
    return f"fetch it with: bildwerk models pull {model.short_name}"
