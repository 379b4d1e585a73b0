"""A picture is written whole or not at all, under the name that was asked for."""

import os
from pathlib import Path

import pytest

from bildwerk.cli.failure import CommandError
from bildwerk.cli.output_file import check_writable, format_of, numbered, write_file


@pytest.mark.parametrize(
    ("name", "output_format"), [("a.png", "png"), ("a.JPG", "jpeg"), ("a.jpeg", "jpeg"), ("a.webp", "webp")]
)
def test_the_suffix_decides_the_format(name: str, output_format: str) -> None:
    assert format_of(Path(name)) == output_format


@pytest.mark.parametrize("name", ["lake", "lake.gif", ".png"])
def test_a_suffix_that_stands_for_no_format_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match=r"use one of \.png, \.jpg, \.jpeg, \.webp"):
        format_of(Path(name))


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("lake.png", 1, "lake.png"),
        ("lake.png", 3, "lake-2.png"),
        ("lake-{seed}.png", 3, "lake-77.png"),
        ("{n} of {seed}.png", 1, "2 of 77.png"),
        ("{other}.png", 3, "{other}-2.png"),
    ],
)
def test_several_pictures_get_numbers_unless_the_name_has_its_own(name: str, count: int, expected: str) -> None:
    assert numbered(Path("folder") / name, 2, count, seed=77) == Path("folder") / expected


def test_a_file_is_written_with_the_usual_permissions_and_replaces_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "lake.png"
    target.write_bytes(b"old")
    target.unlink()
    (tmp_path / "usual").write_bytes(b"")
    write_file(target, b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode == (tmp_path / "usual").stat().st_mode
    write_file(target, b"newer")
    assert target.read_bytes() == b"newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake.png", "usual"]


def test_a_failing_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "lake.png"
    target.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left on device"):
        write_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CommandError, match="it is a folder"):
        check_writable(tmp_path)
    for parent in ("gone", "file"):
        with pytest.raises(CommandError, match="there is no folder"):
            check_writable(tmp_path / parent / "lake.png")
    check_writable(tmp_path / "lake.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    link = tmp_path / "lake.png"
    link.symlink_to(tmp_path / "pictures" / "lake.png")
    write_file(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "pictures" / "lake.png").read_bytes() == b"new"


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "lake.png"
    link.symlink_to(link)
    with pytest.raises(CommandError, match="cannot write"):
        check_writable(link)


def test_a_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "lake.png"
    os.mkfifo(pipe)
    for attempt in (lambda: check_writable(pipe), lambda: write_file(pipe, b"new")):
        with pytest.raises(CommandError, match="it is a device or a pipe"):
            attempt()
    assert pipe.is_fifo()


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "lake.png"
    target.write_bytes(b"old")
    target.chmod(0o600)
    write_file(target, b"new")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".png")
    check_writable(target)
    write_file(target, b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(CommandError, match="File name too long"):
        check_writable(tmp_path / ("x" * 252 + ".png"))
