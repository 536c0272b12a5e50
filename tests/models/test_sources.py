"""What makes a network: every form, what is refused in one sentence, and that seeds decide its weights."""

import functools
import subprocess
import sys
import types

import keras
import numpy as np
import own_networks
import pytest
from facts import says
from keras import layers

from tfnorm.errors import ArchitectureError, TfnormError
from tfnorm.models.applications import APPLICATIONS
from tfnorm.models.sources import source_of

NET = """
import keras
from keras import layers

SIZE = 8

def make(num_classes=4, input_shape=(SIZE, SIZE, 3)):
    inputs = keras.Input(input_shape)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, layers.Dense(num_classes)(x))

def fixed():
    return make()

def needs(width, num_classes):
    return make()

def needs_classes(num_classes):
    return make(num_classes)

def fails():
    return make(no_such_word=1)

def nothing():
    make()

def word():
    return "a model"

model = make()

def again():
    return model

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)

def no_graph():
    return Net()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "broken.py").write_text("x = 1\ndef make(:\n")
    (tmp_path / "raises.py").write_text("import keras\n\n1 / 0\n\ndef make():\n    pass\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "nets.py").write_text(NET)
    (tmp_path / "old.h5").write_bytes(b"\x89HDF")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in ("net", "broken", "raises", "pack", "pack.nets"):
        sys.modules.pop(name, None)


def bits(model):
    return [(weight.path, weight.numpy().tobytes()) for weight in model.weights]


@pytest.mark.parametrize("text", ["net.py:make", "pack.nets:make", "./net.py:make"])
def test_a_text_names_a_function(text, folder):
    source = source_of(text)
    assert source.text == text and len(source.fingerprint) == 64 and not source.takes_norm
    model = source.make(seed=3, num_classes=5, input_shape=(9, 9, 3))
    assert model.input_shape == (None, 9, 9, 3) and model.output_shape == (None, 5)


def test_nothing_is_run_before_the_model_is_made(folder):
    source = source_of("raises.py:make")
    with pytest.raises(ArchitectureError) as caught:
        source.make(seed=0)
    says(caught, "raises.py", "ZeroDivisionError", "line 3")


def test_a_seed_decides_the_weights_and_names_whatever_was_made_before(folder):
    source = source_of("net.py:make")
    first = bits(source.make(seed=1))
    layers.Conv2D(2, 1)
    source_of(own_networks.plain).make(seed=5)
    assert bits(source.make(seed=1)) == first
    assert bits(source.make(seed=2)) != first
    assert [path for path, _ in first][0] == "conv2d/kernel"


def test_names_of_the_caller_go_on_where_they_were(folder):
    before = layers.Conv2D(2, 1).name
    source_of("net.py:make").make(seed=1)
    assert layers.Conv2D(2, 1).name not in (before, "conv2d")


def test_an_importable_function_has_a_text_that_makes_the_same_model():
    source = source_of(own_networks.plain)
    assert source.text == f"{own_networks.__file__}:plain" and source.why_no_text == ""
    again = source_of(source.text)
    assert again.fingerprint == source.fingerprint
    assert bits(again.make(seed=4)) == bits(source.make(seed=4))


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: own_networks.plain(), ("<lambda>", "inside a function", "top of a file")),
        (functools.partial(own_networks.plain, num_classes=2), ("partial", "function")),
    ],
    ids=["lambda", "partial"],
)
def test_a_function_that_others_cannot_import_says_why(make, facts):
    source = source_of(make)
    assert source.text is None
    says(source.why_no_text, *facts)
    assert source.make(seed=0).built


@pytest.mark.parametrize("guarded", [False, True])
def test_a_script_that_works_when_it_is_imported_says_so(guarded, tmp_path):
    work = "print(source_of(make).text, source_of(make).why_no_text)"
    guard = "if __name__ == '__main__':\n    " if guarded else ""
    script = tmp_path / "script.py"
    script.write_text(f"from tfnorm.models.sources import source_of\n\ndef make():\n    pass\n\n{guard}{work}\n")
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    says(printed, *((f"{script}:make",) if guarded else ("None", "script.py", "__name__")))


def test_a_function_goes_on_as_it_was_read_though_its_file_changes(folder):
    import net

    source = source_of(net.make)
    (folder / "net.py").write_text("")
    assert source.make(seed=0).built


def test_a_changed_file_is_refused_and_read_anew_by_a_new_source(folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # it would be that of the old file, within a second
    source = source_of("net.py:make")
    source.make(seed=0)
    (folder / "net.py").write_text(NET.replace("Conv2D(4, 3)", "Conv2D(7, 3)"))
    with pytest.raises(ArchitectureError) as caught:
        source.make(seed=0)
    says(caught, folder / "net.py", "changed")
    anew = source_of("net.py:make")
    assert anew.fingerprint != source.fingerprint
    assert anew.make(seed=0).layers[1].filters == 7


def test_a_saved_model_keeps_its_weights_and_its_compilation(tmp_path):
    model = own_networks.plain()
    model.compile("adam", "mse")
    model.save(tmp_path / "net.keras")
    source = source_of(tmp_path / "net.keras")
    for seed in (0, 1):
        made = source.make(seed=seed, input_shape=(8, 8, 3))
        assert made.compiled
        for weight, old in zip(made.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, old)


def test_fresh_weights_of_a_saved_model_are_drawn_by_the_seed_but_not_the_scale_of_its_data(tmp_path):
    inputs = keras.Input((8, 8, 3))
    scale = layers.Normalization(mean=None)
    scale.adapt(np.random.default_rng(0).normal(5, 2, (4, 8, 8, 3)))
    outputs = layers.Dense(2)(layers.Flatten()(layers.BatchNormalization()(layers.Conv2D(3, 3)(scale(inputs)))))
    model = keras.Model(inputs, outputs)
    model.layers[3].moving_mean.assign([1.0, 2, 3])
    model.save(tmp_path / "net.keras")
    source = source_of(str(tmp_path / "net.keras"), weights="fresh")
    one, same, other = (source.make(seed=seed) for seed in (1, 1, 2))
    assert [w.tobytes() for w in one.get_weights()] == [w.tobytes() for w in same.get_weights()]
    assert np.any(one.layers[2].get_weights()[0] != other.layers[2].get_weights()[0])
    assert np.any(one.layers[2].get_weights()[0] != model.layers[2].get_weights()[0])
    assert not np.any(one.layers[3].moving_mean.numpy())
    np.testing.assert_array_equal(one.layers[1].mean, model.layers[1].mean)


def test_a_sequential_model_without_an_input_is_built_for_the_images():
    made = source_of(lambda: keras.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]))
    assert made.make(seed=0, input_shape=(6, 6, 3)).input_shape == (None, 6, 6, 3)


def test_the_table_has_every_network_of_keras_applications():
    kinds = {name for name, each in vars(keras.applications).items() if isinstance(each, types.FunctionType)}
    assert set(APPLICATIONS) == kinds


MODULES = {
    "MobileNetV2": "mobilenet_v2", "ResNet50": "resnet", "DenseNet121": "densenet", "ResNet50V2": "resnet_v2",
    "VGG16": "vgg16", "EfficientNetB0": "efficientnet", "ConvNeXtTiny": "convnext", "MobileNetV3Small": "mobilenet_v3",
    "EfficientNetV2B0": "efficientnet_v2", "MobileNet": "mobilenet", "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2", "Xception": "xception", "NASNetMobile": "nasnet",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_pixels_are_prepared_as_keras_does(name, seeded):
    from tfnorm.models.applications import _prepared

    pixels = seeded.uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    inputs = keras.Input((4, 4, 3))
    outputs = _prepared(APPLICATIONS[name].pixels, inputs)
    ours = pixels if outputs is inputs else keras.Model(inputs, outputs)(pixels)
    expected = getattr(keras.applications, MODULES[name]).preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-4)


def test_an_application_gives_logits_for_the_classes_and_images_at_hand():
    source = source_of("applications:MobileNetV2")
    assert source.text == "applications:MobileNetV2" and source.fingerprint == ""
    model = source.make(seed=0, num_classes=3, input_shape=(32, 32, 1))
    assert model.output_shape == (None, 3) and model.input_shape == (None, 32, 32, 1)
    assert model.layers[-1].activation is keras.activations.linear
    kernel = model.get_layer("Conv1").kernel.numpy()
    assert (
        kernel.tobytes()
        == source.make(seed=0, num_classes=3, input_shape=(32, 32, 1)).get_layer("Conv1").kernel.numpy().tobytes()
    )


def test_pretrained_weights_get_a_new_head(monkeypatch):
    seen = []

    def fake(**options):
        seen.append(options)
        pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(options["input_tensor"]))
        source = keras.utils.get_source_inputs(options["input_tensor"])  # a list, as Keras makes it
        return keras.Model(source, pooled if not options.get("include_top", True) else layers.Dense(1000)(pooled))

    monkeypatch.setattr(keras.applications, "ResNet50", fake)
    source = source_of("applications:ResNet50", weights="imagenet")
    model = source.make(seed=0, num_classes=7, input_shape=(40, 40, 3))
    assert model.output_shape == (None, 7) and model.input_shape == (None, 40, 40, 3)
    assert (seen[0]["weights"], seen[0]["include_top"], seen[0]["pooling"]) == ("imagenet", False, "avg")
    assert source.make(seed=0, input_shape=(40, 40, 3)).output_shape == (None, 1000)
    assert seen[1]["classifier_activation"] is None and "classes" not in seen[1]


def test_kerashub_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ArchitectureError) as caught:
        source_of("kerashub:resnet_18_imagenet")
    says(caught, "KerasHub", "pip install keras-hub")


CHECKED = {
    "nowhere.py:make": ("'nowhere.py'", "no file"),
    "net.py:mak": ("'mak'", "'make'", "fixed"),
    "net.py:SIZE": ("'SIZE'", "int"),
    "net.py": ("'net.py'", "net.py:make"),
    "net.txt": ("'net.txt'", "FILE.py:FUNCTION", "applications:NAME"),
    "broken.py:make": ("SyntaxError", "broken.py", "line 2"),
    "no.such.module:make": ("'no.such.module'", "no module"),
    "pack.nets:mak": ("'pack.nets'", "'mak'", "'make'"),
    "nowhere.keras": ("'nowhere.keras'", "no file"),
    "pack": ("'pack'", "folder"),
    "old.h5": ("'old.h5'", "weights", "model.save('model.keras')"),
    "applications:ResNet5": ("'ResNet5'", "'ResNet50'", "VGG16"),
    "resnet101": ("'resnet101'", "applications:ResNet101"),
    "resnet50": ("'resnet50'", "arch", "applications:ResNet50"),
    "resnet20": ("'resnet20'", "arch"),
}


@pytest.mark.parametrize("text", CHECKED)
def test_what_is_refused_before_anything_is_run(text, folder):
    with pytest.raises(ArchitectureError) as caught:
        source_of(text)
    says(caught, *CHECKED[text])
    assert "net" not in sys.modules and "pack" not in sys.modules


MADE = {
    "net.py:fails": ({}, ("TypeError", "no_such_word", "net.py", "line 22")),
    "net.py:nothing": ({}, ("None", "return model")),
    "net.py:word": ({}, ("str", "Keras model")),
    "net.py:needs": ({"num_classes": 3}, ("width", "defaults")),
    "net.py:needs_classes": ({}, ("num_classes",)),
    "net.py:fixed": ({"input_shape": (28, 28, 1)}, ("8x8x3", "28x28x1", "input_shape")),
    "applications:MobileNetV2": ({"input_shape": (28, 28, 3)}, ("28x28x3", "32x32")),
    "applications:ResNet50": ({"input_shape": (32, 32, 4)}, ("32x32x4", "3 channels")),
}


@pytest.mark.parametrize("text", MADE)
def test_what_is_refused_when_it_is_made(text, folder):
    sizes, facts = MADE[text]
    with pytest.raises(ArchitectureError) as caught:
        source_of(text).make(seed=0, **sizes)
    says(caught, *facts)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_given_again_would_go_on_from_the_last_run(folder):
    source = source_of("net.py:again")
    source.make(seed=0)
    with pytest.raises(ArchitectureError) as caught:
        source.make(seed=1)
    says(caught, "net.py:again", "/kernel", "inside the function")


@pytest.mark.parametrize(
    ("model", "weights", "facts"),
    [
        (own_networks.plain, "imagenet", ("plain", "'imagenet'")),
        ("applications:VGG16", "coco", ("'coco'", "'imagenet'", "applications:VGG16")),
        (3, None, ("3", "FILE.py:FUNCTION")),
    ],
    ids=["function", "application", "number"],
)
def test_what_does_not_go_together(model, weights, facts):
    with pytest.raises(ArchitectureError) as caught:
        source_of(model, weights=weights)
    says(caught, *facts)


def test_weights_of_a_saved_model_are_its_own(tmp_path):
    own_networks.sequential().save(tmp_path / "net.keras")
    with pytest.raises(ArchitectureError) as caught:
        source_of(tmp_path / "net.keras", weights="imagenet")
    says(caught, "'imagenet'", "'fresh'")


def test_a_model_in_place_of_a_function():
    with pytest.raises(TfnormError) as caught:
        source_of(own_networks.sequential())
    says(caught, "Sequential", "function")


def test_checking_imports_no_keras(folder, run_python):
    code = (
        "import sys; from tfnorm.models.sources import source_of; "
        "[source_of(text) for text in ('net.py:make', 'pack.nets:make', 'applications:VGG16')]; "
        "print(sorted({'keras', 'tensorflow', 'net', 'pack'} & set(sys.modules)))"
    )
    assert run_python(code) == "[]"
