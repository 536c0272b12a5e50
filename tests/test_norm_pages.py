"""The pictures and tables of docs/norms.md and docs/conventions.md against layers, Keras and PyTorch."""

import importlib.util
import inspect
import json
import re
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tfnorm.layers.create import CONVENTIONS, norm_layer
from tfnorm.ops import generic
from tfnorm.spec import parse

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def axes():
    """Return docs/axes.py as a module."""
    place = importlib.util.spec_from_file_location("axes", ROOT / "docs" / "axes.py")
    loaded = importlib.util.module_from_spec(place)
    sys.modules["axes"] = loaded
    place.loader.exec_module(loaded)
    return loaded


def test_picture_of_the_axes_is_what_its_script_draws(axes):
    assert axes.FILE.read_text(encoding="utf-8") == axes.picture()


def test_coloured_cells_are_those_that_an_output_depends_on(axes):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    shape = (axes.IMAGES, axes.PIXELS, 1, axes.CHANNELS)
    for panel in axes.PANELS:
        coloured = {cell for cell in np.ndindex(axes.IMAGES, axes.CHANNELS, axes.PIXELS) if panel.shared(*cell)}
        x = tf.Variable(rng.normal(1, 1, shape), dtype="float32")
        with tf.GradientTape() as tape:
            if panel.spec == "+ws":  # (kernel, 1, inputs, filters), drawn as (filter, input, kernel)
                kernel = tf.transpose(x, (1, 2, 3, 0))
                y = tf.transpose(generic.standardize_kernel(kernel, epsilon=1e-5), (3, 0, 1, 2))
            else:
                layer = norm_layer(parse(panel.spec))
                training = {"training": True} if panel.spec == "bn" else {}
                y = layer(x, **training)
            one = y[0, 0, 0, axes.CHANNELS - 1]
        slopes = np.abs(tape.gradient(one, x).numpy())[:, :, 0].transpose(0, 2, 1)
        assert {cell for cell in zip(*np.nonzero(slopes > 1e-6), strict=True)} == coloured, panel.spec


def table(page, number):
    """Return a table of a page as {row: [cell, ...]}, without marks for code."""
    text = (ROOT / "docs" / page).read_text().replace("`", "")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in tables[number].splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


LIBRARIES = table("conventions.md", 0)


def column(number):
    """Return a library's column, its empty cells left out."""
    return {row: cells[number] for row, cells in LIBRARIES.items() if cells[number]}


def defaults(made):
    """Return the default of each argument."""
    return {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}


def number(value):
    """Write 0.001 as 1e-3 and 0.99 as it is."""
    return f"{value:.0e}".replace("e-0", "e-") if value < 0.01 else f"{value:g}"


def names(weights):
    return ", ".join(weight.name for weight in weights)


def kind_of_variance(found, numbers):
    """Return which variance of ``numbers`` was found."""
    return {ddof for ddof in (0, 1) if np.isclose(found, np.var(numbers, ddof=ddof), rtol=1e-3)}


KINDS = {"biased": {0}, "unbiased": {1}}
BATCH = np.array([1.0, 2.0, 4.0], "float32")


