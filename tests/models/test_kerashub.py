"""Presets of KerasHub as networks. KerasHub is optional: an environment with a Keras too old for it goes without."""

import shutil

import keras
import numpy as np
import pytest
from facts import one_says, says
from keras import layers

from tfnorm.convert import make_variant
from tfnorm.errors import ArchitectureError
from tfnorm.models.sources import source_of

keras_hub = pytest.importorskip("keras_hub")

SIZES = {"num_classes": 5, "input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Return a folder with presets of small networks, with weights that no fresh network has."""
    folder, models = tmp_path_factory.mktemp("presets"), keras_hub.models
    keras.utils.set_random_seed(7)
    resnet = models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64], stackwise_num_blocks=[1],
        stackwise_num_strides=[1], block_type="basic_block", use_pre_activation=False, image_shape=(None, None, 3),
    )  # fmt: skip
    mobile = models.MobileNetBackbone(
        stackwise_expansion=[[8], [16]], stackwise_num_blocks=[1, 1], stackwise_num_filters=[[8], [12]],
        stackwise_kernel_size=[[3], [3]], stackwise_num_strides=[[1], [2]], stackwise_se_ratio=[[None], [None]],
        stackwise_activation=[["relu"], ["hard_swish"]], stackwise_padding=[[1], [1]], output_num_filters=16,
        input_num_filters=8, depthwise_filters=8, depthwise_stride=1, depthwise_residual=False, last_layer_filter=16,
    )  # fmt: skip
    for name, backbone in (("resnet", resnet), ("mobile", mobile)):
        for weight in backbone.weights:
            weight.assign(weight + 0.01)
        backbone.save_to_preset(folder / name)
    converter = keras_hub.layers.ResNetImageConverter(image_size=(32, 32), scale=[0.5, 0.25, 0.125], offset=[1, 2, 3])
    preprocessor = models.ResNetImageClassifierPreprocessor(image_converter=converter)
    models.ResNetImageClassifier(resnet, num_classes=5, preprocessor=preprocessor).save_to_preset(folder / "task")
    return folder


def test_a_backbone_gets_pooling_and_a_head_and_says_that_its_scale_is_not_known(presets):
    source = source_of(f"kerashub:{presets / 'resnet'}")
    assert source.short_name == "kerashub:resnet" and source_of(source.portable_text).fingerprint == source.fingerprint
    with pytest.warns(UserWarning, match="scale of pixels"):
        model = source.make(seed=0, **SIZES)
    assert model.output_shape == (None, 5) and model.input_shape == (None, 32, 32, 3)
    backbone = keras_hub.models.Backbone.from_preset(str(presets / "resnet"))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    pooled = np.mean(backbone.predict(images, verbose=0), axis=(1, 2))
    np.testing.assert_allclose(model.get_layer("pooled").output.shape[1:], pooled.shape[1:])
    head = model.get_layer("logits")
    expected = pooled @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4)


def test_a_classifier_keeps_a_head_of_as_many_classes_and_its_scale(presets):
    source = source_of(f"kerashub:{presets / 'task'}")
    task = keras_hub.models.ImageClassifier.from_preset(str(presets / "task"))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = task.predict(images, verbose=0)  # which brings its own scale
    np.testing.assert_allclose(source.make(seed=0, **SIZES).predict(images, verbose=0), expected, rtol=1e-4, atol=1e-4)
    other = source.make(seed=0, input_shape=(32, 32, 3), num_classes=4)
    assert other.output_shape == (None, 4)
    np.testing.assert_allclose(other.get_layer("rescaled")(np.full((1, 1, 1, 3), 8.0))[0, 0, 0], [5, 4, 4])
    fresh = source_of(f"kerashub:{presets / 'task'}", weights="fresh")
    kernels = [[w.numpy() for w in each.make(seed=1, **SIZES).weights if w.name == "kernel"] for each in (fresh, fresh)]
    assert all(np.array_equal(a, b) for a, b in zip(*kernels, strict=True))
    assert not np.array_equal(kernels[0][0], source.make(seed=1, **SIZES).weights[0])


def test_norms_inside_the_networks_of_kerashub_are_replaced(presets):
    variant = make_variant(f"kerashub:{presets / 'task'}", "gn:8", seed=0, **SIZES)
    kinds = [type(layer) for layer in variant.model._flatten_layers()]
    assert layers.BatchNormalization not in kinds and len(variant.changes) == 3
    assert variant.model.predict(np.zeros((1, 32, 32, 3)), verbose=0).shape == (1, 5)


@pytest.mark.filterwarnings("ignore:The preset")
def test_norms_inside_blocks_of_kerashub_stay_and_are_counted(presets):
    with pytest.warns(UserWarning) as caught:
        variant = make_variant(f"kerashub:{presets / 'mobile'}", "gn:8", seed=0, **SIZES)
    norms = [each for each in variant.model._flatten_layers() if type(each) is layers.BatchNormalization]
    assert len(norms) > 3 and len(variant.changes) == 1
    one_says([str(each.message) for each in caught], f"{len(norms)} of {len(norms) + 1} norms stay", "mixture")


def test_what_is_no_preset_is_told(presets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "./nowhere"):
        with pytest.raises(ArchitectureError) as caught:
            source_of(f"kerashub:{name}")
        says(caught, repr(name), "save_to_preset")
    with pytest.raises(ArchitectureError) as caught:
        source_of("kerashub:resnet_x").make(seed=0)
    says(caught, "'resnet_x'", "preset")


def test_a_changed_preset_is_another_network(presets, tmp_path):
    shutil.copytree(presets / "resnet", tmp_path / "resnet")
    source = source_of(f"kerashub:{tmp_path / 'resnet'}")
    assert source.fingerprint == source_of(f"kerashub:{presets / 'resnet'}").fingerprint
    (tmp_path / "resnet" / "metadata.json").write_text("{}")
    with pytest.raises(ArchitectureError) as caught:
        source.make(seed=0, **SIZES)
    says(caught, "metadata.json", "changed")
