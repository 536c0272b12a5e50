"""What differs between versions of Keras is known in one module, and works in each of them."""

import ast
from pathlib import Path

import pytest

import tfnorm

ROOT = Path(tfnorm.__file__).parent
KNOWS = ROOT / "_keras.py"


def is_private(name):
    """Return whether a dotted name is of something that Keras does not publish, or of its version."""
    package, *parts = name.split(".")
    hidden = any(part == "src" or (part[:1] == "_" and part[:2] != "__") for part in parts)
    return package == "keras" and (hidden or parts in (["__version__"], ["version"], ["config", "version"]))


def dotted(node, names):
    """Return the dotted name that an expression stands for, where ``names`` are those of what was imported; or ""."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, names)
        return base and f"{base}.{node.attr}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
        base = dotted(node.args[0], names)
        return base and f"{base}.{node.args[1].value}"
    return ""


def faults(source):
    """Return each use of what Keras does not publish, and each question for its version but to write it down."""
    tree, names, found = ast.parse(source), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [(alias.name, alias.asname, alias.asname and alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [(f"{node.module}.{alias.name}", alias.asname or alias.name, None) for alias in node.names]
        else:
            continue
        for name, bound, whole in imported:
            names |= {bound: whole or name} if bound else {name.partition(".")[0]: name.partition(".")[0]}
            found += [name] if is_private(name) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found += [node.value] if is_private(node.value) else []
        elif isinstance(node, ast.Attribute | ast.Call):
            name = dotted(node, names)
            found += [name] if is_private(name) else []
    return found


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path != KNOWS]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_module_knows_what_keras_does_not_publish(path):
    source = path.read_text()
    assert "keras.src" not in source
    assert faults(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import keras.src.ops",
        "import keras.src as private",
        "from keras import src",
        "from keras.src.models.functional import Functional",
        "import keras\nkeras.src.ops.nn.Relu",
        "import keras as k\ndef f():\n    return k.src",
        "import keras\nkeras._tf_keras",
        "from keras import layers\nlayers._hidden",
        "from keras import _api",
        "import keras\ngetattr(keras, 'src').ops",
        "from importlib import import_module\nimport_module('keras.src.ops')",
        "__import__('keras.src')",
        "import keras\nif keras.__version__ >= '3.14':\n    pass",
        "import keras\nif keras.version() < '3.13':\n    pass",
        "import keras\nold = getattr(keras, '__version__') < '3.13'",
        "from keras import version\nversion()",
        "from keras import __version__",
    ],
)
def test_the_checker_finds_what_is_not_published(source):
    assert faults(source)


@pytest.mark.parametrize(
    "source",
    [
        "import keras\nkeras.layers.Dense(2)._layers",
        "from tfnorm._keras import Functional",
        "'It was saved by Keras 3: keras.models.load_model shows the whole error.'",
        "import sys\ngetattr(sys.modules.get('keras'), '__version__', None)",  # written down with a run
        "from tensorflow.python.eager import record",
    ],
)
def test_the_checker_passes_what_is_published(source):
    assert faults(source) == []
