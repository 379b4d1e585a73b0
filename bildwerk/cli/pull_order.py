"""What is to be fetched, and into which model's folder, from what was typed."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bildwerk.checkpoints.adoptable import repository_of
from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub import Hub, TransientError
from bildwerk.checkpoints.integrity import COMPONENTS, TOKENIZERS
from bildwerk.checkpoints.listing import REPOSITORY, Listing
from bildwerk.checkpoints.location import folder_of
from bildwerk.checkpoints.selection import Selection, select_files, select_folders
from bildwerk.checkpoints.staging import bytes_on_the_way
from bildwerk.checkpoints.unreachable import nothing_listed
from bildwerk.checkpoints.wanted import Wanted
from bildwerk.cli.failure import CommandError
from bildwerk.cli.model_files import models_folder, named_model
from bildwerk.domain.catalog import Catalog, ModelSpec, find_model, load_catalog


@dataclass(frozen=True, slots=True)
class Destination:
    """The model that the files are for, and the repository that they come from."""

    model: ModelSpec
    repository: str

    @property
    def folder(self) -> Path:
        return folder_of(self.model, models_folder())


def destination(name: str, as_model: str | None) -> Destination:
    """name: a model of the catalog, or a repository. Raises `CommandError` where the two do not tell it."""
    catalog = load_catalog()
    listed = find_model(catalog, name) or model_from(catalog, name)
    model = listed if as_model is None else named_model(as_model)
    if model is None:
        what = "a repository that no model comes from" if REPOSITORY.fullmatch(name) else "no model and no repository"
        raise CommandError(f"{name[:200]!r} is {what}: {say_which(catalog)}")
    require_fetchable(model)
    return Destination(model, name if listed is None else listed.source)


def destination_of(path: Path, as_model: str | None) -> Destination:
    """Of files on this machine. Raises `CommandError` where nothing says which model they are for."""
    catalog = load_catalog()
    repository = repository_of(path)
    model = model_from(catalog, repository) if as_model is None else named_model(as_model)
    if model is None:
        raise CommandError(f"nothing about {path} tells which model it is: {say_which(catalog)}")
    require_fetchable(model)
    return Destination(model, model.source)


def model_from(catalog: Catalog, repository: str | None) -> ModelSpec | None:
    """The model that comes from a repository, capitals or not, as the hub has it."""
    wanted = (repository or "").lower()
    return next((spec for spec in catalog.values() if not spec.embedded and spec.source.lower() == wanted), None)


def say_which(catalog: Catalog) -> str:
    names = ", ".join(spec.short_name for spec in catalog.values() if not spec.embedded)
    return f"say with --as which model the files are for; there are {names}"


def require_fetchable(model: ModelSpec) -> None:
    if model.embedded:
        raise CommandError(f"{model.id} is part of Bildwerk: there is nothing to fetch")


def wanted_files(
    hub: Hub, to: Destination, revision: str, patterns: Collection[str], without: Collection[str]
) -> list[Wanted]:
    """Raises `CheckpointError` for what the repository lacks and for what cannot be left out."""
    unknown = sorted(set(without) - COMPONENTS.keys())
    if unknown:
        raise CheckpointError(f"{unknown[0]!r} is not one of a model's folders, which are {', '.join(COMPONENTS)}")
    if not patterns and len(set(without)) == len(COMPONENTS):
        raise CheckpointError("nothing is left to be fetched: --without names every folder of the model")
    listing = _listing(hub, to, to.repository, revision)
    if not patterns:
        return _wanted(listing, select_folders(listing, [name for name in COMPONENTS if name not in without]))
    chosen = _wanted(listing, select_files(listing, patterns))
    return [*chosen, *_companions(hub, to, listing, [one.target for one in chosen])]


def _companions(hub: Hub, to: Destination, listing: Listing, chosen: Collection[str]) -> list[Wanted]:
    """The tokenizers, which no single file holds: from the repository itself, or from where the model comes from."""
    lacking = [
        name
        for name in sorted(TOKENIZERS)
        if not (to.folder / name).is_dir() and not any(target.startswith(f"{name}/") for target in chosen)
    ]
    found: list[Wanted] = []
    for name in lacking:
        if f"{name}/tokenizer_config.json" not in listing.files:
            listing = _listing(hub, to, to.model.source, "main")
        found += _wanted(listing, select_folders(listing, [name]))
    return found


def _wanted(listing: Listing, selection: Selection) -> list[Wanted]:
    return [Wanted(target, file, listing) for target, file in selection.items()]


def _listing(hub: Hub, to: Destination, repository: str, revision: str) -> Listing:
    try:
        return hub.listing(repository, revision)
    except TransientError as error:
        kept = bytes_on_the_way(to.folder)
        raise CheckpointError(nothing_listed(repository, to.model.short_name, str(error), kept)) from error