def test_keras_column():
    k = keras.layers
    batch, layer, group, rms = k.BatchNormalization, k.LayerNormalization(), k.GroupNormalization, k.RMSNormalization()
    layer.build((None, 4, 5, 6))
    rms.build((None, 4, 5, 6))
    moved, instance = batch(momentum=0.0), group(groups=-1)
    instance.build((None, 4, 5, 6))
    output = moved(BATCH[:, None], training=True).numpy()[:, 0]
    said = column(0)
    assert said.pop("channel axis of images") == "last"
    assert keras.config.image_data_format() == "channels_last"
    assert said.pop("epsilon, batch norm") == number(defaults(batch)["epsilon"])
    assert said.pop("epsilon, layer norm") == number(layer.epsilon)
    assert said.pop("epsilon, group norm") == number(defaults(group)["epsilon"])
    assert said.pop("epsilon, instance norm") == number(instance.epsilon)
    assert said.pop("epsilon, RMS norm") == number(rms.epsilon)
    assert said.pop("momentum, batch norm") == number(defaults(batch)["momentum"])
    assert said.pop("share of the old moving statistics kept") == number(defaults(batch)["momentum"])
    divided = (np.ptp(BATCH) / np.ptp(output)) ** 2 - moved.epsilon
    assert KINDS[said.pop("variance that divides, in training")] == kind_of_variance(divided, BATCH)
    taken = float(moved.moving_variance[0])
    assert KINDS[said.pop("variance that the moving one takes")] == kind_of_variance(taken, BATCH)
    assert said.pop("batch norm over all replicas") == "synchronized=True"
    assert defaults(batch)["synchronized"] is False
    assert said.pop("axes of layer norm") == f"{defaults(k.LayerNormalization)['axis']}, the channels"
    assert said.pop("shape of its gamma for (H, W, C), default axes") == "(C,)"
    assert tuple(layer.gamma.shape) == (6,)
    assert said.pop("number of groups") == f"groups={defaults(group)['groups']}"
    assert said.pop("one channel a group") == "groups=-1"
    assert said.pop("instance norm") == "GroupNormalization(groups=-1)"
    assert instance.groups == 6
    assert said.pop("gamma and beta of instance norm, default") == "yes"
    assert said.pop("switches for gamma and beta") == "scale, center"
    assert defaults(group)["scale"] is defaults(group)["center"] is True
    assert said.pop("gamma, beta") == names(moved.trainable_weights) == names(instance.weights)
    assert said.pop("moving statistics") == names(moved.non_trainable_weights)
    assert said.pop("gamma of RMS norm") == names(rms.weights)
    assert said.pop("kernels of convolutions start from").lower().replace(" ", "_") == "glorot_uniform"
    assert defaults(k.Conv2D)["kernel_initializer"] == "glorot_uniform"
    weight = keras.Variable([2.0])
    sgd = keras.optimizers.SGD(0.5, momentum=0.9, weight_decay=0.1)
    for _ in range(2):  # a coupled decay would gather momentum
        sgd.apply([np.zeros(1, "float32")], [weight])
    assert said.pop("weight decay of SGD") == "decoupled"
    assert np.isclose(float(weight[0]), 2 * (1 - 0.5 * 0.1) ** 2)
    assert not said


# PyTorch 2.13, for where it is not installed; the test after the next one asks it.
TORCH = {
    "epsilon, batch norm": "1e-5",
    "epsilon, layer norm": "1e-5",
    "epsilon, group norm": "1e-5",
    "epsilon, instance norm": "1e-5",
    "epsilon, RMS norm": "of the dtype: 1.19e-7 for float32",
    "momentum, batch norm": "0.1",
    "share of the old moving statistics kept": "0.9",
    "variance that divides, in training": "biased",
    "variance that the moving one takes": "unbiased",
    "gamma and beta of instance norm, default": "no",
    "gamma, beta": "weight, bias",
    "moving statistics": "running_mean, running_var",
    "gamma of RMS norm": "weight",
    "kernels of convolutions start from": "uniform in ±1/sqrt(fan in)",
    "weight decay of SGD": "coupled: L2 of half of it",
}


def test_torch_column():
    assert TORCH.items() <= column(1).items()


