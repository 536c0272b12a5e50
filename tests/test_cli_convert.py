import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from backends import BACKEND, array, tensorflow_only
from facts import says
from features import REFUSED as REFUSED_HERE

from tfnorm.cli import main

FIXTURES = Path(__file__).parent / "tfa" / "fixtures"


def run(arguments, capsys, monkeypatch, command="convert"):
    """Run ``tfnorm convert`` in this process and return exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["tfnorm", command, *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _not_compiled(monkeypatch):
    """Compute norms by their formulas: compiling one for each shape takes longer than all the rest."""
    if BACKEND == "tensorflow":
        import tfnorm.ops.tensorflow.norms as fast

        monkeypatch.setattr(fast, "compiles", lambda: False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a model of batch norms and one of convolutions alone, and an input for both."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("models")
    for name in ("bn", "plain"):
        x = inputs = keras.Input((8, 8, 3))
        for number in (1, 2):
            x = layers.Conv2D(6, 3, activation=None if name == "bn" else "relu", name=f"conv{number}")(x)
            if name == "bn":
                x = layers.ReLU(name=f"relu{number}")(layers.BatchNormalization(name=f"bn{number}")(x))
        x = layers.Dense(4, name="dense")(layers.Flatten(name="flatten")(x))
        if name == "bn":
            x = layers.BatchNormalization(name="last")(layers.ReLU(name="relu3")(x))
        model = keras.Model(inputs, x, name=name)
        model.compile("sgd", "mse")
        model.save(folder / f"{name}.keras")
    (folder / "damaged.keras").write_text("nothing")
    return folder


def load(path):
    import keras

    import tfnorm.layers  # noqa: F401 - registers the classes in the file

    return keras.models.load_model(path)


def outputs(path):
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    return array(load(path)(x))


def test_to(files, tmp_path, capsys, monkeypatch):
    arguments = [files / "bn.keras", tmp_path / "new" / "gn.keras", "--to", "gn:4", "--where", "bn*"]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, err) == (0, "")
    new = load(tmp_path / "new" / "gn.keras")
    assert [type(new.get_layer(name)).__name__ for name in ("bn1", "bn2", "last")] == [
        "GroupNormalization",
        "GroupNormalization",
        "BatchNormalization",
    ]
    assert new.get_layer("bn1").groups == 3 and new.compiled
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["Changed:", "2", "layers"]
    for word in ("bn1", "BatchNormalization", "GroupNormalization", "4 groups", "6 channels"):
        assert word in out
    assert out.splitlines()[-1] == f"Wrote {tmp_path / 'new' / 'gn.keras'}"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["gn.keras"]


def test_insert(files, tmp_path, capsys, monkeypatch):
    code, out, _ = run([files / "plain.keras", tmp_path / "bn.keras", "--insert", "bn"], capsys, monkeypatch)
    assert code == 0
    names = [layer.name for layer in load(tmp_path / "bn.keras").layers[1:]]
    assert names[:3] == ["conv1", "conv1_norm", "conv1_activation"]
    assert "Conv2D + BatchNormalization + Activation" in out


def test_fold(files, tmp_path, capsys, monkeypatch):
    code, out, _ = run([files / "bn.keras", tmp_path / "folded.keras", "--fold"], capsys, monkeypatch)
    assert code == 0
    new = load(tmp_path / "folded.keras")
    assert [layer.name for layer in new.layers if "Norm" in type(layer).__name__] == ["last"]
    np.testing.assert_allclose(outputs(tmp_path / "folded.keras"), outputs(files / "bn.keras"), rtol=1e-4, atol=1e-5)
    assert "Not changed: 1 layer " in out and "after 'relu3' (ReLU)" in out


def test_keras_alone(files, tmp_path, capsys, monkeypatch):
    target = tmp_path / "stock.keras"
    assert run([files / "bn.keras", target, "--to", "gn:2", "--keras"], capsys, monkeypatch)[0] == 0
    assert all(type(layer).__module__.startswith("keras.") for layer in load(target).layers)
    assert load(target).get_layer("bn1").groups == 2
    code, _, err = run([files / "bn.keras", tmp_path / "frn.keras", "--to", "frn", "--keras"], capsys, monkeypatch)
    assert code == 2
    for name, kind in {"bn": "FilterResponseNormalization", "relu": "TLU"}.items():
        says(err, f"{name}1 ({kind})", f"{name}2 ({kind})")
    says(err, "tfnorm: ", "last (FilterResponseNormalization)", "tfnorm.layers")
    assert not (tmp_path / "frn.keras").exists()


def test_from_tfa(files, tmp_path, capsys, monkeypatch):
    from tfnorm import convert

    seen = []

    def load_tfa_model(path, *, model, safe_mode):
        seen.append((path, model, safe_mode))
        return load(files / "bn.keras")

    monkeypatch.setattr(convert, "load_tfa_model", load_tfa_model, raising=False)
    (tmp_path / "old.h5").write_text("weights")
    (tmp_path / "model.json").write_text("{}")
    arguments = [tmp_path / "old.h5", tmp_path / "new.keras", "--from-tfa", "--architecture", tmp_path / "model.json"]
    code, out, _ = run(arguments, capsys, monkeypatch)
    assert (code, out) == (0, f"Wrote {tmp_path / 'new.keras'}\n")
    assert seen == [(tmp_path / "old.h5", tmp_path / "model.json", True)]
    np.testing.assert_array_equal(outputs(tmp_path / "new.keras"), outputs(files / "bn.keras"))
    assert run([*arguments, "--force", "--allow-lambda"], capsys, monkeypatch)[0] == 0
    assert seen[-1][2] is False


def test_a_file_is_written_over_only_if_told(files, tmp_path, capsys, monkeypatch):
    target = tmp_path / "new.keras"
    target.write_text("mine")
    arguments = [files / "bn.keras", target, "--to", "in"]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, out) == (2, "")
    says(err, "tfnorm: ", repr(str(target)), "another name", "--force")
    assert target.read_text() == "mine"
    assert run([*arguments, "--force"], capsys, monkeypatch)[0] == 0
    assert outputs(target).shape == (2, 4)


def test_a_file_that_fails_leaves_the_old_one(files, tmp_path, capsys, monkeypatch):
    import keras

    def fail(self, path, **options):
        with open(path, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device", str(path))

    target = tmp_path / "new.keras"
    target.write_text("mine")
    monkeypatch.setattr(keras.Sequential, "save", fail)
    monkeypatch.setattr(keras.Model, "save", fail)
    code, _, err = run([files / "bn.keras", target, "--to", "in", "--force"], capsys, monkeypatch)
    assert code == 1 and "No space left on device" in err and str(target) in err
    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["new.keras"]


# Refused at once.


ENDINGS = ".tflite for LiteRT"
REFUSED = [
    ([], ("--to, --insert, --fold and --from-tfa", "none", ENDINGS)),
    (["--to", "bn", "--fold"], ("--to, --insert, --fold and --from-tfa", "--to and --fold")),
    (["--to", "gm:2"], ("'gm'", "'gm:2'", "'gn'", "none, bn, ln, gn, in, rms, frn")),
    (["--insert", "bn+l1=1e-4"], ("'bn+l1=1e-4'", "'bn'", "regularizers")),
    (["--fold", "--where", "bn1"], ("--where", "--to and --insert", "--fold")),
    (["--fold", "--calibrate", "x"], ("--calibrate", "--to and --insert", "--fold")),
    (["--fold", "--architecture", "m"], ("--architecture", "--from-tfa", "--fold")),
    (["--fold", "--quantize", "int8"], ("--quantize", ENDINGS, "'new.keras'")),
    (["--fold", "--no-check"], ("--no-check", ENDINGS, "'new.keras'")),
    (["--fold"], ("'none.keras'", "Keras model")),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "facts"), REFUSED, ids=lambda part: " ".join(part) if type(part) is list else "")
def test_bad_flags_get_one_sentence(flags, facts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(["none.keras", "new.keras", *flags], capsys, monkeypatch)
    assert (code, out) == (2, "") and err.count("\n") == 1
    says(err, "tfnorm: ", *facts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("new.h5", ("'new.h5'", ".keras", ENDINGS)),
        ("folder.keras", ("'folder.keras'", "folder", "another name")),
    ],
)
def test_bad_names_get_one_sentence(name, facts, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.keras").mkdir()
    code, out, err = run([files / "bn.keras", name, "--fold"], capsys, monkeypatch)
    assert (code, out) == (2, "") and err.count("\n") == 1
    says(err, "tfnorm: ", *facts)


def test_calibrate(files, tmp_path, capsys, monkeypatch):
    batch, other = tmp_path / "batch.npy", tmp_path / "other.npy"
    np.save(batch, np.random.default_rng(0).normal(size=(16, 8, 8, 3)))
    arguments = [files / "plain.keras", tmp_path / "new.keras", "--insert", "bn", "--calibrate"]
    code, out, _ = run([*arguments, batch], capsys, monkeypatch)
    assert code == 0
    says(out, "differed", "after calibration", "0.0%")
    np.testing.assert_allclose(outputs(tmp_path / "new.keras"), outputs(files / "plain.keras"), rtol=1e-3, atol=1e-4)
    code, out, err = run([*arguments, other, "--force"], capsys, monkeypatch)
    assert (code, out) == (2, "")
    says(err, "tfnorm: ", repr(str(other)), "--calibrate")
    other.write_text("nothing")
    code, _, err = run([*arguments, other, "--force"], capsys, monkeypatch)
    assert code == 2
    says(err, "tfnorm: ", repr(str(other)), "NumPy")
    np.savez(tmp_path / "many.npz", a=1)
    code, _, err = run([*arguments, tmp_path / "many.npz", "--force"], capsys, monkeypatch)
    assert code == 2
    says(err, "several arrays", "np.save")


LIGHT = [
    (["--help"], 0),
    (["a.keras", "b.keras", "--to", "gm"], 2),
    (["a.keras", "b.keras", "--fold"], 2),
    (["a.keras", "b.tflite"], 2),
    ([__file__, "b.tflite", "--quantize", "int8"], 2),
    ([__file__, "b.onnx", "--batch-size", "many"], 2),
    ([__file__, "b.onnx", "--representative", "nothing"], 2),
    ([__file__, "b.pb"], 2),
]


def test_help_and_bad_input_import_nothing_heavy(what_it_imports):
    calls = [["convert", *arguments] for arguments, _ in LIGHT]
    assert what_it_imports(calls) == [(["convert", *arguments], code, []) for arguments, code in LIGHT]


def test_a_file_that_is_no_model(files, tmp_path, capsys, monkeypatch):
    code, _, err = run([files / "damaged.keras", tmp_path / "new.keras", "--fold"], capsys, monkeypatch)
    assert code == 2
    says(err, "tfnorm: ", repr(str(files / "damaged.keras")), "Keras model")
    says(err, "saved by Keras", "OUT.keras --from-tfa`")
    assert err.count("\n") == 1


def test_a_model_without_norms(files, tmp_path, capsys, monkeypatch):
    code, out, err = run([files / "plain.keras", tmp_path / "new.keras", "--to", "gn:2"], capsys, monkeypatch)
    assert (code, out) == (2, "")
    says(err, "tfnorm: ", "'plain'", "insert_norms", "--insert")
    assert not list(tmp_path.iterdir())


# Files with layers and code of one's own.

OWN = """
import keras
from keras import layers

