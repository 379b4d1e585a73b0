"""A model comes from the hub whole, or what came of it is kept and said."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub import Hub
from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.manifest import read_manifest
from bildwerk.checkpoints.pull import Pulled, PullEvent, pull
from bildwerk.checkpoints.selection import select_folders
from bildwerk.checkpoints.wanted import Planned, Transfer, Wanted, Work
from tests.checkpoints.conftest import NEEDED, REPOSITORY, TRANSFORMER, access_to
from tests.hub_server import HubServer, folder_content

NO_PAUSES = (0.0, 0.0)


@contextmanager
def pulling(server: HubServer, folder: Path, token: str | None = None, **options: Any) -> Iterator[Iterator[PullEvent]]:
    with Hub(access_to(server, folder.parent / "cache", token)) as hub:
        listing = hub.listing(REPOSITORY)
        wanted = [Wanted(target, file, listing) for target, file in select_folders(listing).items()]
        yield pull(hub, wanted, folder, **({"pauses": NO_PAUSES} | options))


def pulled(server: HubServer, folder: Path, token: str | None = None, **options: Any) -> Sequence[PullEvent]:
    with pulling(server, folder, token, **options) as events:
        return list(events)


def is_fetching(event: PullEvent) -> TypeGuard[Transfer]:
    return isinstance(event, Transfer) and event.work is Work.FETCH


def stop_within(server: HubServer, folder: Path, path: str) -> int:
    """A pull that ends in the middle of a file, as if its process had been killed. Returns how far it came."""
    with pulling(server, folder) as events:
        for event in events:
            if is_fetching(event) and event.path == path and event.done < event.total:
                return event.done
    raise AssertionError(f"{path} came in one piece")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "lake"


def test_a_pulled_model_is_complete_and_holds_what_its_loader_reads(hub_of_lakes: HubServer, folder: Path) -> None:
    *_, last = pulled(hub_of_lakes, folder)
    assert isinstance(last, Pulled)
    assert set(last.fetched) == NEEDED
    assert folder_content(folder).keys() == NEEDED | {"bildwerk-files.json"}
    assert problems(folder) == []
    assert all((folder / path).read_bytes() == hub_of_lakes.published[REPOSITORY][path] for path in NEEDED)


def test_what_is_recorded_is_the_sha256_of_every_file(hub_of_lakes: HubServer, folder: Path) -> None:
    pulled(hub_of_lakes, folder)
    records = read_manifest(folder).files
    assert records.keys() == NEEDED
    for path, record in records.items():
        assert record.sha256 == hashlib.sha256((folder / path).read_bytes()).hexdigest()
        assert record.source == f"{REPOSITORY}@{hub_of_lakes.commit}:{path}"


def test_the_plan_comes_first_and_progress_goes_up_to_all_bytes(hub_of_lakes: HubServer, folder: Path) -> None:
    plan, *rest = pulled(hub_of_lakes, folder)
    total = sum(len(hub_of_lakes.published[REPOSITORY][path]) for path in NEEDED)
    assert plan == Planned(folder, len(NEEDED), total, 0, 0)
    done = [event.all_done for event in rest if is_fetching(event)]
    assert done == sorted(done)
    assert done[-1] == total


def test_a_second_pull_fetches_nothing(hub_of_lakes: HubServer, folder: Path) -> None:
    pulled(hub_of_lakes, folder)
    hub_of_lakes.seen.clear()
    *_, last = pulled(hub_of_lakes, folder)
    assert isinstance(last, Pulled)
    assert not last.fetched
    assert hub_of_lakes.fetched == []


def test_what_was_put_there_by_other_means_is_read_and_kept(hub_of_lakes: HubServer, folder: Path) -> None:
    (folder / "transformer").mkdir(parents=True)
    (folder / TRANSFORMER).write_bytes(hub_of_lakes.published[REPOSITORY][TRANSFORMER])
    (folder / "model_index.json").write_bytes(b"x" * len(hub_of_lakes.published[REPOSITORY]["model_index.json"]))
    events = pulled(hub_of_lakes, folder)
    assert {event.path for event in events if isinstance(event, Transfer) and event.work is Work.CHECK} == {
        TRANSFORMER,
        "model_index.json",
    }
    assert TRANSFORMER not in hub_of_lakes.fetched
    assert "model_index.json" in hub_of_lakes.fetched
    assert problems(folder) == []


def test_a_pull_that_was_broken_off_goes_on_where_it_stopped(hub_of_lakes: HubServer, folder: Path) -> None:
    done = stop_within(hub_of_lakes, folder, TRANSFORMER)
    assert problems(folder) != []
    hub_of_lakes.seen.clear()
    events = pulled(hub_of_lakes, folder)
    plan = next(event for event in events if isinstance(event, Planned))
    assert plan.resumed_bytes >= done
    large = [seen for seen in hub_of_lakes.seen if seen.path.partition("?")[0].endswith(TRANSFORMER)]
    assert {seen.range for seen in large} == {f"bytes={done}-"}
    assert "model_index.json" not in hub_of_lakes.fetched
    assert problems(folder) == []
    assert not (folder / ".incoming").exists()


def test_a_server_that_cannot_begin_in_the_middle_sends_all_of_it_again(hub_of_lakes: HubServer, folder: Path) -> None:
    stop_within(hub_of_lakes, folder, TRANSFORMER)
    hub_of_lakes.faults.ignores_range = True
    hub_of_lakes.seen.clear()
    pulled(hub_of_lakes, folder)
    assert hub_of_lakes.fetched.count(TRANSFORMER) == 1
    assert (folder / TRANSFORMER).read_bytes() == hub_of_lakes.published[REPOSITORY][TRANSFORMER]


def test_a_beginning_that_was_damaged_meanwhile_is_fetched_anew(hub_of_lakes: HubServer, folder: Path) -> None:
    stop_within(hub_of_lakes, folder, TRANSFORMER)
    [part] = (folder / ".incoming").glob("*.part")
    part.write_bytes(bytes(part.stat().st_size))
    pulled(hub_of_lakes, folder)
    assert (folder / TRANSFORMER).read_bytes() == hub_of_lakes.published[REPOSITORY][TRANSFORMER]


def test_a_beginning_that_is_longer_than_the_file_is_fetched_anew(hub_of_lakes: HubServer, folder: Path) -> None:
    stop_within(hub_of_lakes, folder, TRANSFORMER)
    [part] = (folder / ".incoming").glob("*.part")
    part.write_bytes(bytes(10**6))
    pulled(hub_of_lakes, folder)
    assert problems(folder) == []


def test_a_connection_that_breaks_is_made_again_with_the_rest(hub_of_lakes: HubServer, folder: Path) -> None:
    hub_of_lakes.faults.cut_after, hub_of_lakes.faults.cuts_left = 100_000, 2
    pulled(hub_of_lakes, folder)
    assert problems(folder) == []
    ranges = [seen.range for seen in hub_of_lakes.seen if TRANSFORMER in seen.path]
    assert len(set(ranges)) == 3


def test_a_download_that_stays_cut_off_is_explained_and_kept(hub_of_lakes: HubServer, folder: Path) -> None:
    hub_of_lakes.faults.cut_after, hub_of_lakes.faults.cuts_left = 0, 100
    with pytest.raises(CheckpointError, match=r"are kept; run this again to go on"):
        pulled(hub_of_lakes, folder)
    assert problems(folder) != []
    hub_of_lakes.faults.cuts_left = 0
    pulled(hub_of_lakes, folder)
    assert problems(folder) == []


def test_a_damaged_file_is_not_used_and_fetched_again_by_the_next_pull(hub_of_lakes: HubServer, folder: Path) -> None:
    hub_of_lakes.faults.damaged.add(TRANSFORMER)
    with pytest.raises(CheckpointError, match=f"{TRANSFORMER} of {REPOSITORY} arrived damaged"):
        pulled(hub_of_lakes, folder)
    assert not (folder / TRANSFORMER).exists()
    hub_of_lakes.faults.damaged.clear()
    hub_of_lakes.seen.clear()
    pulled(hub_of_lakes, folder)
    assert [seen.range for seen in hub_of_lakes.seen if TRANSFORMER in seen.path] == [None, None]
    assert problems(folder) == []


def test_a_damaged_small_file_is_found_by_its_git_id(hub_of_lakes: HubServer, folder: Path) -> None:
    hub_of_lakes.faults.damaged.add("vae/config.json")
    with pytest.raises(CheckpointError, match=r"^vae/config\.json of painters/lake arrived damaged"):
        pulled(hub_of_lakes, folder)


def test_the_old_model_stays_until_all_of_the_new_one_is_there(hub_of_lakes: HubServer, folder: Path) -> None:
    pulled(hub_of_lakes, folder)
    before = folder_content(folder)
    files = hub_of_lakes.published[REPOSITORY]
    hub_of_lakes.commit = "f" * 40
    files["model_index.json"] += b" "
    files[TRANSFORMER] = files[TRANSFORMER][:-1] + b"?"
    hub_of_lakes.faults.damaged.add(TRANSFORMER)
    with pytest.raises(CheckpointError, match="arrived damaged"):
        pulled(hub_of_lakes, folder)
    assert {path: content for path, content in folder_content(folder).items() if path in before} == before
    assert problems(folder) == []
    hub_of_lakes.faults.damaged.clear()
    *_, last = pulled(hub_of_lakes, folder)
    assert isinstance(last, Pulled)
    assert set(last.fetched) == {"model_index.json", TRANSFORMER}
    assert (folder / TRANSFORMER).read_bytes() == files[TRANSFORMER]


def test_files_of_two_commits_are_no_model(hub_of_lakes: HubServer, folder: Path) -> None:
    pulled(hub_of_lakes, folder)
    (folder / ".publishing").touch()
    [sentence] = problems(folder)
    assert "do not belong together" in sentence
    pulled(hub_of_lakes, folder)
    assert problems(folder) == []


def test_nothing_is_written_through_a_link_to_another_folder(
    hub_of_lakes: HubServer, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "config.json").write_text("mine")
    folder.mkdir(parents=True)
    (folder / "vae").symlink_to(tmp_path / "precious")
    with pytest.raises(CheckpointError, match="is a link: nothing is written through it"):
        pulled(hub_of_lakes, folder)
    assert folder_content(tmp_path / "precious") == {"config.json": b"mine"}


def test_too_little_room_is_said_before_the_first_byte(hub_of_lakes: HubServer, folder: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        pulled(hub_of_lakes, folder, free=lambda _: 100 * 10**6)
    assert "has 100.0 MB free, but 500.5 MB are needed: 450.6 kB of files" in str(caught.value)
    assert hub_of_lakes.fetched == []
    assert not folder.exists()


def test_only_what_is_missing_needs_room(hub_of_lakes: HubServer, folder: Path) -> None:
    pulled(hub_of_lakes, folder)
    pulled(hub_of_lakes, folder, free=lambda _: 0)


def test_two_pulls_at_once_do_not_fight(hub_of_lakes: HubServer, folder: Path) -> None:
    with pulling(hub_of_lakes, folder) as first:
        next(first)
        with pytest.raises(CheckpointError, match=r"another process \(\d+\) is filling .* wait until it has ended"):
            pulled(hub_of_lakes, folder)
        assert isinstance(list(first)[-1], Pulled)
    pulled(hub_of_lakes, folder)


def test_what_the_cache_of_the_hub_holds_is_not_fetched(hub_of_lakes: HubServer, folder: Path) -> None:
    content = hub_of_lakes.published[REPOSITORY][TRANSFORMER]
    blobs = folder.parent / "cache" / "hub" / "models--painters--lake" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
    pulled(hub_of_lakes, folder)
    assert TRANSFORMER not in hub_of_lakes.fetched
    assert (folder / TRANSFORMER).read_bytes() == content


def test_a_damaged_file_in_the_cache_is_fetched_and_left_alone(hub_of_lakes: HubServer, folder: Path) -> None:
    content = hub_of_lakes.published[REPOSITORY][TRANSFORMER]
    blobs = folder.parent / "cache" / "hub" / "models--painters--lake" / "blobs"
    blobs.mkdir(parents=True)
    blob = blobs / hashlib.sha256(content).hexdigest()
    blob.write_bytes(bytes(len(content)))
    pulled(hub_of_lakes, folder)
    assert (folder / TRANSFORMER).read_bytes() == content
    assert blob.read_bytes() == bytes(len(content))
