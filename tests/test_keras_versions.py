"""What differs between versions of Keras is known in one module, and works in each of them."""

import ast
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import tfnorm
from tfnorm import _keras
from tfnorm.errors import DataError, TfnormError
from tfnorm.models.saved import open_model

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


FILES = sorted((Path(__file__).parent / "keras_versions").glob("*.keras"))


def test_there_is_a_file_of_each_end_of_the_range():
    assert [path.stem for path in FILES] == ["3.12.4", "3.15.1"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_other_versions_open(path):
    """The files are those of `tests/keras_versions/write.py`."""
    import tfnorm.layers  # noqa: F401 - registers the classes in the file

    model = keras.models.load_model(path)
    images = np.linspace(-3, 5, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4).astype("float32") ** 2
    np.testing.assert_allclose(model.predict(images, verbose=0), np.load(path.with_suffix(".npy")), rtol=1e-4)


def test_unused_settings_of_later_versions_are_left_out():
    settings = {
        "renorm": False, "renorm_momentum": 0.99, "epsilon": 0.1, "quantization_config": None,
        "kernel_initializer": {"module": "keras.initializers", "config": {"seed": 1, "input_axes": None}},
        "layers": [{"module": module, "config": {"use_gate": False}} for module in ("tfnorm.layers", "own")],
    }  # fmt: skip
    assert _keras.portable(settings) == {
        "epsilon": 0.1,
        "kernel_initializer": {"module": "keras.initializers", "config": {"seed": 1}},
        "layers": [{"module": "tfnorm.layers", "config": {}}, {"module": "own", "config": {"use_gate": False}}],
    }
    used = {"renorm": True, "renorm_momentum": 0.9, "use_gate": True, "input_axes": [0]}
    assert _keras.portable(used) == used


def test_a_file_with_settings_of_a_later_version_opens(tmp_path, monkeypatch):
    monkeypatch.setitem(_keras._LATER, "made_up", None)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "old.keras")
    for value, opens in ((None, True), (1, False)):
        path = tmp_path / f"{value}.keras"
        with zipfile.ZipFile(tmp_path / "old.keras") as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                text = source.read(name)
                if name == "config.json":
                    config = json.loads(text)
                    config["config"]["layers"][1]["config"]["made_up"] = value
                    text = json.dumps(config)
                target.writestr(name, text)
        with pytest.raises((TypeError, ValueError), match="made_up"):
            keras.models.load_model(path)
        if opens:
            assert open_model(path).count_params() == 8
        else:
            with pytest.raises(DataError, match="made_up"):
                open_model(path)


def test_depth_and_space_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    x = np.arange(2 * 4 * 6 * 8, dtype="float32").reshape(2, 4, 6, 8)
    for ours, theirs in (
        (_keras._depth_to_space, tf.nn.depth_to_space),
        (_keras._space_to_depth, tf.nn.space_to_depth),
    ):
        np.testing.assert_array_equal(ours(x, 2), theirs(x, 2))
    with pytest.raises(ValueError, match="open height and width need"):
        _keras._depth_to_space(keras.Input((None, None, 8)), 2)


def test_renormalization_is_refused_where_keras_has_none(monkeypatch):
    class Older:
        def __init__(self, axis=-1):
            pass

    settings = {"name": "bn", "renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99}
    monkeypatch.setattr(_keras.layers, "BatchNormalization", Older)
    assert _keras.known_settings(settings) == {"name": "bn"}
    with pytest.raises(TfnormError, match=r"Keras 3\.14.*renorm=True"):
        _keras.known_settings(settings | {"renorm": True})


def test_muon_of_older_versions_takes_the_same_steps(monkeypatch):
    """The steps of 3.13, on the class of 3.12, whose methods it replaces, or of any later one."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype("float32") for shape in ((5,), (4, 3), (2, 2))]
    moved = []
    for kind in (_keras._Muon, _keras.Muon):
        optimizer = kind(0.01, exclude_layers=["left"], weight_decay=0.1, adam_weight_decay=0.2)
        variables = [
            keras.Variable(value, name=name) for value, name in zip(values, ("a", "left", "left"), strict=True)
        ]
        for step in range(3):
            optimizer.apply([keras.ops.convert_to_tensor(np.sin(value + step)) for value in values], variables)
        again = kind.from_config(optimizer.get_config())
        assert again.get_config() == optimizer.get_config()
        moved.append([keras.ops.convert_to_numpy(variable) for variable in variables])
    for ours, theirs in zip(*moved, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
