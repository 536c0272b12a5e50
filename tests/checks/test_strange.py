"""Strange and hostile input: one sentence, or fewer findings; never a traceback."""

import keras
import numpy as np
import pandas as pd
import pytest
from facts import one_says, says
from flawed import X, Y, bn, compiled, flawed, net, relu
from keras import layers
from rich.console import Console

import tfnorm
from tfnorm import check
from tfnorm.checks import Findings
from tfnorm.errors import TfnormError


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.norm = layers.Dense(4), layers.BatchNormalization(name="norm")

    def call(self, x, training=None):
        return self.norm(self.dense(x), training=training)


class Fails(layers.Layer):
    def call(self, x):
        return x if isinstance(x, keras.KerasTensor) else x.nothing

    def compute_output_shape(self, shape):
        return shape


def subclassed():
    model = Subclassed()
    model(np.zeros((2, 3), "float32"))
    return model


def two_inputs():
    inputs = [keras.Input((8, 8, 3)), keras.Input((4,))]
    x = layers.GlobalAveragePooling2D()(tfnorm.layers.InstanceNormalization(name="norm")(inputs[0]))
    x = layers.Concatenate()([x, inputs[1]])
    return keras.Model(inputs, [layers.Dense(4)(x), layers.Dense(2)(x)])


def open_shapes():
    inputs = keras.Input((None, None, 3))
    x = tfnorm.layers.InstanceNormalization(name="norm")(layers.Conv2D(8, 3)(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def with_lambda():
    inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 3))(inputs)
    x = tfnorm.layers.InstanceNormalization(name="norm")(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def quantized():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), tfnorm.layers.InstanceNormalization(name="norm")]
        + [layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )
    model.quantize("int8")
    return model


def empty():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, inputs)


def without_input():
    model = keras.Sequential([layers.Dense(4), layers.BatchNormalization(name="norm")])
    model(np.zeros((2, 3), "float32"))
    return model


def shared_and_scalar():
    inputs = keras.Input((8, 8, 3))
    norm, x = layers.BatchNormalization(name="norm"), inputs
    for _ in range(2):
        x = norm(x) + 1.0
    return keras.Model(inputs, keras.ops.mean(x, axis=(1, 2)) * 2.0)


def sequence():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.LayerNormalization(name="norm")(layers.Embedding(10, 4)(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.LSTM(4)(x)))


INSTANCE = (two_inputs, open_shapes, with_lambda, quantized)


@pytest.mark.parametrize("make", INSTANCE)
def test_a_strange_model_is_checked_as_far_as_it_goes(make):
    findings = check(make())
    assert [finding.layers for finding in findings.warnings] == [("norm",)] and findings.left_out == ()


@pytest.mark.parametrize("make", [empty, shared_and_scalar, sequence])
def test_a_model_without_a_flaw_has_none(make):
    findings = check(make())
    assert not findings.warnings and findings.left_out == ()
    says(findings, make().name.rsplit("_", 1)[0]) if len(findings) else says(findings, "nothing found")


def test_a_model_without_a_graph_is_checked_layer_by_layer():
    findings = check(subclassed(), steps=10, batch_size=2)
    assert [finding.rule for finding in findings] == ["slow-statistics", "small-batch"]
    one_says(findings.left_out, "keras.Input")


def test_a_sequential_model_that_was_called_has_its_graph():
    findings = check(without_input(), steps=500)
    assert [finding.rule for finding in findings] == ["bias-before-norm"] and findings.left_out == ()


def test_data_for_a_strange_model():
    assert not check(subclassed(), np.zeros((9, 3), "float32"), np.arange(9) % 4, steps=500).warnings
    findings = check(two_inputs(), [X, np.zeros((48, 4), "float32")], Y)
    assert [finding.rule for finding in findings.warnings] == ["norm-before-pooling"]
    inputs = keras.Input((8, 8, 3))
    broken = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(Fails()(layers.BatchNormalization()(inputs)))))
    findings = check(broken, X, Y)
    assert findings.left_out and all("nothing" in sentence for sentence in findings.left_out)
    says(findings, "not checked", "AttributeError")


