"""Files that are not what they claim to be are refused, each with a sentence that says why."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.read_safetensors import find_safetensors, open_safetensors
from bildwerk.weights.safetensors_header import MAX_HEADER_BYTES, MAX_TENSORS


def written(path: Path, header: object, data: bytes = b"\0" * 8, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(begin: int, end: int, **changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]} | changes


HEADERS = {
    "no object": (b"[1]     ", "does not begin with '{'"),
    "not JSON": (b"{nonsense}", "not valid JSON"),
    "nested without end": (b'{"a":' + b"[" * 100_000, "not valid JSON"),
    "the same name twice": (
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}',
        "'a' more than once",
    ),
    "overlap": ({"a": entry(0, 8), "b": entry(4, 8)}, "an overlap before tensor 'b'"),
    "hole": ({"a": entry(4, 8)}, "a hole before tensor 'a'"),
    "too little described": ({"a": entry(0, 4)}, "describes 4 bytes of tensors, but holds 8"),
    "cut off": ({"a": entry(0, 8), "b": entry(8, 12)}, "cut off or padded"),
    "product of shape": ({"a": entry(0, 8, shape=[3])}, "takes 12"),
    "negative side": ({"a": entry(0, 8, shape=[-1, -2])}, "impossible shape"),
    "side is true": ({"a": entry(0, 8, shape=[True, 2])}, "impossible shape"),
    "many dimensions": ({"a": entry(0, 8, shape=[1] * 70 + [2])}, "impossible shape"),
    "enormous": ({"a": entry(0, 8, shape=[2**62, 2**62])}, "takes"),
    "sides of 4,001 digits": (
        b'{"a": {"dtype": "F32", "shape": [%b, %b], "data_offsets": [0, 8]}}' % ((b"1" + b"0" * 4_000,) * 2),
        "impossible shape",
    ),
    "an offset of 4,299 digits": ({"a": entry(0, 8, data_offsets=[0, 10**4_298])}, "impossible place"),
    "a negative offset": ({"a": entry(0, 8, data_offsets=[-8, 0])}, "impossible place"),
    "unknown dtype": ({"a": entry(0, 8, dtype="F7")}, "unknown dtype 'F7'"),
    "offsets that are texts": ({"a": entry(0, 8, data_offsets=["0", "8"])}, "something other than"),
    "an additional setting": ({"a": entry(0, 8, code="import os")}, "something other than"),
    "too many tensors": ({f"{i}": entry(0, 0) for i in range(MAX_TENSORS + 1)}, "at most 20,000"),
}


@pytest.mark.parametrize(("header", "reason"), HEADERS.values(), ids=HEADERS.keys())
def test_a_false_header_is_refused(header: object, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", header)
    with pytest.raises(WeightsError, match=reason) as caught:
        open_safetensors(path)
    assert str(caught.value).startswith(str(path))


STARTS = {
    "empty": (b"", "only 0 bytes"),
    "too short": (b"12", "only 2 bytes"),
    "header of no length": (bytes(8) + b"{}", "header of 0 bytes"),
    "header longer than the file": ((99).to_bytes(8, "little") + b"{}", "99 bytes, but has 10 in all"),
    "header beyond the limit": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "at most 16,777,216"),
    "zip": (b"PK\x03\x04" + bytes(30), "zip archive, as torch.save writes it"),
    "pickle": (b"\x80\x04\x95\x01\0\0\0\0\0\0\0", "Python pickle"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(30), "GGUF"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
}


@pytest.mark.parametrize(("content", "reason"), STARTS.values(), ids=STARTS.keys())
def test_a_file_of_another_kind_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        open_safetensors(path)


def test_names_in_messages_cannot_control_a_terminal(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", {"\x1b[2J" + "x" * 500: entry(0, 8, dtype="?")})
    with pytest.raises(WeightsError) as caught:
        open_safetensors(path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_every_tensor_of_a_good_file_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.randn(4).bfloat16(), "c": torch.zeros(0, 3), "d": torch.tensor(1.5)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    files = find_safetensors(tmp_path)
    loaded = files.load(tensors)
    assert files.shapes() == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


TENSORS = {"a": torch.ones(3, 2), "bb": torch.zeros(4).bfloat16()}
GOOD = save(TENSORS, metadata={"format": "pt"})
HEADER_BYTES = 8 + int.from_bytes(GOOD[:8], "little")
DAMAGE = st.lists(st.tuples(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=4)


@given(damage=DAMAGE, cut=st.integers(0, len(GOOD)) | st.just(len(GOOD)))
@settings(deadline=None, max_examples=150)
def test_a_damaged_file_is_refused_or_harmless(
    damage: list[tuple[int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(GOOD)
    for position, value in damage:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content[:cut])
    try:
        files = open_safetensors(path)
        loaded = files.load(files.shapes())
    except WeightsError:
        return
    assert sum(tensor.nbytes for tensor in loaded.values()) == cut - int.from_bytes(content[:8], "little") - 8


def index(folder: Path, weight_map: object) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return path


def test_shards_are_read_together(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "2.safetensors")
    index(tmp_path, {"a": "1.safetensors", "b": "2.safetensors"})
    assert {name: tensor.tolist() for name, tensor in find_safetensors(tmp_path).load("ab").items()} == {
        "a": [1, 1],
        "b": [0, 0, 0],
    }


BAD_SHARDS = [
    "../1.safetensors", "/etc/passwd.safetensors", "a/1.safetensors", "a\\1.safetensors", "..", "", "1.bin",
    "C:1.safetensors", "a\0.safetensors", 5, None,
]  # fmt: skip


@pytest.mark.parametrize("shard", BAD_SHARDS)
def test_a_shard_outside_the_folder_is_refused(shard: object, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "1.safetensors")
    with pytest.raises(WeightsError, match=r"not a plain \.safetensors file name"):
        open_safetensors(index(folder, {"a": shard}))


@pytest.mark.parametrize("content", [{}, {"weight_map": {}}, {"weight_map": ["a"]}, []], ids=str)
def test_an_index_without_a_map_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"weight_map|no JSON object"):
        open_safetensors(path)


@pytest.mark.parametrize(
    ("named", "reason"),
    [("ac", "1 missing: 'c'; 1 unexpected: 'b'"), ("abc", "1 missing: 'c'$"), ("a", "1 unexpected: 'b'$")],
)
def test_an_index_that_names_other_tensors_than_its_shards_hold_is_refused(
    named: str, reason: str, tmp_path: Path
) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(1)}, tmp_path / "1.safetensors")
    with pytest.raises(MismatchedKeysError, match=reason):
        open_safetensors(index(tmp_path, dict.fromkeys(named, "1.safetensors")))


def test_a_tensor_that_two_shards_hold_is_refused(tmp_path: Path) -> None:
    for shard in ("1.safetensors", "2.safetensors"):
        save_file({"a": torch.ones(2), shard: torch.ones(1)}, tmp_path / shard)
    homes = {"a": "1.safetensors", "1.safetensors": "1.safetensors", "2.safetensors": "2.safetensors"}
    with pytest.raises(MismatchedKeysError, match="1 unexpected: 'a'"):
        open_safetensors(index(tmp_path, homes))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "secret.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(WeightsError, match="leads out of its folder"):
        find_safetensors(folder)


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "real.safetensors")
    (tmp_path / "model.safetensors").symlink_to("real.safetensors")
    assert find_safetensors(tmp_path).shapes() == {"a": (2,)}


def test_the_links_of_a_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--a--b/blobs", tmp_path / "models--a--b/snapshots/0123/transformer"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    save_file({"a": torch.ones(2)}, blobs / "cafe")
    (snapshot / "model.safetensors").symlink_to("../../../blobs/cafe")
    assert find_safetensors(snapshot).shapes() == {"a": (2,)}


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="not a regular file"):
        find_safetensors(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match="holds no weights"):
        find_safetensors(tmp_path)


def test_a_folder_with_two_answers_is_refused(tmp_path: Path) -> None:
    for name in ("model.safetensors", "diffusion_pytorch_model.safetensors"):
        save_file({"a": torch.ones(2)}, tmp_path / name)
    with pytest.raises(WeightsError, match="holds both"):
        find_safetensors(tmp_path)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors is missing"):
        open_safetensors(index(tmp_path, {"a": "gone.safetensors"}))