def test_torch_is_as_the_column_says():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; its column was compared with numbers alone")
    nn = torch.nn
    assert [number(defaults(made)["eps"]) for made in (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)] == ["1e-5"] * 3
    assert number(defaults(nn.InstanceNorm2d)["eps"]) == TORCH["epsilon, instance norm"]
    assert defaults(nn.RMSNorm)["eps"] is None
    small = torch.tensor([1e-4, 1e-4])
    power = float((small[0] / nn.RMSNorm(2)(small).detach()[0]) ** 2) - 1e-8
    assert f"{power:.2e}".replace("e-0", "e-") == re.search(r"[\d.]+e-\d", TORCH["epsilon, RMS norm"])[0]
    batch = nn.BatchNorm1d(1, momentum=1.0)
    output = batch(torch.tensor(BATCH[:, None])).detach().numpy()
    assert kind_of_variance((np.ptp(BATCH) / np.ptp(output)) ** 2 - 1e-5, BATCH) == {0}
    assert kind_of_variance(float(batch.running_var), BATCH) == {1}
    batch = nn.BatchNorm1d(1)
    batch(torch.full((3, 1), 10.0))
    assert number(defaults(nn.BatchNorm2d)["momentum"]) == TORCH["momentum, batch norm"]
    assert np.isclose(float(batch.running_mean), (1 - float(TORCH["share of the old moving statistics kept"])) * 10)
    assert ", ".join(name for name, _ in batch.named_parameters()) == TORCH["gamma, beta"]
    assert ", ".join(list(dict(batch.named_buffers()))[:2]) == TORCH["moving statistics"]
    assert [name for name, _ in nn.RMSNorm(2).named_parameters()] == [TORCH["gamma of RMS norm"]]
    assert defaults(nn.InstanceNorm2d)["affine"] is False
    assert defaults(nn.GroupNorm)["num_groups"] is defaults(nn.LayerNorm)["normalized_shape"] is inspect.Parameter.empty
    kernel = nn.Conv2d(4, 500, 3).weight.detach().numpy()
    assert 0.99 / np.sqrt(4 * 9) < np.abs(kernel).max() <= 1 / np.sqrt(4 * 9) + 1e-7
    weight = nn.Parameter(torch.tensor([2.0]))
    sgd = torch.optim.SGD([weight], 0.5, weight_decay=0.1)
    (weight * 0).sum().backward()
    sgd.step()
    assert np.isclose(float(weight.detach()), 2 - 0.5 * 0.1 * 2)  # the gradient of 0.1 / 2 times the square


def test_tensorflow_addons_column():
    def saved(case):
        with zipfile.ZipFile(ROOT / "tests" / "tfa" / "fixtures" / f"{case}.zip") as archive:
            with zipfile.ZipFile(archive.open("model.keras")) as model:
                return json.loads(model.read("config.json"))["config"]["layers"][1]["config"]

    group, instance = saved("group_norm-groups_2"), saved("instance_norm-default")
    said = column(2)
    assert said["epsilon, group norm"] == number(group["epsilon"])
    assert said["epsilon, instance norm"] == number(instance["epsilon"])
    assert said["epsilon, filter response norm"] == number(saved("filter_response_norm-default")["epsilon"])
    assert said["switches for gamma and beta"] == "scale, center" and group["scale"] and group["center"]
    assert said["gamma and beta of instance norm, default"] == "yes" and instance["scale"] and instance["center"]
    assert said["channel axis of images"] == "last" and group["axis"] == instance["axis"] == -1
    assert said["number of groups"] == "groups=32"


def test_conventions_of_build():
    rows = table("conventions.md", 1)
    for number_of, (name, convention) in enumerate(CONVENTIONS.items()):
        said = {row: cells[number_of] for row, cells in rows.items()}
        norms = [norm_layer(parse(spec), convention=name) for spec in ("bn", "ln", "gn:2", "in")]
        assert {number(norm.epsilon) for norm in norms} == {said["epsilon of BN, LN, GN, IN"]}
        others = [norm_layer(parse(spec), convention=name) for spec in ("rms", "frn")]
        assert {number(norm.epsilon) for norm in others} == {said["epsilon of RMS, FRN"]}
        assert number(norms[0].momentum) == said["momentum of BN, the share kept"]
        taken = "unbiased" if convention.unbiased_moving_variance else "biased"
        assert taken == said["variance that the moving one takes"]
