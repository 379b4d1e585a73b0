"""The mathematics does no I/O, keeps no secrets from its caller and knows no device but its inputs'."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bildwerk.flux

FILES = sorted(Path(bildwerk.flux.__path__[0]).glob("*.py"))
ALLOWED_IMPORTS = {"collections", "dataclasses", "itertools", "json", "math", "tokenizers", "torch", "typing"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
FORBIDDEN_METHODS = {
    "read_text", "read_bytes", "write_text", "write_bytes", "open", "load", "save", "from_file", "from_pretrained",
    "from_buffer", "getenv", "cuda", "cpu", "mps", "set_default_device",
}  # fmt: skip
DEVICES = ("cuda", "cpu", "mps", "xpu")


def faults(source: str) -> Iterator[str]:
    """What a source does that the mathematics must not."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (f"imports {name.name}" for name in names if not is_allowed(name.name))
            case ast.ImportFrom(module=module) if not is_allowed(module or ""):
                yield f"imports {module}"
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield f"calls {name}"
            case ast.Call(func=ast.Attribute(attr=name)) if name in FORBIDDEN_METHODS:
                yield f"calls .{name}"
            case ast.Constant(value=str(text)) if text.partition(":")[0] in DEVICES:
                yield f"names the device {text}"


def is_allowed(module: str) -> bool:
    return module.partition(".")[0] in ALLOWED_IMPORTS or module.startswith("bildwerk.flux")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_the_mathematics_is_pure(path: Path) -> None:
    assert list(faults(path.read_text())) == []


def test_there_are_files_to_look_at() -> None:
    assert {"attention.py", "transformer.py", "t5.py", "tokenizers.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from pathlib import Path",
        "import logging",
        "from bildwerk.weights import load",
        "open('x')",
        "print(1)",
        "path.read_text()",
        "torch.load(x)",
        "x.cuda()",
        "x.to('cuda:0')",
        "torch.zeros(1, device='cpu')",
    ],
)
def test_an_impure_file_would_be_found(source: str) -> None:
    assert len(list(faults(source))) == 1
