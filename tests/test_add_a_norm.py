"""A norm is one file and one row of the registry: everything else takes what it needs from there."""

import math

import keras
import numpy as np
import pytest
from networks import TINY, tiny_registered
from typer.testing import CliRunner

import tfnorm
from tfnorm.cli import app
from tfnorm.convert import insert_norms, replace_norms
from tfnorm.models.planner import plan
from tfnorm.norms import CHANNELS, GAMMA_BETA, NORMS, NormInfo, Variant
from tfnorm.reporting.palette import colour
from tfnorm.spec import format, parse

FILE = '''
"""Range normalization, made up for a test."""

import math

import keras
from keras import ops

from tfnorm.layers.normalization.base import AffineNormalization


@keras.saving.register_keras_serializable("made_up")
class RangeNormalization(AffineNormalization):
    """Divide each channel of each sample by its largest pixel and a learned number."""

    def __init__(self, axis=-1, epsilon=1e-3, *, learned=True, **kwargs):
        super().__init__(axis, epsilon, **kwargs)
        self.learned = learned

    @classmethod
    def from_spec(cls, spec, settings):
        learned = spec.variant != "fixed"
        return cls(axis=settings.axis, learned=learned, **settings.arguments("gamma", "beta"))

    def build(self, input_shape):
        super().build(input_shape)
        self.power = self.add_weight(name="power", shape=(), initializer="ones") if self.learned else 1.0
        self.seen = self.add_weight(name="seen", shape=self.gamma.shape, initializer="zeros", trainable=False)

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        largest = ops.max(ops.abs(x), axis=(1, 2), keepdims=True)
        outputs = self.scaled(x / (largest + self.epsilon) * self.power, [1, 1, 1, -1])
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "learned": self.learned}
'''


@pytest.fixture(autouse=True)
def xyz(tmp_path_factory, monkeypatch):
    """Add the norm "xyz", and take it away again."""
    folder = tmp_path_factory.mktemp("norms")
    (folder / "range_normalization.py").write_text(FILE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(NORMS, "_items", {**NORMS})
    NORMS.add(
        "xyz",
        NormInfo(
            "range normalization",
            "range_normalization.RangeNormalization",
            statistics=("height", "width"),
            weights={**GAMMA_BETA, "power": ()},
            moving={"seen": CHANNELS},
            example="xyz",
            variants={"fixed": Variant("no learned number", {"weights": GAMMA_BETA})},
            subtracts_mean=False,
            whole_image=True,
        ),
    )


def test_specs():
    assert format(parse("xyz:fixed+l1=1e-4")) == "xyz:fixed+l1=1e-4"
    assert tfnorm.list_norms()[-1] == "xyz"
    with pytest.raises(tfnorm.spec.SpecError, match="Use one of: fixed"):
        parse("xyz:fiksed")
    assert colour("xyz") != colour("bn")


@pytest.mark.parametrize("spec", ["xyz", "xyz:fixed+l1=1e-4"])
def test_build_fit_save_and_load(spec, tmp_path):
    model = tfnorm.build(TINY, norm=spec, seed=0)
    network = plan(TINY, parse(spec))
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == network.trainable_parameters
    layer = model.get_layer("conv1_norm")
    assert {weight.name: weight.shape for weight in layer.trainable_weights} == parse(spec).weight_shapes((28, 28, 4))
    images, labels = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1)), np.arange(8)
    before = keras.ops.convert_to_numpy(layer.gamma)
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()
    assert np.any(keras.ops.convert_to_numpy(layer.gamma) != before)
    assert ("l1" in spec) == (layer.gamma.regularizer is not None)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))


def test_conversions():
    old = tfnorm.build(norm="bn", seed=0)
    new, report = replace_norms(old, "xyz", return_report=True)
    norms = [layer for layer in new.layers if layer.name.endswith("_norm")]
    assert {type(layer).__name__ for layer in norms} == {"RangeNormalization"} and len(report.changes) == len(norms)
    back = replace_norms(new, "gn:2")
    assert {type(layer).__name__ for layer in back.layers if layer.name.endswith("_norm")} == {"GroupNormalization"}
    inserted = insert_norms(tfnorm.build(norm="none", seed=0), "xyz")
    assert sum(type(layer).__name__ == "RangeNormalization" for layer in inserted.layers) >= len(norms)
    with pytest.raises(tfnorm.spec.SpecError, match="frn, xyz"):
        insert_norms(old, "none")


def shown(*arguments):
    answer = CliRunner().invoke(app, list(arguments))
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_command_line(tmp_path):
    listed = shown("list")
    assert "range normalization" in listed and "xyz:fixed" in listed
    model = tfnorm.build(norm="xyz", seed=0)
    model.save(tmp_path / "model.keras")
    trainable = f"{plan('mnist_7k', parse('xyz')).trainable_parameters:,}"
    assert trainable in shown("inspect", "mnist_7k", "--norm", "xyz")
    assert trainable in shown("inspect", str(tmp_path / "model.keras"))


def test_analysis_of_a_model_is_that_of_its_plan():
    model, network = tfnorm.build(norm="xyz", seed=0), plan("mnist_7k", parse("xyz"))
    read, planned = tfnorm.analysis.summary(model), tfnorm.analysis.plans.plan_layers(network)
    assert read.parameters == planned.parameters and read.other_parameters == planned.other_parameters
    assert read["logits"].receptive_field == planned["logits"].receptive_field
    for layers in (read, planned):
        assert layers["conv2"].whole_image_statistics and not layers["conv1"].whole_image_statistics
        assert not layers.notes
    assert "conv1_norm" in [
        row["layer"] for row in tfnorm.analysis.activation_statistics(model, np.ones((2, 28, 28, 1)))
    ]


@pytest.mark.matrix
def test_compare(tmp_path):
    with tiny_registered():
        settings = {"arch": "tiny", "dataset": "digits", "epochs": 1, "augmentation": "none"}
        comparison = tfnorm.compare(["xyz"], seeds=1, out=tmp_path, **settings)
    (run,) = comparison.runs
    assert run.status == "finished" and list(comparison.table.index) == ["xyz"]
