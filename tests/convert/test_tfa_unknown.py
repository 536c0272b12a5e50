"""Models of tensorflow-addons with layers, code or settings that cannot be opened as they are."""

import json
from pathlib import Path

import cases
import h5py
import keras
import numpy as np
import pytest
from facts import says
from keras import layers

from tfnorm.convert import load_tfa_model

pytestmark = pytest.mark.addons


def entry(kind, name, package="keras.layers", **config):
    registered = f"Addons>{kind}" if package == "tensorflow_addons" else None
    return {
        "module": package,
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
        "registered_name": registered,
    }


def test_unknown_layers_are_listed_at_once(unpacked):
    path = cases.changed(
        unpacked("group_norm-groups_2") / "model.keras",
        lambda found: found.extend(
            [
                entry("Maxout", "maxout", "tensorflow_addons", num_units=2),
                entry("NoisyDense", "noisy", "tensorflow_addons", units=2),
                entry("LocallyConnected1D", "local"),
                entry("TFSMLayer", "run", filepath="/somewhere/else"),
                entry("Activation", "act", activation="Addons>lisht"),
                entry("LSTM", "lstm", units=2, time_major=True),
                entry("BatchNormalization", "bn", axis=[1, 2]),
                entry("Resizing", "resize", height=2, width=2, interpolation="gaussian"),
                entry("SeparableConv1D", "conv", filters=2, kernel_size=2, padding="causal"),
            ]
        ),
    )
    says(
        cases.sentence(path),
        path,
        "Addons>Maxout ('maxout'), Addons>NoisyDense ('noisy'), LocallyConnected1D ('local'), TFSMLayer ('run')",
        "Activation ('act')",
        "activation=Addons>lisht",
        "LSTM ('lstm')",
        "time_major=True",
        "BatchNormalization ('bn')",
        "axis=[1, 2]",
        "Resizing ('resize')",
        "interpolation=gaussian",
        "SeparableConv1D ('conv')",
        "padding=causal",
        "Keras 3",
        "keras.saving.custom_object_scope(",
        "'Addons>Maxout': Maxout",
    )


class Maxout(layers.Layer):
    """A layer of one's own in the place of one of tensorflow-addons."""

    def __init__(self, num_units, **kwargs):
        super().__init__(**kwargs)
        self.num_units = num_units

    def call(self, inputs):
        return keras.ops.max(keras.ops.reshape(inputs, (-1, 4, 5, self.num_units, 6 // self.num_units)), axis=-1)

    def get_config(self):
        return {**super().get_config(), "num_units": self.num_units}


def test_a_layer_of_your_own(unpacked):
    folder = unpacked("group_norm-groups_2")
    maxout = entry("Maxout", "maxout", "tensorflow_addons", num_units=2)
    path = cases.changed(folder / "model.keras", lambda found: found.append(maxout))
    with keras.saving.custom_object_scope({"Addons>Maxout": Maxout}):
        model = load_tfa_model(path)
    expected = cases.arrays(folder, "y").reshape(2, 4, 5, 2, 3).max(axis=-1)
    np.testing.assert_allclose(model(cases.arrays(folder, "x")), expected, rtol=1e-5, atol=1e-5)


def test_penalties_of_your_own_are_left_out(unpacked):
    def change(found):
        found[1]["config"]["gamma_regularizer"] = {
            "module": "mine",
            "class_name": "Mine",
            "config": {},
            "registered_name": "mine>Mine",
        }

    folder = unpacked("group_norm-groups_2")
    path = cases.changed(folder / "model.keras", change)
    with pytest.warns(UserWarning) as caught:
        model = load_tfa_model(path)
    (warning,) = caught
    says(warning.message, "GroupNormalization ('group_normalization')", "gamma_regularizer=mine>Mine")
    assert cases.largest_difference(model, folder) < 1e-5


def lambda_layer(function):
    """Return what Keras 2 writes for a Lambda layer."""
    code = keras.src.utils.python_utils.func_dump(function)
    return entry("Lambda", "run", function=[code[0], None, None], function_type="lambda", arguments={})


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_code_in_a_file_runs_only_if_asked(file, unpacked, tmp_path, monkeypatch):
    folder = unpacked("group_norm-groups_2")
    # A constant of the code: a Lambda layer has no module to look names up in.
    monkeypatch.chdir(tmp_path)
    layer = lambda_layer(lambda x: [__import__("pathlib").Path("was_run").touch(), x * 2][1])
    path = folder / file
    if file == "model.keras":
        cases.changed(path, lambda found: found.append(layer))
    else:
        with h5py.File(path, "r+") as h5:
            config = json.loads(h5.attrs["model_config"])
            config["config"]["layers"].append({key: layer[key] for key in ("class_name", "config")})
            h5.attrs["model_config"] = json.dumps(config)
    says(cases.sentence(path), path, "Lambda ('run')", "trust", "safe_mode=False", "--allow-lambda")
    assert not Path("was_run").exists()
    model = load_tfa_model(path, safe_mode=False)
    np.testing.assert_allclose(model(cases.arrays(folder, "x")), cases.arrays(folder, "y") * 2, rtol=1e-5, atol=1e-5)
    assert Path("was_run").exists()


def test_a_function_that_is_not_in_the_file(unpacked):
    named = entry("Lambda", "run", function="mine", function_type="function")
    path = cases.changed(unpacked("group_norm-groups_2") / "model.keras", lambda found: found.append(named))
    says(cases.sentence(path), "Lambda ('run'", "function is not in the file")


def test_an_axis_that_tensorflow_addons_confuses(unpacked):
    def change(found):
        found[1]["config"].update(axis=-2, groups=5)

    path = cases.changed(unpacked("group_norm-groups_2") / "model.keras", change)
    says(cases.sentence(path), "'group_normalization'", "`axis`", "axis=-2", "front")