@keras.saving.register_keras_serializable("mine")
class Scale(layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

class Plain(Scale):
    pass

def cube(x):
    return x * x * x

def relu(x):
    return -100.0 * x
"""


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    """Return a folder with `own_layers.py` and files of models with what it defines, all unknown in this process."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("own")
    (folder / "own_layers.py").write_text(OWN)
    namespace = {"__name__": "own_layers"}
    exec(OWN, namespace)  # noqa: S102 - the text above
    cases = {
        "registered": namespace["Scale"](3.0),
        "plain": namespace["Plain"](3.0),
        "wrapped": layers.TimeDistributed(namespace["Plain"](3.0)),
        "function": layers.Activation(namespace["cube"]),
        "lambda": layers.Lambda(lambda x: 2 * x),
        "named": layers.Lambda(namespace["cube"], output_shape=(6, 6, 4)),
    }
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for name, layer in cases.items():
        image = keras.Input((8, 8, 3))
        out = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, activation="relu", name="conv")(image))
        model = keras.Model(image, layer(layers.BatchNormalization(name="bn2")(layers.Conv2D(4, 1, name="last")(out))))
        model.compile("sgd", "mse")
        np.save(folder / f"{name}.npy", array(model(x)))
        for suffix in ("keras", "h5"):
            model.save(folder / f"{name}.{suffix}")
    keras.saving.get_custom_objects().pop("mine>Scale")
    return folder


