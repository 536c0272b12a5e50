"""Models of the real tensorflow-addons, opened here."""

import warnings
from contextlib import contextmanager

import cases
import h5py
import keras
import numpy as np
import pytest
import write_fixtures
from facts import says
from keras import layers

from tfnorm import layers as ours
from tfnorm.convert import load_tfa_model
from tfnorm.errors import TfnormError

pytestmark = pytest.mark.addons

FOUND = cases.found()
OPENED = [(case, file) for case in FOUND for file in cases.files(case)]
# Every case of the newest version is read from its .keras file, and a process reads each of these .h5 files too; the
# older versions are read from a file each, and the others are in the matrix.
IN_H5 = """
    group_norm-no_center instance_norm-default filter_response_norm-learned_epsilon tlu-affine weight_norm-data_init
    spectral_norm-default keras-adapted keras-convolutions keras-functions model-frozen model-named model-nested
    model-nested_shared model-shared
""".split()
WEIGHTS = ["group_norm-groups_2", "model-nested", "model-shared", "spectral_norm-default", "weight_norm-data_init"]

# The options of each layer that there must be a case for.
OPTIONS = {
    "group_norm": "groups_1 groups_2 groups_6 groups_-1 axis_1 axis_-2 no_center no_scale no_weights epsilon penalties",
    "instance_norm": "default axis_1 no_weights epsilon",
    "filter_response_norm": "default learned_epsilon epsilon constraint",
    "tlu": "default affine vector",
    "weight_norm": "data_init no_data_init no_data_init_untouched no_bias dense conv1d transposed",
    "spectral_norm": "default power_iterations_3 dense transposed embedding",
    "model": "residual shared nested named frozen trained",
}

DROPPED = {"spectral_norm-embedding": ("SpectralNormalization ('spectral_normalization')", "Embedding")}


@contextmanager
def quietly(case):
    """Expect the warning of a case, and no other of ours or Keras's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    told = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(told) == (case in DROPPED)
    for sentence in told:
        says(sentence, *DROPPED[case])


def test_every_case_has_its_archive():
    assert [case for case in FOUND if "/" not in case] == sorted(write_fixtures.CASES)
    wanted = {f"{kind}-{option}" for kind, options in OPTIONS.items() for option in options.split()}
    assert wanted <= set(write_fixtures.CASES)
    for case in write_fixtures.CASES:
        alone = ["old.h5", "new.weights.h5"] if write_fixtures.CASES[case].weights else []
        assert cases.files(case) == ["model.h5", "model.keras", *alone]


def test_the_archives_are_small():
    assert sum(path.stat().st_size for path in cases.FIXTURES.rglob("*") if path.is_file()) < 600_000


def opened(case, file):
    if "/" in case:
        here = file == ("model.h5" if case.startswith("0.11/") else "model.keras")
    else:
        here = file == "model.keras" or case in (IN_H5 if file == "model.h5" else WEIGHTS)
    return pytest.param(case, file, marks=[] if here else pytest.mark.matrix, id=f"{case} {file}")


@pytest.mark.parametrize(("case", "file"), [opened(*each) for each in OPENED])
def test_same_outputs(case, file, unpacked):
    folder = unpacked(case)
    with quietly(case):
        model = cases.load(folder, file)
    assert cases.largest_difference(model, folder) < 1e-5
    assert not model.compiled


def test_outputs_tell_something(unpacked):
    for case in write_fixtures.CASES:
        for output in keras.tree.flatten(cases.arrays(unpacked(case), "y")):
            assert np.isfinite(output).all()
            assert output.std() > 1e-2


KINDS = {
    "group_norm-groups_2": layers.GroupNormalization,
    "instance_norm-default": layers.GroupNormalization,
    "filter_response_norm-default": ours.FilterResponseNormalization,
    "tlu-default": ours.TLU,
    "weight_norm-data_init": layers.Conv2D,
    "spectral_norm-default": layers.SpectralNormalization,
    "spectral_norm-embedding": layers.Embedding,
    "keras-adapted": layers.Normalization,
}


@pytest.mark.parametrize("case", KINDS)
def test_what_a_layer_becomes(case, unpacked):
    with quietly(case):
        model = cases.load(unpacked(case), "model.keras")
    assert type(model.layers[0]) is KINDS[case]


def test_settings_are_kept(unpacked):
    (norm,) = cases.load(unpacked("group_norm-penalties"), "model.h5").layers
    assert isinstance(norm.gamma_regularizer, keras.regularizers.L2)
    assert isinstance(norm.beta_constraint, keras.constraints.NonNeg)
    assert isinstance(norm.gamma_initializer, keras.initializers.Zeros)
    (norm,) = cases.load(unpacked("filter_response_norm-learned_epsilon"), "model.h5").layers
    assert norm.learned_epsilon
    assert norm.epsilon == 1e-6
    (norm,) = cases.load(unpacked("spectral_norm-power_iterations_3"), "model.keras").layers
    assert norm.power_iterations == 3


def test_pytorch_is_refused(unpacked, monkeypatch):
    """Functions such as padding give other numbers there, which nobody would notice."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(TfnormError, match="KERAS_BACKEND=tensorflow"):
        load_tfa_model(unpacked("group_norm-groups_2") / "model.h5")


