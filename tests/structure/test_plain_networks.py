"""The networks stay a text to read: nothing in them names a device, a library of kernels, or a precision to compute in.

float32 and float64 are named where the model itself is defined in them: sinusoids and rotary angles.
"""

import ast
import re
from pathlib import Path

import pytest

import bildwerk

FOLDER = Path(bildwerk.__file__).parent / "flux"
FORBIDDEN = re.compile(
    r"cuda|cpu|mps|mkldnn|onednn|openvino|triton|inductor|cudnn|ctypes|fp8|float8|int8|bf16|bfloat16|float16"
    r"|compile|autocast|quantiz|channels_last|memory_format|backends|kernel",
    re.IGNORECASE,
)
MODULES = sorted(FOLDER.glob("*.py"))


def words(tree: ast.AST) -> set[str]:
    """Every name, attribute, argument, import and string of the code; docstrings may say what they like."""
    found: set[str] = set()
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0] if node.body else None, ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.alias(name=text):
                found.add(text)
            case ast.keyword(arg=str(text)) | ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                found.add(text)
            case ast.ImportFrom(module=str(text)):
                found.add(text)
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                found.add(text)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_nothing_names_where_or_how_it_is_computed(path: Path) -> None:
    assert not {word for word in words(ast.parse(path.read_text())) if FORBIDDEN.search(word)}


@pytest.mark.parametrize(
    "code",
    [
        "import triton",
        "from torch.backends import x",
        "y = x.cuda()",
        "y = x.to('cpu')",
        "y = x.to(torch.bfloat16)",
        "y = f(memory_format=z)",
        "def quantize(x): ...",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert any(FORBIDDEN.search(word) for word in words(ast.parse(code)))


def test_there_are_networks_to_read() -> None:
    assert {"transformer", "layers", "attention", "autoencoder", "t5", "clip"} <= {path.stem for path in MODULES}