@pytest.fixture
def forgotten(monkeypatch):
    """Forget after a test what it imported and where from."""
    import keras

    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    keras.saving.get_custom_objects().pop("mine>Scale", None)


MISSING = {"registered": "Scale", "plain": "Plain", "wrapped": "Plain", "function": "cube", "named": "cube"}


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        pytest.param(name, suffix, marks=pytest.mark.matrix if suffix == "keras" and name != "plain" else [])
        for name in MISSING
        for suffix in ("keras", "h5")
    ],
)
def test_what_a_file_needs_is_named_and_imported(name, suffix, own_files, tmp_path, capsys, monkeypatch, forgotten):
    import keras

    source, target = own_files / f"{name}.{suffix}", tmp_path / "new.keras"
    for command, others in (("inspect", []), ("convert", [target, "--fold"])):
        code, out, err = run([source, *others], capsys, monkeypatch, command)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert f"{MISSING[name]}'" in err and "--import" in err and "--from-tfa" not in err
    for command, others in (("inspect", []), ("convert", [target, "--fold"])):
        code, out, err = run([source, *others, "--import", own_files / "own_layers.py"], capsys, monkeypatch, command)
        assert (code, err) == (0, "") and "bn" in out
    from tfnorm.models.saved import open_model, own_objects

    with own_objects([str(own_files / "own_layers.py")]):
        new = open_model(target)
    assert [layer.name for layer in new.layers if isinstance(layer, keras.layers.BatchNormalization)] == []
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected = np.load(own_files / f"{name}.npy")
    np.testing.assert_allclose(array(new(x)), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("flags", [["--to", "gn:2"], ["--insert", "bn", "--where", "last"], ["--to", "in", "--keras"]])
def test_a_module_by_its_name(flags, own_files, tmp_path, capsys, monkeypatch, forgotten):
    monkeypatch.chdir(own_files)
    arguments = ["plain.keras", tmp_path / "new.keras", *flags, "--import", "own_layers"]
    assert run(arguments, capsys, monkeypatch)[::2] == (0, "")


@pytest.mark.parametrize("suffix", [pytest.param("keras", marks=pytest.mark.matrix), "h5"])
def test_code_in_a_file_is_run_if_allowed(suffix, own_files, tmp_path, capsys, monkeypatch):
    source = own_files / f"lambda.{suffix}"
    for command, others in (("convert", [tmp_path / "new.keras", "--fold"]), ("inspect", [])):
        code, out, err = run([source, *others], capsys, monkeypatch, command)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert "Lambda" in err and "--allow-lambda" in err and "safe_mode" not in err
        code, out, _ = run([source, *others, "--allow-lambda"], capsys, monkeypatch, command)
        assert code == 0 and "bn" in out


def test_a_lambda_that_needs_more_than_the_file_holds(tmp_path, capsys, monkeypatch):
    import keras

    image = keras.Input((4,))
    namespace = {"keras": keras}
    exec("code = lambda x: keras.ops.abs(x)", namespace)  # noqa: S102
    keras.Model(image, keras.layers.Lambda(namespace["code"])(image)).save(tmp_path / "a.keras")
    code, _, err = run([tmp_path / "a.keras", "--allow-lambda"], capsys, monkeypatch, "inspect")
    assert code == 2 and err.count("\n") == 1
    assert "NameError: name 'keras' is not defined" in err and "--import" in err


BROKEN = {
    "raises": ("x = 1\n\ndef f():\n    return missing\n\nf()\n", "NameError: name 'missing' is not defined", 4),
    "in a library": ("import numpy as np\nnp.zeros(-1)\n", "ValueError", 2),
    "syntax": ("x = 1\nclass A\n", "SyntaxError", 2),
    "missing": ("\nimport own_missing\n", "ModuleNotFoundError: No module named 'own_missing'", 2),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
}


@pytest.mark.parametrize("case", BROKEN)
def test_errors_of_what_is_imported_are_shown_as_theirs(case, own_files, tmp_path, capsys, monkeypatch, forgotten):
    text, error, line = BROKEN[case]
    (tmp_path / "own_broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for given in (tmp_path / "own_broken.py", "own_broken"):
        code, out, err = run([own_files / "plain.keras", "--import", given], capsys, monkeypatch, "inspect")
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert error in err and f"{tmp_path / 'own_broken.py'}, line {line})" in err
        assert "own_broken" not in sys.modules


def test_imports_that_are_not_there(own_files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(own_files)
    for given, words in (("none.py", "no file 'none.py'"), ("none_such.inner", "no module 'none_such.inner'")):
        for command, others in (("convert", [tmp_path / "new.keras", "--fold"]), ("inspect", [])):
            code, _, err = run(["plain.keras", *others, "--import", given], capsys, monkeypatch, command)
            assert code == 2 and words in err and "--import" in err and err.count("\n") == 1


def test_an_import_that_lacks_what_the_file_needs(own_files, tmp_path, capsys, monkeypatch, forgotten):
    (tmp_path / "own_other.py").write_text("x = 1")
    arguments = [own_files / "plain.keras", "--import", tmp_path / "own_other.py"]
    code, _, err = run(arguments, capsys, monkeypatch, "inspect")
    assert code == 2 and "'Plain'" in err and "own_other.py" in err and "Register" in err


@pytest.mark.parametrize(("option", "value"), [("--import", ["json"]), ("--allow-lambda", [])])
def test_inspect_refuses_options_of_files_for_an_architecture(option, value, capsys, monkeypatch):
    code, _, err = run(["mnist_7k", option, *value], capsys, monkeypatch, "inspect")
    assert code == 2 and err.startswith(f"tfnorm: {option} belongs to a file")


def test_what_changes_nothing_says_why(files, tmp_path, capsys, monkeypatch):
    code, _, err = run([files / "plain.keras", tmp_path / "new.keras", "--fold"], capsys, monkeypatch)
    assert code == 0
    says(err, "tfnorm: fold_batch_norm", "'plain'", "no batch norm")


MAXOUT = """
import keras

@keras.saving.register_keras_serializable("Addons")
class Maxout(keras.layers.Layer):
    def __init__(self, num_units, **kwargs):
        super().__init__(**kwargs)

    def call(self, x):
        return keras.ops.max(keras.ops.reshape(x, (-1, 4, 5, 2, 3)), axis=-1)
"""


@pytest.mark.skipif(BACKEND == "torch", reason=REFUSED_HERE)
def test_from_tfa_with_a_layer_of_ones_own(tmp_path, capsys, monkeypatch, forgotten):
    import cases
    import keras

    maxout = {
        "module": "tensorflow_addons",
        "class_name": "Maxout",
        "config": {"name": "maxout", "trainable": True, "dtype": "float32", "num_units": 2},
        "registered_name": "Addons>Maxout",
    }
    folder = cases.unpack("group_norm-groups_2", tmp_path / "old")
    path = cases.changed(folder / "model.keras", lambda found: found.append(maxout))
    arguments = [path, tmp_path / "new.keras", "--from-tfa"]
    code, _, err = run(arguments, capsys, monkeypatch)
    assert code == 2 and "Addons>Maxout" in err
    (tmp_path / "own_maxout.py").write_text(MAXOUT)
    try:
        code, _, err = run([*arguments, "--import", tmp_path / "own_maxout.py"], capsys, monkeypatch)
        assert (code, err) == (0, "")
        assert [type(layer).__name__ for layer in load(tmp_path / "new.keras").layers][-1] == "Maxout"
    finally:
        keras.saving.get_custom_objects().pop("Addons>Maxout", None)


# Files that run without Keras.


# tests/test_export_backends.py has what the other backends write.
@tensorflow_only
@pytest.mark.parametrize("target", [pytest.param("net.tflite", marks=pytest.mark.matrix), "net.onnx", "net/"])
def test_export(target, files, tmp_path, capsys, monkeypatch):
    arguments = [files / "bn.keras", f"{tmp_path}/{target}", "--batch-size", "1"]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("input: ") and lines[0].endswith(" (1, 8, 8, 3) float32")
    assert lines[1] == "output: last (1, 4) float32"
    share = lines[2].removeprefix("Largest difference from Keras: ").split()[0]
    assert float(share) < 1e-4 and " random inputs, run by " in lines[2]
    assert lines[3].startswith(f"Wrote {tmp_path / target}: ") and lines[3].endswith(" bytes")
    code, _, err = run(arguments, capsys, monkeypatch)
    assert code == 2
    says(err, "exists", "another name", "--force")
    if target == "net.onnx":
        assert run([*arguments, "--force"], capsys, monkeypatch)[0] == 0


@tensorflow_only
def test_conversion_and_export_at_once(files, tmp_path, capsys, monkeypatch):
    code, out, _ = run([files / "bn.keras", tmp_path / "net.onnx", "--to", "gn:2", "--keras"], capsys, monkeypatch)
    assert code == 0
    assert "Changed: 3 layers" in out and "Largest difference from Keras" in out
    assert (tmp_path / "net.onnx").stat().st_size > 1000


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of pictures, a file of arrays and one of a batch, for a model of 8 x 8 pixels."""
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for number in range(5):
        pixels = rng.integers(0, 256, (12, 10, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "photos" / "cats" / f"{number}.png")
    np.savez(tmp_path / "arrays.npz", x_train=rng.normal(size=(20, 8, 8, 3)), y_train=np.zeros(20))
    np.save(tmp_path / "batch.npy", rng.normal(size=(20, 8, 8, 3)))
    return tmp_path


@tensorflow_only
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("photos", "net.tflite"),
        pytest.param("arrays.npz", "net.onnx", marks=pytest.mark.matrix),
        ("batch.npy", "net.onnx"),
        ("digits", ""),
    ],
)
def test_int8_and_where_inputs_come_from(name, target, files, pictures, capsys, monkeypatch):
    monkeypatch.chdir(pictures)
    int8 = [] if target == "net.onnx" else ["--quantize", "int8"]  # which reads them in the same way
    arguments = [files / "bn.keras", target or "net.tflite", *int8, "--representative", name]
    code, out, err = run(arguments, capsys, monkeypatch)
    if name == "digits":  # grey images, and the model takes colours
        assert code == 2 and "(inputs, 8, 8, 3)" in err and "(200, 8, 8, 1)" in err
        return
    assert (code, err) == (0, "")
    says(out, "inputs that you gave", "onnxruntime" if target == "net.onnx" else "ai_edge_litert")
    assert (pictures / target).exists()


@tensorflow_only
def test_a_data_set_and_a_folder_of_its_name(pictures, capsys, monkeypatch):
    import keras

    monkeypatch.chdir(pictures)
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]).save("grey.keras")
    arguments = ["grey.keras", "net.onnx", "--representative", "digits", "--force"]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, err) == (0, "") and "on 12 inputs that you gave" in out
    Path("photos").rename("digits")
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, err) == (0, "") and "on 9 inputs that you gave" in out
    code, out, err = run([*arguments, "--data-dir", "digits"], capsys, monkeypatch)
    assert (code, out) == (2, "")
    says(err, "--data-dir", "'digits'")


EXPORTS_REFUSED = [
    ("net.tflite", ["--quantize", "int4"], ("'int4'",)),
    ("net.onnx", ["--quantize", "int8", "--representative", "digits"], ("LiteRT",)),
    ("net.tflite", ["--quantize", "int8"], ("int8", "about 100 inputs")),
    ("net.onnx", ["--batch-size", "0"], ("--batch-size", "'0'")),
    ("net.onnx", ["--representative", "cats"], ("--representative", ".npy or .npz")),
    ("net.onnx", ["--data-dir", "."], ("--data-dir", "--representative", "digits")),
    (
        "net.onnx",
        ["--data-dir", ".", "--representative", "."],
        ("--data-dir", "--representative"),
    ),
    ("net.onnx", ["--where", "bn1"], ("--where", "--to and --insert", "export")),
    ("net.onnx", ["--import", "gone.py"], ("'gone.py'", "--import")),
]


@tensorflow_only
@pytest.mark.parametrize(("target", "flags", "facts"), EXPORTS_REFUSED)
def test_bad_flags_of_exports(target, flags, facts, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run([files / "bn.keras", target, *flags], capsys, monkeypatch)
    assert (code, out) == (2, "") and err.count("\n") == 1
    says(err, "tfnorm: ", *facts)
    assert not list(tmp_path.iterdir())


@tensorflow_only
def test_export_of_own_layers_and_code(own_files, tmp_path, capsys, monkeypatch, forgotten):
    target = tmp_path / "net.onnx"
    arguments = [own_files / "plain.keras", target, "--import", own_files / "own_layers.py"]
    assert run(arguments, capsys, monkeypatch)[::2] == (0, "")
    arguments = [own_files / "lambda.h5", target, "--force"]
    code, _, err = run(arguments, capsys, monkeypatch)
    assert code == 2 and "--allow-lambda" in err
    assert run([*arguments, "--allow-lambda"], capsys, monkeypatch)[0] == 0


@tensorflow_only
def test_export_of_a_subclass_with_images_in_an_archive(own_files, pictures, capsys, monkeypatch, forgotten):
    monkeypatch.chdir(pictures)
    Path("own_network.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable('mine')\nclass Network(keras.Model):\n"
        "    def __init__(self, **options):\n        super().__init__(**options)\n"
        "        self.dense = keras.layers.Dense(2)\n\n    def call(self, x):\n        return self.dense(x)\n"
    )
    monkeypatch.syspath_prepend(pictures)
    from own_network import Network

    model = Network()
    model(np.ones((2, 8, 8, 3)))
    model.save("network.keras")
    arguments = ["network.keras", "net.onnx", "--import", "own_network.py", "--representative", "arrays.npz"]
    code, out, err = run(arguments, capsys, monkeypatch)
    assert (code, err) == (0, "") and "on 12 inputs that you gave" in out


def test_an_exported_file_is_no_source(tmp_path, capsys, monkeypatch):
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    code, out, err = run([tmp_path / "net.tflite", tmp_path / "net.onnx"], capsys, monkeypatch)
    assert (code, out) == (2, "") and err.endswith(
        "net.tflite' is for inference alone. Give the saved Keras model that it was made of.\n"
    )


@tensorflow_only
def test_export_of_a_file_of_keras_2(tmp_path, capsys, monkeypatch):
    source = zipfile.ZipFile(FIXTURES / "keras-convolutions.zip").extract("model.h5", tmp_path)
    code, out, err = run([source, tmp_path / "net.tflite"], capsys, monkeypatch)
    assert (code, err) == (0, "") and "Largest difference from Keras" in out
