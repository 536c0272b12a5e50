"""Models of one's own in training: what their outputs mean, what they are trained with, and when they are refused."""

import functools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import own_networks
import pytest
from facts import one_says, says
from keras import layers
from stopping import StopAfter

from tfnorm import compare, sweep, train
from tfnorm.datasets.dataset import Dataset
from tfnorm.errors import TfnormError
from tfnorm.training.config import TrainConfig, checked, default_name
from tfnorm.training.network.heads import Head, own_loss, read_head
from tfnorm.training.network.network import check_networks, input_size, make_network
from tfnorm.training.runs import outcome

FILE = Path(own_networks.__file__)


@pytest.fixture(scope="module")
def data():
    """Return images of the size and the classes of tests/tools/own_networks.py."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (24, *own_networks.SHAPE), np.uint8), np.arange(24) % own_networks.CLASSES
    return Dataset("noise", x, y, x[:8], y[:8], tuple("abcd"))


def of_head(units, activation, *, compiled=None):
    """Return a function that makes a small model with such an output."""

    def make():
        inputs = keras.Input(own_networks.SHAPE)
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
        model = keras.Model(inputs, layers.Dense(units, activation)(layers.GlobalAveragePooling2D()(x)))
        if compiled is not None:
            model.compile(**compiled)
        return model

    return make


def config(model, norm="keep", **settings):
    return checked(TrainConfig, {"norm": norm, "model": model, "epochs": 1, "batch_size": 8, **settings}).resolved()


LAYERS = """
import keras
from keras import layers, ops

@keras.saving.register_keras_serializable("own_file")
class Shift(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(name="shift", shape=shape[-1:])

    def call(self, inputs):
        return inputs + self.shift

class Twice(layers.Layer):
    def call(self, inputs):
        return 2 * inputs

def sparse_half(y_true, y_pred):
    return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True) / 2

