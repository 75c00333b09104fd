"""What a file or a configuration that someone hands over could run: nothing. Held over the source of all packages."""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

SOURCES = [
    path for package in ("analysis", "search_spaces", "study", "trainers") for path in (ROOT / package).rglob("*.py")
]

RUNS_WHAT_IT_READS = {
    "eval", "exec", "compile", "__import__",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "cloudpickle.load",
    "cloudpickle.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pandas.read_pickle",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
}  # fmt: skip
REQUIRED = {"torch.load": ("weights_only", True)}
"""Arguments without which a function unpickles whatever it is given."""
REFUSED = {("allow_pickle", True), ("shell", True)}


def faults(tree: ast.Module) -> Iterator[str]:
    names = _imported(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = _dotted(call.func, names)
        given = {(word.arg, getattr(word.value, "value", ...)) for word in call.keywords}
        if called in RUNS_WHAT_IT_READS:
            yield f"line {call.lineno}: {called}"
        if called in REQUIRED and REQUIRED[called] not in given:
            yield f"line {call.lineno}: {called} without {REQUIRED[called]}"
        # what is not a plain False may be True
        for name, value in given:
            if (name, True) in REFUSED and value is not False:
                yield f"line {call.lineno}: {name}={value}"


def _imported(tree: ast.Module) -> dict[str, str]:
    """What a module's own names stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dotted(function: ast.expr, names: dict[str, str]) -> str:
    if isinstance(function, ast.Attribute):
        return f"{_dotted(function.value, names)}.{function.attr}"
    return names.get(function.id, function.id) if isinstance(function, ast.Name) else "?"


def test_no_source_runs_what_it_reads() -> None:
    assert len(SOURCES) > 80
    found = [f"{path.relative_to(ROOT)}, {fault}" for path in SOURCES for fault in faults(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load as read\nread(path, map_location='cpu')",
        "import pickle as p\np.loads(content)",
        "from pickle import Unpickler\nUnpickler(file)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=given)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import subprocess\nsubprocess.run(command, shell=True)",
        "import os\nos.system(command)",
        "eval(text)",
    ],
)
def test_it_is_seen_where_it_is(source: str) -> None:
    assert len(list(faults(ast.parse(source)))) == 1


def test_what_only_reads_is_allowed() -> None:
    source = (
        "import torch, yaml, numpy\ntorch.load(p, weights_only=True)\nyaml.safe_load(t)\nnumpy.load(p)\nmodel.eval()"
    )
    assert list(faults(ast.parse(source))) == []
