"""Published networks, KerasHub's and tfnorm's own: no warning, no error, little time; and what `fix` must reach."""

import time

import keras
import numpy as np
import pytest

import tfnorm
from tfnorm import check
from tfnorm.models.applications import APPLICATIONS

# The first network of each family, with the side of small images that it takes.
FAMILIES = {
    "ConvNeXtTiny": 64, "DenseNet121": 64, "EfficientNetB0": 64, "EfficientNetV2B0": 64, "MobileNet": 64,
    "MobileNetV2": 64, "InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71, "MobileNetV3Small": 64,
    "NASNetMobile": 64, "ResNet50V2": 64, "ResNet50": 64, "VGG16": 64,
}  # fmt: skip
SMALL = ("MobileNet", "VGG16")
# NASNet has momentum 0.9997: 5 % of its first statistics are left after 10,000 steps.


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SMALL else pytest.mark.matrix) for name in FAMILIES]
)
def test_no_family_of_keras_applications_has_a_warning(name):
    assert name in APPLICATIONS
    side = FAMILIES[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
    start = time.process_time()
    findings = check(model, steps=50_000, batch_size=32)
    assert time.process_time() - start < 10
    assert findings.warnings == [] and findings.left_out == ()
    assert {finding.rule for finding in findings} <= {"bias-before-norm", "two-scalings"}


@pytest.mark.matrix
@pytest.mark.parametrize("name", APPLICATIONS)
def test_no_network_of_keras_applications_has_a_warning_at_its_own_size(name):
    model = getattr(keras.applications, name)(weights=None)
    findings = check(model, steps=50_000, batch_size=32)
    assert findings.warnings == [] and findings.left_out == ()


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50V2", "EfficientNetB0"])
def test_fresh_networks_have_no_warning_with_data(name):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (32, 64, 64, 3)).astype("float32"), np.arange(32) % 10
    model = tfnorm.models.sources.source_of(f"applications:{name}").make(
        seed=0, num_classes=10, input_shape=(64, 64, 3)
    )
    findings = check(model, x, y, batch_size=16)
    assert findings.warnings == [] and findings.left_out == ()


@pytest.mark.matrix
@pytest.mark.parametrize("norm", ["bn", "ln", "gn:size=4", "in", "rms", "frn", "none"])
@pytest.mark.parametrize("arch", tfnorm.list_architectures())
def test_no_network_of_tfnorm_has_a_warning(arch, norm):
    findings = check(tfnorm.build(arch, norm=norm))
    assert findings.left_out == ()
    # Instance norm in the last residual unit, or with a single pixel, is a flaw indeed.
    assert norm == "in" or findings.warnings == []


def kerashub():
    hub = pytest.importorskip("keras_hub").models
    resnet = {
        "input_conv_filters": [64], "input_conv_kernel_sizes": [7], "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2],
    }  # fmt: skip
    yield hub.ResNetBackbone(**resnet, block_type="basic_block", use_pre_activation=False)
    yield hub.ResNetBackbone(**resnet, block_type="bottleneck_block", use_pre_activation=True)
    yield hub.MobileNetBackbone(
        stackwise_expansion=[[8], [16]], stackwise_num_blocks=[1, 1], stackwise_num_filters=[[8], [12]],
        stackwise_kernel_size=[[3], [3]], stackwise_num_strides=[[1], [2]], stackwise_se_ratio=[[None], [None]],
        stackwise_activation=[["relu"], ["hard_swish"]], stackwise_padding=[[1], [1]], output_num_filters=16,
        input_num_filters=8, depthwise_filters=8, depthwise_stride=1, depthwise_residual=False, last_layer_filter=16,
    )  # fmt: skip
    yield hub.DenseNetBackbone(stackwise_num_repeats=[2, 2], compression_ratio=0.5, growth_rate=8)
    yield hub.VGGBackbone(stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 16])
    yield hub.ViTBackbone(image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    yield hub.BertBackbone(
        vocabulary_size=50, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=12
    )


@pytest.mark.matrix
def test_no_backbone_of_kerashub_has_a_warning():
    for backbone in kerashub():
        findings = check(backbone, steps=50_000, batch_size=32)
        assert findings.warnings == [], backbone.name


def digits():
    data = tfnorm.datasets.load("digits")
    return data.x_train.astype("float32"), data.y_train, data.x_test.astype("float32"), data.y_test


def trained(model, x, y, epochs):
    model.compile(
        keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def convolutions(norm, between=True):
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (32, 64):
        x = layers.ReLU()(norm()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)))
    x = norm(name="last")(layers.Conv2D(64, 3, padding="same", use_bias=False)(x))
    x = layers.ReLU()(x) if between else x
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D(name="pool")(x)))


@pytest.mark.matrix
def test_instance_norm_before_pooling_trains_to_chance_and_its_fix_learns():
    x, y, x_test, y_test = digits()
    keras.utils.set_random_seed(0)
    model = convolutions(tfnorm.layers.InstanceNormalization, between=False)
    findings = check(model, x, y)
    (warning,) = findings.warnings
    assert warning.rule == "norm-before-pooling" and warning.layers == ("last",)
    fixed = findings.fix()
    assert trained(model, x, y, 3).evaluate(x_test, y_test, verbose=0)[1] < 0.15
    assert trained(fixed, x, y, 25).evaluate(x_test, y_test, verbose=0)[1] >= 0.95


@pytest.mark.matrix
def test_the_gap_after_50_steps_is_measured_and_its_fix_closes_it():
    x, y, x_test, y_test = digits()
    keras.utils.set_random_seed(0)
    model = trained(convolutions(keras.layers.BatchNormalization), x[:800], y[:800], 2)
    assert model.optimizer.iterations == 50
    findings = check(model, x[:800], y[:800])
    (warning,) = findings.warnings
    assert warning.rule == "batch-norm-gap" and warning.layers
    tested = model.evaluate(x_test, y_test, verbose=0)[1]
    assert warning.evidence["recalibrated"] - warning.evidence["accuracy"] > 0.1
    fixed = findings.fix()
    with_batches = np.mean([
        np.argmax(model(x_test[i : i + 150], training=True), 1) == y_test[i : i + 150] for i in (0, 150, 300)
    ])  # fmt: skip
    reached = fixed.evaluate(x_test, y_test, verbose=0)[1]
    assert tested < with_batches - 0.1 and reached > with_batches - 0.01
    assert not check(fixed, x[:800], y[:800]).warnings
