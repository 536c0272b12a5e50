import subprocess
import sys

import numpy as np
import pytest

from tfnorm.cli import main


def run(arguments, capsys, monkeypatch):
    """Run ``tfnorm convert`` in this process and return exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["tfnorm", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _not_compiled(monkeypatch):
    """Compute norms by their formulas: compiling one for each shape takes longer than all the rest."""
    import tfnorm.ops.tensorflow as fast

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
    return np.asarray(load(path)(x))


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
    for word in ("bn1", "BatchNormalization", "GroupNormalization", "4 groups do not divide 6 channels"):
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
    assert run([files / "bn.keras", tmp_path / "frn.keras", "--to", "frn", "--keras"], capsys, monkeypatch)[::2] == (
        2,
        "tfnorm: Keras has no counterpart of these layers: bn1 (FilterResponseNormalization), relu1 (TLU), "
        "bn2 (FilterResponseNormalization), relu2 (TLU), last (FilterResponseNormalization). "
        "Keep the model as it is and import tfnorm.layers before loading it.\n",
    )
    assert not (tmp_path / "frn.keras").exists()


def test_from_tfa(files, tmp_path, capsys, monkeypatch):
    from tfnorm import convert

    seen = []

    def load_tfa_model(path, *, model):
        seen.append((path, model))
        return load(files / "bn.keras")

    monkeypatch.setattr(convert, "load_tfa_model", load_tfa_model, raising=False)
    (tmp_path / "old.h5").write_text("weights")
    (tmp_path / "model.json").write_text("{}")
    arguments = [tmp_path / "old.h5", tmp_path / "new.keras", "--from-tfa", "--model", tmp_path / "model.json"]
    code, out, _ = run(arguments, capsys, monkeypatch)
    assert (code, out) == (0, f"Wrote {tmp_path / 'new.keras'}\n")
    assert seen == [(tmp_path / "old.h5", tmp_path / "model.json")]
    np.testing.assert_array_equal(outputs(tmp_path / "new.keras"), outputs(files / "bn.keras"))


def test_a_file_is_written_over_only_if_told(files, tmp_path, capsys, monkeypatch):
    target = tmp_path / "new.keras"
    target.write_text("mine")
    arguments = [files / "bn.keras", target, "--to", "in"]
    assert run(arguments, capsys, monkeypatch) == (
        2,
        "",
        f"tfnorm: The file {str(target)!r} exists. Give another name, or --force to write over it.\n",
    )
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


REFUSED = [
    ([], "One of --to, --insert, --fold and --from-tfa is needed. Received: none of them."),
    (["--to", "bn", "--fold"], "One of --to, --insert, --fold and --from-tfa is needed. Received: --to and --fold."),
    (["--to", "gm:2"], "Unknown norm 'gm' at character 1 of 'gm:2'. Did you mean 'gn'? "
     "Use one of: none, bn, ln, gn, in, rms, frn."),
    (["--insert", "bn+l1=1e-4"], "Penalties reach every weight of a network, and a conversion changes its norms only. "
     "Received: 'bn+l1=1e-4'. Write 'bn', and set regularizers where they are wanted."),
    (["--fold", "--where", "bn1"], "--where belongs to --to and --insert. Received: --where with --fold."),
    (["--fold", "--calibrate", "x"], "--calibrate belongs to --to and --insert. Received: --calibrate with --fold."),
    (["--fold", "--model", "m"], "--model belongs to --from-tfa. Received: --model with --fold."),
    (["--fold"], "There is no file 'none.keras'. Give a saved Keras model."),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "sentence"), REFUSED, ids=lambda part: " ".join(part) if type(part) is list else "")
def test_bad_flags_get_one_sentence(flags, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["none.keras", "new.keras", *flags], capsys, monkeypatch) == (2, "", f"tfnorm: {sentence}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("new.h5", "The name of the new file must end in .keras. Received: 'new.h5'."),
        ("folder.keras", "The new file 'folder.keras' is a folder. Give another name."),
    ],
)
def test_bad_names_get_one_sentence(name, sentence, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.keras").mkdir()
    assert run([files / "bn.keras", name, "--fold"], capsys, monkeypatch) == (2, "", f"tfnorm: {sentence}\n")


def test_calibrate(files, tmp_path, capsys, monkeypatch):
    batch, other = tmp_path / "batch.npy", tmp_path / "other.npy"
    np.save(batch, np.random.default_rng(0).normal(size=(16, 8, 8, 3)))
    arguments = [files / "plain.keras", tmp_path / "new.keras", "--insert", "bn", "--calibrate"]
    code, out, _ = run([*arguments, batch], capsys, monkeypatch)
    assert code == 0
    assert "The outputs differed by " in out and "and after calibration by 0.0%." in out
    np.testing.assert_allclose(outputs(tmp_path / "new.keras"), outputs(files / "plain.keras"), rtol=1e-3, atol=1e-4)
    assert run([*arguments, other, "--force"], capsys, monkeypatch) == (
        2,
        "",
        f"tfnorm: There is no file {str(other)!r} for --calibrate. Give the name of one, or leave --calibrate out.\n",
    )
    other.write_text("nothing")
    code, _, err = run([*arguments, other, "--force"], capsys, monkeypatch)
    assert code == 2 and err.startswith(f"tfnorm: The file {str(other)!r} is no array that NumPy can read (")
    np.savez(tmp_path / "many.npz", a=1)
    code, _, err = run([*arguments, tmp_path / "many.npz", "--force"], capsys, monkeypatch)
    assert (code, err.endswith("holds several arrays. Write one with np.save.\n")) == (2, True)


HEAVY = """
import sys
sys.argv = ["tfnorm", "convert", *sys.argv[1:]]
from tfnorm.cli import main
try:
    main()
except SystemExit as stop:
    print("exit", stop.code)
print(sorted({"tensorflow", "keras", "pandas", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["a.keras", "b.keras", "--to", "gm"], 2), (["a.keras", "b.keras", "--fold"], 2)],
)
def test_help_and_bad_input_import_nothing_heavy(arguments, code):
    answer = subprocess.run([sys.executable, "-c", HEAVY, *arguments], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-2:] == [f"exit {code}", "[]"]


def test_a_file_that_is_no_model(files, tmp_path, capsys, monkeypatch):
    code, _, err = run([files / "damaged.keras", tmp_path / "new.keras", "--fold"], capsys, monkeypatch)
    assert code == 2
    assert err.startswith(f"tfnorm: The file {str(files / 'damaged.keras')!r} is no Keras model that can be opened (")
    assert err.endswith("). Give a model saved by Keras, and --from-tfa for one of tensorflow-addons or Keras 2.\n")
    assert err.count("\n") == 1


def test_a_model_without_norms(files, tmp_path, capsys, monkeypatch):
    assert run([files / "plain.keras", tmp_path / "new.keras", "--to", "gn:2"], capsys, monkeypatch) == (
        2,
        "",
        "tfnorm: The model 'plain' has no norm that can be replaced. "
        "insert_norms, --insert on the command line, puts norms after convolutions.\n",
    )
    assert not list(tmp_path.iterdir())
