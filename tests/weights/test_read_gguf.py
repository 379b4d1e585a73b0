"""GGUF files: decoded as the `gguf` package does, and refused where a claim in them is false."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.gguf_header import MAX_SETTINGS
from bildwerk.weights.load import build_t5, build_transformer
from bildwerk.weights.packed import PackedTensor
from bildwerk.weights.places import Place
from bildwerk.weights.read_gguf import open_gguf
from bildwerk.weights.safetensors_header import MAX_TENSORS
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from tests.parity.references import reference_transformer, relative_error, twin_transformer
from tests.weights import published
from tests.weights.published import velocity

QUANTIZED = [Type.Q8_0, Type.Q4_0, Type.Q4_K, Type.Q5_K, Type.Q6_K]
HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}
"""At which bytes of a block the halves lie that all its values are multiplied by."""
ROUNDING_BARS = {Type.Q8_0: 0.015, Type.Q4_0: 0.2}


def random_blocks(kind: Type, rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocks of random bytes whose values are about of unit variance."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (rows * width // values, size), dtype=np.uint8)
    for position in HALVES[kind]:
        halves = generator.uniform(0.5, 1.0, len(blocks)).astype(np.float16)
        blocks[:, position : position + 2] = halves.view(np.uint8).reshape(-1, 2)
    spread = gguf.dequantize(blocks, kind).std()
    for position in HALVES[kind]:
        halves = blocks[:, position : position + 2].copy().view(np.float16).astype(np.float32) / spread
        blocks[:, position : position + 2] = halves.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("kind", QUANTIZED, ids=lambda kind: kind.name)
def test_blocks_decode_as_the_gguf_package_decodes_them(kind: Type) -> None:
    blocks = random_blocks(kind, 24, 512)
    packed = PackedTensor(GGUF_ENCODINGS[kind.name], (24, 512), torch.from_numpy(blocks))
    expected = torch.from_numpy(gguf.dequantize(blocks, kind))
    assert relative_error(packed.unpack(torch.float32), expected) <= 1e-7


def test_every_encoding_that_is_read_is_compared() -> None:
    assert {kind.name for kind in QUANTIZED} == GGUF_ENCODINGS.keys()


def write_gguf(path: Path, tensors: dict[str, tuple[np.ndarray, Type]], arch: str = "flux", alignment: int = 0) -> Path:
    writer = gguf.GGUFWriter(path, arch)
    writer.add_quantization_version(2)
    writer.add_array("general.tags", ["a", "b"])
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, (data, kind) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def encoded(tensor: Tensor, kind: Type) -> tuple[np.ndarray, Type]:
    """Matrices in `kind`, where their rows fit into its blocks; else float32."""
    values, _ = gguf.GGML_QUANT_SIZES[kind]
    if tensor.ndim != 2 or tensor.shape[1] % values:
        return tensor.numpy(), Type.F32
    if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        blocks = random_blocks(kind, *tensor.shape)
        factor = tensor.std().item()
        for position in HALVES[kind]:
            view = blocks.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])[:, position : position + 2]
            halves = view.copy().view(np.float16).astype(np.float32) * factor
            view[:] = halves.astype(np.float16).view(np.uint8).reshape(-1, 2)
        return blocks, kind
    return gguf.quantize(tensor.numpy(), kind), kind


def decoded(data: np.ndarray, kind: Type) -> Tensor:
    return torch.from_numpy(np.array(gguf.dequantize(data, kind), dtype=np.float32))


@pytest.fixture(scope="module")
def flux() -> Flux:
    return twin_transformer(reference_transformer(published.TRANSFORMER), published.TRANSFORMER)


def loaded(path: Path, keeps_packed: bool = True) -> Flux:
    files = sections(open_gguf(path))[Component.TRANSFORMER]
    return build_transformer(Place(files), Target(torch.float32, keeps_packed=keeps_packed))


@pytest.mark.parametrize("kind", [*QUANTIZED, Type.F16, Type.BF16, Type.F32], ids=lambda kind: kind.name)
def test_velocity_is_that_of_the_decoded_weights(kind: Type, flux: Flux, tmp_path: Path) -> None:
    tensors = {name: encoded(tensor, kind) for name, tensor in flux.state_dict().items()}
    path = write_gguf(tmp_path / "flux1-schnell.gguf", tensors)
    expected = Flux(published.TRANSFORMER).eval()
    expected.load_state_dict({name: decoded(data, kind) for name, (data, kind) in tensors.items()})
    packed, converted = loaded(path), loaded(path, keeps_packed=False)
    assert relative_error(velocity(packed), velocity(expected)) <= 1e-6
    assert relative_error(velocity(converted), velocity(expected)) <= 1e-6


@pytest.mark.parametrize("kind", ROUNDING_BARS, ids=lambda kind: kind.name)
def test_velocity_is_within_the_rounding(kind: Type, flux: Flux, tmp_path: Path) -> None:
    tensors = {name: encoded(tensor, kind) for name, tensor in flux.state_dict().items()}
    path = write_gguf(tmp_path / "flux1-schnell.gguf", tensors)
    assert relative_error(velocity(loaded(path)), velocity(flux)) <= ROUNDING_BARS[kind]


T5_NAMES = {
    "shared.": "token_embd.",
    "encoder.final_layer_norm": "enc.output_norm",
    "encoder.block": "enc.blk",
    "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b",
    "layer.0.SelfAttention.": "attn_",
    "layer.0.layer_norm": "attn_norm",
    "layer.1.layer_norm": "ffn_norm",
    "layer.1.DenseReluDense.wi_0": "ffn_gate",
    "layer.1.DenseReluDense.wi_1": "ffn_up",
    "layer.1.DenseReluDense.wo": "ffn_down",
}


def llama_name(name: str) -> str:
    for ours, theirs in T5_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def test_t5_by_the_names_of_llama_cpp(tmp_path: Path) -> None:
    tensors = {name: encoded(tensor, Type.Q8_0) for name, tensor in published.model().t5.state_dict().items()}
    renamed = {llama_name(name): content for name, content in tensors.items()}
    path = write_gguf(tmp_path / "t5-v1_1-xxl-encoder-Q8_0.gguf", renamed, arch="t5encoder")
    expected = T5Encoder(published.T5).eval()
    expected.load_state_dict({name: decoded(data, kind) for name, (data, kind) in tensors.items()})
    files, ids = sections(open_gguf(path))[Component.T5], torch.tensor([[3, 17, 40, 5]])
    assert relative_error(build_t5(Place(files), published.AS_FLOAT32)(ids), expected(ids)) <= 1e-6


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_other_alignments_are_read(alignment: int, tmp_path: Path) -> None:
    values = torch.randn(3, 5)
    tensors = {"a": (values.numpy(), Type.F32), "b": (values.numpy().copy(), Type.F32)}
    files = open_gguf(write_gguf(tmp_path / "x.gguf", tensors, alignment=alignment))
    assert all(torch.equal(tensor, values) for tensor in files.load(["a", "b"]).values())


def number(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(content: str) -> bytes:
    return number(len(content.encode())) + content.encode()


def setting(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str = "a", shape: tuple[int, ...] = (2,), kind: int = 0, begin: int = 0) -> bytes:
    sides = b"".join(number(side) for side in reversed(shape))
    return text(name) + struct.pack("<I", len(shape)) + sides + struct.pack("<I", kind) + number(begin)


def gguf_file(
    tensors: list[bytes] | None = None,
    settings: list[bytes] | None = None,
    data: bytes = bytes(8),
    counts: tuple[int, int] | None = None,
    version: int = 3,
) -> bytes:
    described, kept = [tensor()] if tensors is None else tensors, settings or []
    num_tensors, num_settings = counts or (len(described), len(kept))
    header = b"GGUF" + struct.pack("<I", version) + number(num_tensors) + number(num_settings)
    header += b"".join(kept) + b"".join(described)
    return header + bytes(-len(header) % 32) + data


STRING_ARRAY = struct.pack("<I", 8) + number(2**62)
ATTACKS = {
    "no magic": (b"GGML" + bytes(40), "is not a GGUF file"),
    "a pickle": (b"\x80\x04" + bytes(40), "is not a GGUF file"),
    "only magic": (b"GGUF", "is not a GGUF file"),
    "version 1": (gguf_file(version=1), "of version 1; versions 2 and 3 are read"),
    "big endian": (gguf_file(version=0x03000000), "of version 50331648"),
    "2^63 tensors": (gguf_file(counts=(2**63, 0)), "claims 9,223,372,036,854,775,808 tensors; at most 20,000"),
    "2^63 settings": (gguf_file(counts=(1, 2**63)), "settings; at most 10,000"),
    "too many tensors": (gguf_file(counts=(MAX_TENSORS + 1, 0)), "at most 20,000"),
    "too many settings": (gguf_file(counts=(1, MAX_SETTINGS + 1)), "at most 10,000"),
    "more settings than there are": (gguf_file(counts=(1, 50)), "the setting '' more than once"),
    "a text longer than the file": (gguf_file(settings=[setting("a", 8, number(50_000))]), "50,000 more bytes"),
    "a text of 2^64 - 1": (gguf_file(settings=[setting("a", 8, number(2**64 - 1))]), "at most 67,108,864"),
    "a key of 2^63": (gguf_file(settings=[number(2**63)]), "at most 65,536"),
    "a key that is not UTF-8": (gguf_file(settings=[number(1) + b"\xff" + bytes(8)]), "not UTF-8"),
    "a list of lists": (
        gguf_file(settings=[setting("a", 9, struct.pack("<I", 9) + number(1))]),
        "lists of lists are not read",
    ),
    "an endless list": (gguf_file(settings=[setting("a", 9, STRING_ARRAY)]), "entries of a list; at most"),
    "a long list": (gguf_file(settings=[setting("a", 9, struct.pack("<I", 10) + number(2**20))]), "8,388,608 more"),
    "a list of type -1": (
        gguf_file(settings=[setting("a", 9, struct.pack("<i", -1) + number(1))]),
        "the type 4294967295 is unknown",
    ),
    "a setting of type -1": (gguf_file(settings=[text("a") + struct.pack("<i", -1)]), "unknown type 4294967295"),
    "a setting twice": (gguf_file(settings=[setting("a", 7, b"\1")] * 2), "the setting 'a' more than once"),
    "alignment 0": (gguf_file(settings=[setting("general.alignment", 4, bytes(4))]), "an alignment of 0"),
    "alignment 3": (gguf_file(settings=[setting("general.alignment", 4, struct.pack("<I", 24))]), "alignment of 24"),
    "alignment 2^31": (
        gguf_file(settings=[setting("general.alignment", 4, struct.pack("<I", 2**31))]),
        "of 2147483648",
    ),
    "alignment a text": (gguf_file(settings=[setting("general.alignment", 8, text("32"))]), "the type 8 instead of 4"),
    "product overflows": (gguf_file([tensor(shape=(2**32, 2**32, 2**2))]), "cut off or padded"),
    "product overflows to what is there": (gguf_file([tensor(shape=(2**33, 2**31 + 1))]), "cut off or padded"),
    "a side of 2^63": (gguf_file([tensor(shape=(2**63,))]), "an impossible shape"),
    "a side of 0": (gguf_file([tensor(shape=(0,))]), "an impossible shape"),
    "2^31 dimensions": (gguf_file([text("a") + struct.pack("<I", 2**31)]), "2,147,483,648 dimensions; at most 4"),
    "a tensor of type -1": (gguf_file([tensor(kind=2**32 - 1)]), "the type 4294967295; only F32"),
    "a type that is not read": (gguf_file([tensor(kind=16)]), "the type 16; only F32"),
    "a broken block": (gguf_file([tensor(shape=(33,), kind=8)]), "no multiple of the 32 values of Q8_0"),
    "a block of rows": (gguf_file([tensor(shape=(32, 1), kind=8)]), "no multiple of the 32 values"),
    "a scalar in blocks": (gguf_file([tensor(shape=(), kind=8)]), "no multiple of the 32 values"),
    "a tensor twice": (gguf_file([tensor(), tensor(begin=32)], data=bytes(40)), "the tensor 'a' more than once"),
    "an overlap": (gguf_file([tensor(), tensor("b")]), "an overlap before tensor 'b'"),
    "a hole": (gguf_file([tensor(), tensor("b", begin=64)], data=bytes(72)), "a hole before tensor 'b'"),
    "unaligned": (gguf_file([tensor(), tensor("b", begin=8)], data=bytes(16)), "at 8, which is no multiple of 32"),
    "beyond the file": (gguf_file([tensor(shape=(3,))]), "cut off or padded"),
    "begins beyond the file": (gguf_file([tensor(begin=2**63)]), "a hole before"),
    "cut off": (gguf_file()[:-1], "cut off or padded"),
    "cut off in the header": (gguf_file()[:30], "more bytes of header"),
    "padded": (gguf_file(data=bytes(64)), "cut off or padded"),
}


@pytest.mark.parametrize(("content", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_false_header_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=reason) as caught:
        open_gguf(path)
    assert str(caught.value).startswith(str(path))


def test_the_file_that_the_attacks_are_made_of_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_file(settings=[setting("a", 9, struct.pack("<I", 8) + number(2) + text("b") + text("c"))]))
    assert open_gguf(path).load(["a"])["a"].tolist() == [0, 0]


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.gguf").write_bytes(gguf_file())
    (folder / "x.gguf").symlink_to(tmp_path / "secret.gguf")
    with pytest.raises(WeightsError, match="leads out of its folder"):
        open_gguf(folder / "x.gguf")


GOOD = gguf_file(
    [tensor(), tensor("b", (2, 32), 8, 32)],
    [setting("general.alignment", 4, struct.pack("<I", 32)), setting("k", 8, text("value"))],
    bytes(32 + 68),
)
DAMAGE = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4)


@given(damage=DAMAGE, cut=st.integers(0, len(GOOD)) | st.just(len(GOOD)))
@settings(deadline=None, max_examples=150)
def test_a_damaged_file_is_refused_or_harmless(
    damage: list[tuple[int, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(GOOD)
    for position, value in damage:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(content[:cut])
    try:
        files = open_gguf(path)
    except WeightsError:
        return
    assert all(entry.end <= cut for entry in files.entries.values())
    assert files.load(files.entries).keys() == files.entries.keys()