def make(first):
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(first()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs))))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
"""


@pytest.fixture
def own_layers(tmp_path, monkeypatch):
    """Stand in a folder with ``own_layers.py`` and files of models with what it defines, none of it known here."""
    names = {"__name__": "own_layers"}
    exec(LAYERS, names)  # noqa: S102 - the text above
    (tmp_path / "own_layers.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for kind in ("Shift", "Twice"):
        names["make"](names[kind]).save(f"{kind}.keras")
    model = names["make"](layers.ReLU)
    model.compile("adam", names["sparse_half"])
    model.save("loss.keras")
    forget = functools.partial(keras.saving.get_custom_objects().pop, "own_file>Shift", None)
    forget()
    yield tmp_path
    forget()
    for name in [name for name in sys.modules if name.startswith("own_layers")]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", own_networks.NETWORKS)
def test_every_kind_of_model_is_ready_under_every_kind_of_spec(kind, data):
    specs = ("keep", "bn:frozen", "gn:4", "none+l2=1e-4")
    model = f"{FILE}:{kind}"
    found = check_networks([config(model, spec) for spec in specs], data)
    assert list(found) == list(specs)
    assert found["gn:4"].record()["network"]["changes"] and not found["keep"].record()["network"]["changes"]


def test_a_run_records_its_model_and_goes_on_to_the_bit(data, tmp_path):
    model = f"{FILE}:plain"
    settings = {"model": model, "epochs": 2, "batch_size": 8, "data": data, "learning_rate": 1e-6}
    whole = train("bn:frozen", **settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train("bn:frozen", **settings, out=tmp_path / "broken", progress=StopAfter(0))
    resumed = train("bn:frozen", **settings, out=tmp_path / "broken")
    assert whole.status == "finished" and outcome(resumed.path) == outcome(whole.path)
    asked = whole.config["asked"]
    assert (asked["arch"], asked["recipe"]["name"]) == ("own_networks.py:plain", "own")
    network = whole.config["network"]
    assert network["notes"] == ["untrained statistics"] and len(network["changes"]) == 2 and not network["compiled"]
    for norm in whole.load_model().layers:
        if isinstance(norm, layers.BatchNormalization):
            np.testing.assert_array_equal(norm.moving_mean, 0)


def test_a_comparison_says_what_was_changed_and_starts_from_equal_weights(data, tmp_path):
    make = of_head(4, "softmax", compiled={"optimizer": "adam", "loss": "sparse_categorical_crossentropy"})
    found = compare(["keep", "gn:2"], model=make, seeds=1, epochs=1, batch_size=8, data=data, out=tmp_path)
    assert len({run.config["initial_kernels"] for run in found.runs}) == 1
    assert all(run.config["network"]["compiled"] for run in found.runs)
    page = (tmp_path / "report.html").read_text()
    says(page, "What the spec changed", "GroupNormalization(2 groups)")
    np.testing.assert_allclose(np.exp(found.runs[0].logits).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(TfnormError) as caught:
        compare(["keep"], model=make, seeds=1, jobs=1, out=tmp_path / "jobs")
    says(caught, "no other process", "top of a file", "without `jobs`")


def test_a_changed_file_is_another_model(tmp_path, data):
    file, out = tmp_path / "net.py", tmp_path / "run"
    shutil.copy(FILE, file)
    asked = TrainConfig(norm="keep", model=f"{file}:plain", epochs=1)
    train(asked, out=out, data=data, batch_size=8)
    moved = tmp_path / "elsewhere" / "net.py"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    assert train("keep", model=f"{moved}:plain", epochs=1, batch_size=8, out=out, data=data).status == "finished"
    file.write_text(file.read_text() + "\n# changed\n")
    with pytest.raises(TfnormError) as caught:
        train("keep", model=f"{file}:plain", epochs=1, batch_size=8, out=out, data=data)
    says(caught, "net.py:plain", "changed", out, "another output folder")
    assert default_name(asked) == default_name(TrainConfig(norm="keep", model=f"{file}:plain", epochs=1))
    sent = json.loads(asked.model_dump_json())
    assert sent["model"] == f"{file}:plain"
    with pytest.raises(TfnormError) as caught:
        checked(TrainConfig, sent)
    says(caught, "net.py:plain", "changed")


@pytest.mark.parametrize("name", ["Shift", "Twice"])
def test_layers_of_ones_own_in_a_file_are_imported_if_they_are_named(name, own_layers, data):
    with pytest.raises(TfnormError) as caught:
        check_networks([config(f"{name}.keras")], data)
    says(caught, f"'{name}'", f"{name}.keras", "--import", "`imports`")
    assert "own_layers" not in sys.modules
    for imports in ("own_layers.py", ["own_layers"]):
        asked = [config(f"{name}.keras", spec, imports=imports) for spec in ("keep", "gn:2+l2=1e-4")]
        assert list(check_networks(asked, data)) == ["keep", "gn:2+l2=1e-4"]
        sent = checked(TrainConfig, json.loads(asked[1].model_dump_json()))
        assert sent.imports == asked[1].imports and sent.model.make(seed=0).built
        assert asked[0].model_hash not in (None, config(f"{name}.keras").model_hash)


def test_a_run_with_layers_of_ones_own_is_another_when_they_change(own_layers, data):
    asked = {"model": "Shift.keras", "imports": "own_layers.py", "epochs": 1, "batch_size": 8, "data": data}
    run = train("gn:2", **asked, out="run")
    del sys.modules["own_layers"]
    keras.saving.get_custom_objects().pop("own_file>Shift")
    with pytest.raises(TfnormError) as caught:
        run.load_model()
    says(caught, "'Shift'", "model.keras", "`imports`")
    assert type(run.load_model(imports=["own_layers.py"]).layers[3]).__name__ == "Shift"
    assert "imports" not in run.config["asked"]
    source = TrainConfig(norm="bn", model="Shift.keras", imports=["own_layers.py"]).model
    (own_layers / "own_layers.py").write_text(LAYERS.replace("inputs + self.shift", "inputs - self.shift"))
    with pytest.raises(TfnormError) as caught:
        source.make(seed=0)
    says(caught, own_layers / "own_layers.py", "changed")
    with pytest.raises(TfnormError) as caught:
        train("gn:2", **asked, out="run")
    says(caught, "Shift.keras", "changed", "run", "another output folder")


def test_a_loss_that_is_not_known_is_not_replaced_by_another(own_layers, data):
    with pytest.raises(TfnormError) as caught:
        check_networks([config("loss.keras")], data)
    says(caught, "loss.keras", "loss", "--import", "default")
    assert check_networks([config("loss.keras", recipe="default")], data)
    asked = config("loss.keras", imports="own_layers.py")
    network = check_networks([asked], data)["keep"]
    assert network.compiled and network.training(asked, 1)["loss"].__name__ == "sparse_half"


@pytest.mark.parametrize(
    ("units", "activation", "values", "expected"),
    [
        (4, None, [[0.0, 1, 2, 3]], [[0.0, 1, 2, 3]]),
        (4, "softmax", [[0.1, 0.2, 0.3, 0.4]], np.log([[0.1, 0.2, 0.3, 0.4]])),
        (1, None, [[2.0]], [[0.0, 2.0]]),
        (1, "sigmoid", [[0.8]], [[0.0, np.log(4)]]),
        (4, "softmax", [[1.0, 0, 0, 0]], [[0.0, *[np.log(np.finfo("float32").tiny)] * 3]]),
    ],
)
def test_outputs_become_logits(units, activation, values, expected):
    head = read_head(of_head(units, activation)(), 2 if units == 1 else 4, "net")
    assert head == Head(units, activation or "linear")
    np.testing.assert_allclose(head.to_logits(np.array(values)), expected, rtol=1e-6)
    loss, metric = head.losses()
    labels, outputs = np.array([1]), np.array(values, "float32")
    expected_loss = np.log(np.exp(expected).sum()) - np.array(expected)[0, 1]
    # Keras clips a probability of 0 to its epsilon of 1e-7, so that its loss is a number.
    expected_loss = min(expected_loss, -np.log(1e-7))
    assert float(loss(labels[:, None], outputs)) == pytest.approx(expected_loss, rel=1e-4)
    metric.update_state(labels[:, None], outputs)
    assert float(metric.result()) == pytest.approx(float(loss(labels[:, None], outputs)), rel=1e-5)


def test_the_last_activation_is_found_behind_what_passes_values_on():
    inner = of_head(4, None)()
    inputs = keras.Input(own_networks.SHAPE)
    for end in (layers.Softmax(), layers.Activation("softmax"), keras.ops.softmax):
        assert read_head(keras.Model(inputs, layers.Flatten()(end(inner(inputs)))), 4, "net").activation == "softmax"
    nested = keras.Model(inputs, of_head(4, "softmax")()(inputs))
    assert read_head(nested, 4, "net").activation == "softmax"
    several = [of_head(1, "sigmoid")()(inputs) for _ in range(2)]
    mean = keras.ops.reshape(layers.Average()(several), (-1, 1))
    assert read_head(keras.Model(inputs, mean), 2, "net").activation == "sigmoid"


class OwnStep(keras.Model):
    def train_step(self, data):
        raise NotImplementedError


def of_one_output(wrap=lambda model: model, end=None, **compiled):
    """Return a function that makes a model around the output of a small one."""

    def make():
        inner = of_head(4, None)()
        model = wrap(keras.Model(inner.inputs, inner.outputs[0] if end is None else end(inner.outputs[0])))
        if compiled:
            model.compile(**compiled)
        return model

    return make


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (of_head(3, None), ("3 outputs", "4 classes", "num_classes")),
        (of_head(4, "sigmoid"), ("sigmoid", "4 classes", "softmax")),
        (of_head(4, "relu"), ("'relu'", "softmax")),
        (of_head(4, None, compiled={"loss": "sparse_categorical_crossentropy"}), ("logits", "from_logits=True")),
        (
            of_head(4, "softmax", compiled={"loss": keras.losses.CategoricalCrossentropy(from_logits=True)}),
            ("probabilities", "from_logits=False"),
        ),
        (of_head(4, None, compiled={"optimizer": "adam"}), ("without a loss",)),
        (lambda: keras.Sequential([keras.Input(own_networks.SHAPE), layers.Conv2D(4, 3)]), ("shape", "Flatten")),
        (
            lambda: keras.Model(i := keras.Input(own_networks.SHAPE), [layers.Flatten()(i)] * 2),
            ("one output", "2 outputs"),
        ),
        (
            lambda: keras.Sequential(
                [
                    keras.Input(own_networks.SHAPE),
                    layers.Flatten(),
                    layers.Dense(4, bias_initializer=lambda *a, **k: [np.nan] * 4),
                ]
            ),
            ("not finite", "pixels"),
        ),
        (of_one_output(lambda model: OwnStep(model.inputs, model.outputs)), ("OwnStep", "train_step", "tfnorm.Study")),
        (of_one_output(end=layers.Lambda(lambda x: keras.ops.softmax(x))), ("probabilities", "layers.Softmax()")),
    ],
)
def test_models_that_do_not_fit_are_refused_before_training(make, facts, data, tmp_path):
    with pytest.raises(TfnormError) as caught:
        compare("keep", model=make, seeds=1, epochs=1, data=data, out=tmp_path)
    says(caught, *facts)
    assert not list(tmp_path.glob("**/config.json"))


def test_settings_of_architectures_are_refused():
    for settings, facts in (
        ({"arch": "cifar_plain"}, ("'cifar_plain'", "own_networks.py:plain")),
        ({"dropout": 0.1}, ("dropout=0.1",)),
        ({"precision": "bfloat16"}, ("precision",)),
    ):
        with pytest.raises(TfnormError) as caught:
            checked(TrainConfig, {"norm": "bn", "model": f"{FILE}:plain", **settings})
        says(caught, *facts)
    with pytest.raises(TfnormError) as caught:
        checked(TrainConfig, {"norm": "bn", "weights": "imagenet"})
    says(caught, "weights='imagenet'", "`model`")


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "mse"])
def test_the_own_loss_gets_the_labels_that_it_takes(loss):
    model = of_head(4, "softmax", compiled={"loss": loss})()
    values = own_loss(model, Head(4, "softmax"), "net")(np.array([1, 0]), keras.ops.array([[0.1, 0.7, 0.1, 0.1]] * 2))
    expected = {"mse": [(0.01 * 3 + 0.09) / 4, (0.81 + 0.49 + 0.02) / 4]}.get(loss, -np.log([0.7, 0.1]))
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def sparse(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


class OfNumbers(keras.losses.SparseCategoricalCrossentropy):
    pass


def own_crossentropy(y_true, y_pred):
    return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)


@pytest.mark.parametrize(
    "loss",
    [
        OfNumbers(from_logits=True),
        functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
        own_crossentropy,
        sparse(reduction="mean_with_sample_weight"),
        [sparse()],
        {"dense": sparse()},
    ],
)
def test_the_same_loss_in_any_form_is_read_rightly(loss):
    model = of_head(4, None, compiled={"loss": loss})()
    outputs = np.log([[0.1, 0.7, 0.1, 0.1]] * 2)
    values = own_loss(model, Head(4, "linear"), "net")(np.array([1, 0]), keras.ops.array(outputs))
    np.testing.assert_allclose(values, -np.log([0.7, 0.1]), rtol=1e-5)


@pytest.mark.parametrize("loss", ["kl_divergence", keras.losses.KLDivergence(), keras.losses.Poisson()])
def test_losses_of_probabilities_are_refused_for_logits(loss):
    with pytest.raises(TfnormError) as caught:
        own_loss(of_head(4, None, compiled={"loss": loss})(), Head(4, "linear"), "net")
    says(caught, "net gives logits", "takes probabilities")


@pytest.mark.parametrize("outputs", [lambda tensor: [tensor], lambda tensor: {"answer": tensor}])
def test_one_output_in_a_list_or_a_dict_is_one_output(outputs, data, tmp_path):
    make = of_one_output(lambda model: keras.Model({"image": model.inputs[0]}, outputs(model.outputs[0])))
    assert train("gn:2", model=make, epochs=1, batch_size=24, data=data, out=tmp_path).status == "finished"


def test_the_own_optimizer_leaves_out_of_decay_what_it_did(data):
    def without_bias():
        optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return optimizer

    make = of_head(4, None, compiled={"loss": sparse(), "optimizer": without_bias()})
    for spec in ("keep", "gn:2"):
        network = make_network(asked := config(make, spec), data)
        optimizer = network.training(asked, 3)["optimizer"]
        decayed = [v.name for v in network.model.trainable_variables if optimizer._use_weight_decay(v)]
        assert sorted(decayed) == ["beta", "gamma", "kernel", "kernel"]


@pytest.mark.parametrize(
    ("compiled", "facts"),
    [
        ({"optimizer": keras.optimizers.SGD(0.5, use_ema=True)}, ("use_ema", "recipe")),
        ({"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(use_ema=True))}, ("use_ema", "recipe")),
        ({"loss_weights": 2.0}, ("loss_weights=2", "learning rate")),
        ({"loss_weights": [0.5]}, ("loss_weights=0.5", "learning rate")),
    ],
)
def test_what_keras_would_do_with_a_compiled_model_and_a_run_does_not_is_refused(compiled, facts, data):
    asked = config(of_head(4, None, compiled={"loss": sparse(), **compiled}))
    with pytest.raises(TfnormError) as caught:
        make_network(asked, data).training(asked, 3)
    says(caught, *facts)


def test_the_rate_of_a_scaled_optimizer_is_replaced(data):
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5))
    asked = config(of_head(4, None, compiled={"loss": sparse(), "optimizer": scaled}), learning_rate=0.25)
    assert float(make_network(asked, data).training(asked, 3)["optimizer"].inner_optimizer.learning_rate) == 0.25


def test_the_own_optimizer_is_used_and_its_rate_replaced(data):
    make = of_head(4, None, compiled={
        "optimizer": keras.optimizers.RMSprop(keras.optimizers.schedules.CosineDecay(0.5, 10), rho=0.7),
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    })  # fmt: skip
    for settings, rate in (({}, 0.5), ({"learning_rate": 0.01}, 0.01)):
        asked = config(make, "gn:2", **settings)
        optimizer = make_network(asked, data).training(asked, 3)["optimizer"]
        assert (type(optimizer).__name__, optimizer.rho) == ("RMSprop", 0.7)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
    asked = config(of_head(4, None))
    assert type(make_network(asked, data).training(asked, 3)["optimizer"]).__name__ == "SGD"


def test_the_size_of_a_model_decides_that_of_digits():
    assert input_size(config(of_head(10, None)).model) == (8, 8)
    assert input_size(config("applications:MobileNetV2").model) == (224, 224)


def test_a_model_that_does_not_fit_starts_no_process(tmp_path):
    with pytest.raises(TfnormError) as caught:  # digits are grey
        compare("keep", model=f"{FILE}:sequential", seeds=1, epochs=1, jobs=1, image_size=8, out=tmp_path)
    says(caught, "own_networks.py:sequential", "8x8x3", "8x8x1")
    assert not list(tmp_path.iterdir())


def test_a_sweep_makes_each_model_once_before_a_process_trains_it(tmp_path):
    models = [f"{FILE}:sequential", f"{FILE}:shared"]  # of three channels, and digits are grey
    grid = {"settings": {"epochs": 1, "image_size": 8}, "grid": {"norm": ["keep", "gn:2"], "model": models, "seeds": 2}}
    with pytest.raises(TfnormError) as caught:
        sweep(grid, jobs=1, out=tmp_path)
    sentences = str(caught.value).splitlines()
    assert len(sentences) == 2
    for kind in ("sequential", "shared"):
        one_says(sentences, f"own_networks.py:{kind}", "8x8x3", "8x8x1")
    assert not list(tmp_path.iterdir())


@pytest.mark.matrix
@pytest.mark.parametrize("kind", own_networks.NETWORKS)
def test_every_kind_of_model_is_compared(kind, data, tmp_path):
    model = f"{FILE}:{kind}"
    dark = replace(data, x_train=data.x_train // 64, x_test=data.x_test // 64)  # not every kind scales its pixels
    found = compare(
        ["keep", "bn:frozen", "gn:4"], model=model, seeds=2, epochs=1, batch_size=8, data=dark, out=tmp_path
    )
    assert len(found.runs) == 6 and all(run.status == "finished" for run in found.runs)
    for seed in (0, 1):
        assert len({run.config["initial_kernels"] for run in found.runs if run.seed == seed}) == 1


@pytest.mark.matrix
def test_processes_import_the_file_of_a_model(tmp_path):
    model = f"{FILE}:plain"
    found = compare(["keep", "gn:4"], model=model, seeds=1, epochs=1, jobs=2, image_size=8, out=tmp_path)
    assert [run.config["network"]["spec"] for run in found.runs] == ["keep", "gn:4"]


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["Shift", "Twice"])
def test_processes_import_the_layers_of_a_file(name, own_layers, data):
    np.savez("noise.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    settings = {"model": f"{name}.keras", "imports": "own_layers.py", "dataset": "noise.npz", "epochs": 1}
    grid = {"settings": settings, "grid": {"norm": ["keep", "gn:2"], "seeds": 1}}
    assert not sweep(grid, jobs=2, out="sweep").failures
    found = compare(["keep"], jobs=1, seeds=1, out="runs", **settings)
    assert found.runs[0].config["network"]["spec"] == "keep"
    found = compare(["gn:2"], engine="ray", address="local", seeds=1, out="ray", **settings)
    assert found.runs[0].config["network"]["spec"] == "gn:2"


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny"])
def test_networks_of_keras_are_trained_on_photos(name, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 64, 64, 3), np.uint8), np.arange(64) % 4
    photos = Dataset("photos", x, y, x[:16], y[:16], tuple("abcd"))
    specs = ["gn:8"] if name == "ConvNeXtTiny" else ["gn:8", "bn:frozen"]
    settings = {"recipe": "finetune", "seeds": 1, "epochs": 1, "batch_size": 16}
    found = compare(specs, model=f"applications:{name}", data=photos, out=tmp_path, **settings)
    assert [run.status for run in found.runs] == ["finished"] * len(specs)