@pytest.mark.parametrize("file", cases.FILES)
def test_what_is_frozen(file, unpacked):
    model = cases.load(unpacked("model-frozen"), file)
    inner, first, second, spectral, half = model.layers
    assert [layer.trainable for layer in (first, second, spectral, half)] == [False, True, False, True]
    assert not inner.trainable_weights
    assert not first.trainable_weights
    assert not spectral.trainable_weights
    assert [weight.name for weight in second.trainable_weights] == ["kernel", "bias"]
    assert [layer.trainable for layer in half.layers] == [False, True, True]
    assert len(model.trainable_weights) == 2 + 2 + 2


def test_one_layer_stays_one(unpacked):
    model = cases.load(unpacked("model-shared"), "model.h5")
    assert len(model.weights) == 4
    assert sorted(layer.name for layer in model.layers) == ["conv", "norm", "one", "subtract", "two"]
    model = cases.load(unpacked("model-nested_shared"), "model.keras")
    assert model.get_layer("a").get_layer("norm") is model.get_layer("b").get_layer("norm")


def test_slashes_in_names(unpacked):
    model = cases.load(unpacked("model-named"), "model.h5")
    assert {layer.name for layer in model.layers} == {"one", "two", "block_product", "block_norm", "block_tlu"}
    assert set(model(cases.arrays(unpacked("model-named"), "x"))) == {"x", "y"}


@pytest.mark.parametrize(
    "case",
    ["model-residual", pytest.param("model-nested", marks=pytest.mark.matrix), "spectral_norm-default", "tlu-affine"],
)
def test_it_trains(case, unpacked):
    folder = unpacked(case)
    model = cases.load(folder, "model.keras")
    x, y = cases.arrays(folder, "x"), cases.arrays(folder, "y")
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    losses = model.fit(x, y + 1, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# Only Keras's layers are in these, and no layer that is in two of the models inside, which Keras cannot reopen.
PLAIN = [
    "group_norm-groups_2",
    "instance_norm-default",
    "keras-adapted",
    "keras-convolutions",
    "model-attention",
    "model-frozen",
    "model-nested",
    "model-recurrent",
    "model-residual",
    "model-shared",
    "spectral_norm-default",
    "weight_norm-data_init",
]

REOPEN = """
import sys, pathlib
import keras, numpy as np
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path, compile=False)
    with np.load(path.with_suffix(".npz")) as stored:
        values = {name[2:]: stored[name] for name in stored.files}
    x = [values[f"x{i}"] for i in range(len(model.inputs))]
    outputs = keras.tree.flatten(model(x[0] if len(x) == 1 else x, training=False))
    y = [values[f"y{i}"] for i in range(len(outputs))]
    outputs = map(keras.ops.convert_to_numpy, outputs)
    close = all(np.abs(a - b).max() <= 1e-5 * max(1, np.abs(b).max()) for a, b in zip(outputs, y))
    print(path.stem, close)
print("tfnorm" in sys.modules)
"""


@pytest.mark.matrix
def test_the_result_opens_without_tfnorm(unpacked, tmp_path, run_python):
    target = tmp_path / "saved"
    target.mkdir()
    for case in PLAIN:
        folder = unpacked(case)
        with quietly(case):
            cases.load(folder, "model.keras").save(target / f"{case}.keras")
        named = {
            f"{letter}_{letter}{index}": value
            for letter in "xy"
            for index, value in enumerate(keras.tree.flatten(cases.arrays(folder, letter)))
        }
        np.savez(target / f"{case}.npz", **named)
    assert run_python(REOPEN, target).split("\n") == [*(f"{case} True" for case in sorted(PLAIN)), "False"]


def test_the_result_with_layers_of_tfnorm_opens_with_it(unpacked, tmp_path):
    folder = unpacked("tlu-after_filter_response_norm")
    cases.load(folder, "model.h5").save(tmp_path / "saved.keras")
    assert cases.largest_difference(keras.saving.load_model(tmp_path / "saved.keras"), folder) < 1e-5


def test_a_weight_norm_that_no_batch_has_reached(unpacked, tmp_path):
    """Without the batch that would scale it the kernel is the one that was drawn, and a warning says so."""
    path = unpacked("weight_norm-data_init") / "model.h5"
    with h5py.File(path, "r+") as file:
        group = file["model_weights/weight_normalization/weight_normalization"]
        group["initialized:0"][()] = False
        kernel = group["kernel:0"][()]
    with pytest.warns(UserWarning) as caught:
        model = load_tfa_model(path)
    (warning,) = caught
    says(warning.message, "'weight_normalization'", "first batch", "kernel")
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