def unbuilt():
    return keras.Sequential([layers.Dense(4)])


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (lambda: 3, ("3",)),
        (lambda: None, ("None",)),
        (lambda: "nowhere.keras", ("nowhere.keras",)),
        (lambda: "resnet", ("'resnet'", "applications:")),
        (lambda: ".", ("model.keras", "finished run")),
        (unbuilt, ("keras.Input",)),
        (lambda: layers.Dense(4), ("Dense",)),
    ],
)
def test_what_is_no_model_is_told(given, facts):
    with pytest.raises(TfnormError) as caught:
        check(given())
    says(caught, *facts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ((X[:0],), ("no", "image")),
        ((X[..., :1],), ("(48, 8, 8, 1)", "(None, 8, 8, 3)")),
        (("photos",), ("str",)),
        ((3,), ("int",)),
        ((X, Y[:5]), ("5 labels", "48 images")),
        (([(X, Y)], Y), ("pairs",)),
        (({},), ("nothing",)),
        (({"image": 3},), ("()",)),
        (([X, X[:9]],), ("(9,)", "(48,)")),
        ((X[0],), ("(8, 8, 3)",)),
    ],
)
def test_data_that_do_not_fit_are_told(arguments, facts):
    with pytest.raises(TfnormError) as caught:
        check(net(relu()), *arguments)
    says(caught, *facts) if facts[0] != "no" else says(caught, "image")


@pytest.mark.parametrize("options", [{"steps": 0}, {"batch_size": 1.5}, {"steps": True}, {"optimizer": "adamm"}])
def test_settings_that_are_none_are_told(options):
    with pytest.raises(TfnormError) as caught:
        check(net(relu()), **options)
    says(caught, *options)


def test_arrays_and_batches_find_the_same():
    import tensorflow as tf

    model = compiled(net(relu()))
    parts = [X, Y + 1]
    stream = tf.data.Dataset.from_tensor_slices(tuple(parts)).batch(16)
    words = check(model, tf.constant(X), np.array(list("abcd") * 12))
    assert words.left_out == () and not words.warnings
    found = [check(model, *parts), check(model, stream), check(model, [(X[:20], Y[:20] + 1), (X[20:], Y[20:] + 1)])]
    assert [[finding.rule for finding in each] for each in found] == [["labels"]] * 3


def test_a_file_a_function_and_a_run_are_opened(tmp_path):
    (model,), _ = flawed("norm-before-pooling")
    model.save(tmp_path / "model.keras")
    for given in (tmp_path / "model.keras", str(tmp_path), tmp_path, lambda: keras.models.clone_model(model)):
        assert [finding.rule for finding in check(given).warnings] == ["norm-before-pooling"]


def test_findings_print_and_become_tables():
    (model,), _ = flawed("norm-before-pooling")
    model.name = "<net>"
    findings = check(model)
    assert isinstance(findings, Findings) and isinstance(findings, list)
    frame = findings.to_frame()
    assert isinstance(frame, pd.DataFrame) and list(frame["rule"]) == [finding.rule for finding in findings]
    assert list(frame.columns[:5]) == ["rule", "severity", "layers", "message", "remedy"]
    says(findings._repr_html_(), "norm-before-pooling", "&lt;net&gt;")
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(findings)
    says(" ".join(console.export_text().split()), "norm-before-pooling", "1607.08022")
    says(findings, "1 warning", "norm-before-pooling", "replace_norms")
    assert check(net(bn(), relu())).to_frame().empty and "nothing found" in str(check(net(bn(), relu())))


def test_a_fix_says_what_it_leaves():
    model = net(relu(), layers.GroupNormalization(-1, name="norm"), before=[layers.Rescaling(1 / 255)] * 1)
    model = compiled(model, "sparse_categorical_crossentropy")
    findings = check(model)
    with pytest.warns(UserWarning, match="loss-mismatch"):
        fixed, report = findings.fix(return_report=True)
    assert [finding.rule for finding in report["mended"]] == ["norm-before-pooling"]
    assert {finding.rule for finding in report["left"]} == {"loss-mismatch", "one-channel-groups"}
    assert fixed is not model and fixed.get_layer("norm").groups == 1
    with pytest.raises(TfnormError) as caught:
        check(net(relu(), activation="softmax", bias=True)).fix()
    says(caught, "nothing")


class Block(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        return self.norm(x, training=training)


def test_a_norm_inside_another_layer_is_found_and_no_fix_pretends_to_mend_it():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(Block(name="block")(inputs)))
    findings = check(model, steps=20)
    assert [(finding.rule, finding.layers) for finding in findings] == [("slow-statistics", ("block/norm",))]
    with pytest.raises(TfnormError) as caught:
        findings.fix()
    says(caught, "'block/norm'", "'block'", "Block")


def test_freezing_and_recalibrating_fixes():
    (model,), _ = flawed("norm-in-frozen-part")
    fixed = check(model).fix()
    assert not check(fixed) and model.get_layer("norm").trainable and not fixed.get_layer("norm").trainable
    (model, x), _ = flawed("batch-norm-gap")
    fixed = check(model, x).fix()
    assert not check(fixed, x) and float(model.get_layer("norm").moving_mean[0]) == 5.0
