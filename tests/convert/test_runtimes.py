"""`tfnorm.convert.export`: what it writes gives what Keras gives, or it says in a sentence why not."""

import re

import keras
import numpy as np
import pytest
from facts import says
from keras import layers

if keras.backend.backend() != "tensorflow":
    pytest.skip("Other backends are in tests/test_export_backends.py.", allow_module_level=True)

import exporting

import tfnorm
from tfnorm.convert import export
from tfnorm.convert.runtimes import check, formats
from tfnorm.convert.runtimes import onnx as onnx_files
from tfnorm.errors import DataError, TfnormError
from tfnorm.models.architectures import ArchSpec, Conv, Dense, Pool
from tfnorm.norms import NORMS

FORMS = ["net.tflite", "net.onnx", "net/"]
# LiteRT takes seconds, and has the names and the types of inputs that a SavedModel has.
SOON = [pytest.param(form, marks=pytest.mark.matrix if form == "net.tflite" else []) for form in FORMS]
SMALL = ArchSpec(
    "small", "two convolutions", (28, 28, 1), (Conv(8), Pool("max", 4), Conv(16), Dense(name="logits")), dropout=0.05
)


def under(policy, make):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


def plain():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(x)))


def sequential():
    pixels = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0])
    return keras.Sequential(
        [keras.Input((8, 8, 3)), pixels, layers.Rescaling(0.5), layers.Conv2D(4, 3), layers.Flatten(),
         layers.Dense(3, activation="softmax", name="classes")]
    )  # fmt: skip


def several(names=True):
    image, numbers = keras.Input((8, 8, 3), name="left image"), keras.Input((5,), name="numbers")
    x = layers.Concatenate()([layers.Flatten()(layers.GroupNormalization(3)(image)), numbers])
    one, two = layers.Dense(2, name="one")(x), layers.Dense(3, name="two")(numbers)
    if names:
        return keras.Model({"image": image, "numbers": numbers}, {"a": one, "b": two})
    return keras.Model([image, numbers], [one, two, one])


def open_sizes():
    image = keras.Input((None, None, 3))
    return keras.Model(image, tfnorm.layers.GroupNormalization(2)(layers.Conv2D(4, 3, padding="same")(image)))


def words():
    numbers = keras.Input((10,), dtype="int32")
    return keras.Model(numbers, layers.Dense(2)(layers.GlobalMaxPooling1D()(layers.Embedding(7, 3)(numbers))))


def dropout_in_training():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Dropout(0.5)(layers.Conv2D(4, 3)(image), training=True))


def with_lambda():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Lambda(lambda x: 2 * x)(layers.Conv2D(4, 3)(image)))


def held_tensor():
    class Table(layers.Layer):
        def build(self, shape):
            # Too large for TensorFlow to take it for a constant by itself.
            self.table = keras.ops.convert_to_tensor(np.arange(192, dtype="float32").reshape(8, 8, 3))

        def call(self, x):
            return x * self.table

    image = keras.Input((8, 8, 3))
    return keras.Model(image, Table()(image))


def channels_first():
    image = keras.Input((3, 8, 8))
    return keras.Model(image, layers.Conv2D(4, 3, data_format="channels_first")(image))


def in_groups():
    """Keras has XLA compile such convolutions, which ONNX files have no calls of."""
    image = keras.Input((8, 8, 4))
    return keras.Model(image, layers.Conv2D(6, 3, groups=2)(image))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.norm = layers.Dense(3), tfnorm.layers.BatchNormalization()

    def call(self, x, training=False):
        return self.norm(self.dense(x), training=training)


def subclass():
    model = Own()
    model(np.ones((2, 5), "float32"))
    return model


MODELS = {
    "of build": lambda: tfnorm.build(norm="gn:2+ws", seed=0),
    "thresholded": lambda: tfnorm.build(SMALL, norm="frn", seed=0),
    "synchronized": lambda: tfnorm.build(SMALL, norm="bn:sync", seed=0),
    "bfloat16": lambda: tfnorm.build(SMALL, norm="ln", seed=0, precision="bfloat16"),
    "float16": lambda: tfnorm.build(SMALL, norm="bn", seed=0, precision="float16"),
    "bfloat16 alone": lambda: under("bfloat16", plain),
    "plain": plain,
    "accelerated": lambda: tfnorm.convert.accelerate(plain()),
    "sequential": sequential,
    "names": several,
    "list": lambda: several(names=False),
    "open sizes": open_sizes,
    "words": words,
    "dropout in training": dropout_in_training,
    "lambda": with_lambda,
    "held tensor": held_tensor,
    "convolution in groups": in_groups,
    "subclass": subclass,
    "bytes": lambda: keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), layers.Rescaling(1 / 255)]),
}


def written(name, form, folder, **options):
    model = MODELS[name]()
    before = [np.array(weight) for weight in model.get_weights()]
    result = export(model, f"{folder}/{form}", **options)
    assert all((old == np.array(new)).all() for old, new in zip(before, model.get_weights(), strict=True))
    assert [path.name for path in folder.iterdir()] == [form.rstrip("/")]
    assert result.difference < 1e-4, result
    return result


# Every model in one format here, in all of them and both batch sizes in the matrix.
@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, FORMS[i % 3], marks=pytest.mark.matrix if name == "plain" else [])  # as in most tests below
        for i, name in enumerate(MODELS)
    ],
)
def test_any_model(name, form, tmp_path):
    result = written(name, form, tmp_path)
    assert result.inputs[0].shape[0] is None and result.outputs[0].shape[0] is None
    assert result.size > 300


@pytest.mark.matrix
@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_any_model_in_any_format(name, form, batch_size, tmp_path):
    assert written(name, form, tmp_path, batch_size=batch_size).outputs[0].shape[0] == batch_size


@pytest.mark.matrix
@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", [info.example for info in NORMS.values() if not info.of_the_model])
def test_every_norm_in_any_format(norm, form, batch_size, tmp_path):
    model = tfnorm.build(norm=norm, seed=0)
    assert export(model, f"{tmp_path}/{form}", batch_size=batch_size).difference < 1e-4


@pytest.mark.matrix
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "ResNet50", "DenseNet121"])
def test_applications(name, form, tmp_path):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    for weight in model.weights:  # as made, these give the same for every image
        if "moving_variance" in weight.path:
            weight.assign(np.full(weight.shape, 0.2, "float32"))
    assert export(model, f"{tmp_path}/{form}").difference < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_names_and_numbers_that_others_see(form, tmp_path):
    """Read without tfnorm: one input and one output, with the names of the layers, and the right numbers."""
    model = tfnorm.build(SMALL, norm="bn", seed=0)
    x = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype("float32")
    result = export(model, f"{tmp_path}/{form}")
    assert str(result.inputs[0]) == "image (batch, 28, 28, 1) float32"
    assert str(result.outputs[0]) == "logits (batch, 10) float32"
    place = tmp_path / form.rstrip("/")
    if form == "net.tflite":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(place))
        assert interpreter.get_signature_list()["serving_default"] == {"inputs": ["image"], "outputs": ["logits"]}
        found = interpreter.get_signature_runner()(image=x)["logits"]
    elif form == "net.onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(place))
        assert [(each.name, each.shape) for each in session.get_inputs()] == [("image", ["batch", 28, 28, 1])]
        assert [(each.name, each.shape) for each in session.get_outputs()] == [("logits", ["batch", 10])]
        found = session.run(["logits"], {"image": x})[0]
    else:
        import tensorflow as tf

        served = tf.saved_model.load(str(place))  # its variables go with it
        found = served.serve(tf.constant(x)).numpy()
    assert exporting.difference(found, exporting.expected(model, x)) < 1e-4


def test_channels_first(tmp_path):
    """TensorFlow does not run such a convolution on a processor, LiteRT and ONNX do."""
    model = channels_first()
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("float32")
    last = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)])
    last.set_weights(model.get_weights())
    right = exporting.expected(last, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    export(model, tmp_path / "net.onnx")
    assert exporting.difference(exporting.run_onnx_file(tmp_path / "net.onnx", x), right) < 1e-4
    export(model, tmp_path / "net.tflite")
    content = (tmp_path / "net.tflite").read_bytes()
    assert exporting.difference(exporting.run_litert(content, x, "ai_edge_litert"), right) < 1e-4


def test_sixteen_bits_are_said(tmp_path):
    result = written("bfloat16", "net.onnx", tmp_path)
    (note,) = result.notes
    says(note, "bfloat16", "float32")
    assert "compute in float32" in str(result)


# Smaller files.


@pytest.fixture(scope="module")
def digits():
    """Return a network that has learned digits, with test images and labels."""
    data = tfnorm.datasets.load("digits", image_size=28)
    model = tfnorm.build(SMALL, norm="gn:2", seed=0)
    model.optimizer.learning_rate = 1e-2
    model.fit(data.x_train, data.y_train, epochs=3, batch_size=32, verbose=0)
    return model, data


def accuracy(logits, labels):
    return float((np.asarray(logits).argmax(1) == labels).mean())


def test_int8_of_a_trained_network(digits, tmp_path):
    model, data = digits
    images, labels = data.x_test[:200].astype("float32"), data.y_test[:200]
    right = accuracy(model.predict(images, verbose=0), labels)
    assert right > 0.9
    sizes = {}
    for quantize in (None, "int8", "float16", "dynamic"):
        result = export(
            model, tmp_path / "net.tflite", quantize=quantize, representative=data.x_train[:100], overwrite=True
        )
        sizes[quantize] = result.size
        says(result.checked, "12 inputs that you gave", "ai_edge_litert")
        for runtime in exporting.INTERPRETERS[: None if quantize == "int8" else 1]:
            found = exporting.run_litert((tmp_path / "net.tflite").read_bytes(), images, runtime)
            assert accuracy(found, labels) > right - 0.03, (quantize, runtime)
    assert max(sizes["int8"], sizes["float16"], sizes["dynamic"]) < sizes[None]


def test_int8_is_fitted_to_all_inputs_that_are_sorted(tmp_path):
    inputs = np.repeat([2.0, 10.0], 300).reshape(-1, 1, 1, 1) * np.ones((1, 8, 8, 3))
    assert export(plain(), tmp_path / "net.tflite", quantize="int8", representative=inputs).difference < 0.1


def test_int8_needs_inputs(tmp_path):
    with pytest.raises(TfnormError, match="int8 needs about 100 inputs.*--representative"):
        export(plain(), tmp_path / "net.tflite", quantize="int8")


def test_quantize_of_keras(digits, tmp_path, monkeypatch):
    """Keras's own quantization changes dense layers; the model runs, is saved and written to ONNX afterwards."""
    trained, data = digits
    images = data.x_test[:100].astype("float32")
    for model in (keras.models.clone_model(trained), tfnorm.convert.accelerate(tfnorm.convert.to_keras(trained))):
        model.set_weights(trained.get_weights())
        right = exporting.expected(model, images)
        model.quantize("int8")
        assert model.get_layer("logits").dtype_policy.name == "int8_from_float32"
        quantized = exporting.expected(model, images)
        assert exporting.difference(quantized, right) < 0.05
        model.save(tmp_path / "net.keras")
        again = exporting.expected(keras.models.load_model(tmp_path / "net.keras"), images)
        np.testing.assert_array_equal(again, quantized)
        # A number may fall on the other side of a whole one.
        assert export(model, tmp_path / "net.onnx", overwrite=True, representative=images).difference < 1e-2
    shares = check.share_of
    monkeypatch.setattr(check, "share_of", lambda found, right: max(shares(found, right), 5e-3))
    assert export(model, tmp_path / "net.onnx", overwrite=True, representative=images).difference >= 5e-3
    with pytest.raises(TfnormError, match="model.quantize.*logits.*quantize='int8'"):
        export(model, tmp_path / "net.tflite")
    assert not (tmp_path / "net.tflite").exists()


def test_models_in_float8_are_not_converted():
    model = plain()
    model.quantize("float8")
    for change in (tfnorm.convert.to_keras, tfnorm.convert.accelerate, tfnorm.convert.fold_batch_norm):
        with pytest.raises(TfnormError, match="float8.*logits.*first"):
            change(model)


# What is refused, and what is said.


def test_other_numbers_are_an_error(tmp_path, monkeypatch):
    runner = onnx_files.runner

    def wrong(served, place):
        run, program = runner(served, place)
        return lambda batch: {name: array + 0.01 for name, array in run(batch).items()}, program

    monkeypatch.setattr(onnx_files, "runner", wrong)
    with pytest.raises(TfnormError, match="Keras.*--no-check"):
        export(plain(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
    result = export(plain(), tmp_path / "net.onnx", check=False)
    assert result.difference is None
    says(result, "Not compared", "Keras")


def test_programs_that_are_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "is_installed", lambda name: name != "onnxruntime")
    result = export(plain(), tmp_path / "net.onnx")
    assert result.difference is None
    says(str(result), "onnxruntime", "python -m pip install onnxruntime")
    monkeypatch.setattr(formats, "is_installed", lambda name: name != "tf2onnx")
    with pytest.raises(TfnormError, match="ONNX.*python -m pip install tf2onnx"):
        export(plain(), tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("backend", "form", "sentence"),
    [
        ("jax", "net.tflite", "LiteRT .*TensorFlow.* JAX.*KERAS_BACKEND=tensorflow"),
        ("jax", "net.onnx", "ONNX .*TensorFlow or PyTorch.* JAX"),
        ("torch", "net.tflite", "LiteRT .*TensorFlow.* PyTorch"),
        ("torch", "net/", "SavedModel .*TensorFlow or JAX.* PyTorch"),
    ],
)
def test_backends_that_cannot(backend, form, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "chosen_backend", lambda: backend)
    with pytest.raises(TfnormError, match=sentence):
        export(plain(), f"{tmp_path}/{form}")


@pytest.mark.parametrize("name", ["net", "net.keras", "net.h5", "net.pb"])
def test_endings(name, tmp_path):
    with pytest.raises(DataError, match=r"\.tflite for LiteRT.*\.onnx for ONNX.* / .*folder"):
        export(plain(), tmp_path / name)


def test_nothing_is_lost_by_writing_over(tmp_path):
    served = f"{tmp_path}/served/"
    export(plain(), served)
    with pytest.raises(DataError, match="exists.*another name.*--force"):
        export(plain(), served)
    export(plain(), served, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(DataError, match="mine.* SavedModel"):
        export(plain(), f"{tmp_path}/mine/", overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"


@pytest.mark.parametrize("name", ["labels.txt", "model.keras"])
def test_files_beside_a_saved_model_are_kept(name, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    (served / "saved_model.pb").touch()
    (served / name).write_text("keep")
    with pytest.raises(DataError, match=f"'{name}'.*SavedModel.*another name"):
        export(plain(), f"{served}/", overwrite=True)
    assert (served / name).read_text() == "keep"


def test_the_folder_that_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "saved_model.pb").touch()
    (tmp_path / "link").symlink_to("real")
    export(plain(), f"{tmp_path}/link/", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "saved_model.pb").stat().st_size


def unsupported(kind):
    image = keras.Input((8, 8, 3))
    if kind == "padded":
        dilated = layers.Conv2D(4, 3, dilation_rate=2, padding="same")
        return keras.Model(image, dilated(layers.ZeroPadding2D(2)(image)))
    if kind == "fft":
        return keras.Model(image, keras.ops.fft((image, image))[0])
    if kind == "recurrent":
        return keras.Model(image, layers.LSTM(4)(layers.Reshape((8, 24))(image)))
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, layers.Embedding(5, 2)(layers.StringLookup(vocabulary=["a", "b"])(text)))


@pytest.mark.parametrize(
    ("kind", "form", "sentence"),
    [
        ("fft", "net.onnx", "ONNX.*Complex, FFT, Real"),
        ("padded", "net.onnx", "Keras.*outputs.*shape.* 6"),
        ("recurrent", "net.tflite", "recurrent.*batch_size=1"),
        ("text", "net.onnx", "ONNX.*tables"),
    ],
)
def test_what_a_format_does_not_have(kind, form, sentence, tmp_path):
    with pytest.raises(TfnormError, match=sentence):
        export(unsupported(kind), tmp_path / form)
    assert list(tmp_path.iterdir()) == []


def test_what_other_formats_do_have(tmp_path):
    """The rows of the table of docs/convert.md that the models above leave out."""
    assert export(unsupported("recurrent"), tmp_path / "net.tflite", batch_size=1).difference < 1e-4
    assert export(unsupported("recurrent"), tmp_path / "net.onnx").difference < 1e-4
    text = np.array([["a"], ["b"], ["c"]])
    assert export(unsupported("text"), tmp_path / "text.tflite", representative=text).difference == 0
    quantized = plain()
    quantized.quantize("int8")
    assert export(quantized, f"{tmp_path}/quantized/").difference < 1e-4


BATCH = np.ones((2, 8, 8, 3))


@pytest.mark.parametrize(
    ("make", "given", "sentence"),
    [
        (plain, np.ones((2, 8, 8, 1)), r"shape \(inputs, 8, 8, 3\).* \(2, 8, 8, 1\)"),
        (plain, [[1, 2], [3]], r"shape \(inputs, 8, 8, 3\).*several shapes"),
        (plain, BATCH[:0], r"shape \(inputs, 8, 8, 3\).* \(0, 8, 8, 3\)"),
        (plain, np.full(BATCH.shape, "a"), "float32.*'image'.*U1"),
        (plain, BATCH * np.nan, "finite.*float32.*float64 from nan to nan"),
        (MODELS["bytes"], BATCH / 2, "uint8.*float64 from 0.5 to 0.5"),
        (MODELS["bytes"], BATCH.astype(int) * 300, "uint8.*int64"),
        (several, {"numbers": np.ones((2, 5))}, "left_image, numbers.* numbers"),
        (several, {}, "left_image, numbers.* none"),
        (lambda: several(names=False), BATCH, "2 inputs.* 1"),
        (lambda: several(names=False), [BATCH, np.ones((3, 5))], "2 for 'left_image', 3 for 'numbers'"),
    ],
)
def test_inputs_must_fit(make, given, sentence, tmp_path):
    with pytest.raises(TfnormError, match=sentence):
        export(make(), tmp_path / "net.tflite", quantize="int8", representative=given)
    assert list(tmp_path.iterdir()) == []


def test_inputs_by_the_names_that_fit_takes(tmp_path):
    """The layers have other names; arrays may go by those too."""
    one, two = keras.Input((2,), name="two"), keras.Input((3,), name="left one")
    model = keras.Model({"one": one, "two": two}, layers.Concatenate(name="both")([one, two]))
    arrays = np.ones((4, 2)), np.ones((4, 3))
    for names in ("one", "two"), ("two", "left one"):
        given = dict(zip(names, arrays, strict=True))
        assert export(model, tmp_path / "net.onnx", representative=given, overwrite=True).difference < 1e-4


@pytest.mark.parametrize("form", SOON)
def test_inputs_in_16_bits(form, tmp_path):
    image = keras.Input((8, 8, 3), dtype="float16")
    with_policy = layers.Conv2D(4, 3, dtype="float16")
    given = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    result = export(keras.Model(image, with_policy(image)), f"{tmp_path}/{form}", representative=given)
    assert result.inputs[0].dtype == ("float16" if form == "net/" else "float32") and result.difference < 1e-3


def test_whole_numbers_may_be_given_as_floats(tmp_path):
    assert export(MODELS["bytes"](), tmp_path / "net.onnx", representative=BATCH).difference < 1e-4


@pytest.mark.parametrize("thing", ["net.keras", None, lambda x: x])
def test_what_is_no_model(thing, tmp_path):
    with pytest.raises(TfnormError, match="Keras model.*(str|NoneType|function)"):
        export(thing, tmp_path / "net.onnx")


@pytest.mark.parametrize("size", [0, -1, "1", 1.0, True])
def test_batch_sizes(size, tmp_path):
    with pytest.raises(TfnormError, match=f"`batch_size`.*at least 1.*{re.escape(repr(size))}"):
        export(plain(), tmp_path / "net.onnx", batch_size=size)


@pytest.mark.parametrize("place", ["./", "../"])
def test_a_folder_needs_a_name(place, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=f"name.*{re.escape(repr(place))}"):
        export(plain(), place)


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(OSError) as caught:
        export(plain(), "/proc/served/")
    assert caught.value.filename == "/proc/served"


@pytest.mark.parametrize("form", SOON)
def test_an_input_that_is_an_output_too(form, tmp_path):
    image = keras.Input((4,), name="image")
    model = keras.Model(image, [image, layers.Dense(2, name="logits")(image)])
    result = export(model, f"{tmp_path}/{form}")
    name = "image_1" if form == "net.onnx" else "image"
    assert [port.name for port in result.outputs] == [name, "logits"]
    assert result.difference < 1e-4


@pytest.mark.parametrize("form", SOON)
def test_names_that_formats_do_not_take(form, tmp_path):
    image = keras.Input((4,), name="größe")
    outputs = {"größe": layers.Dense(2)(image), "1st": layers.Dense(2)(image), "_2": layers.Dense(2)(image)}
    result = export(keras.Model(image, outputs), f"{tmp_path}/{form}")
    assert [port.name for port in result.inputs] == ["gr__e"]
    other = "gr__e_1" if form == "net.onnx" else "gr__e"
    assert sorted(port.name for port in result.outputs) == sorted([other, "x_1st", "x__2"])
    assert result.difference < 1e-4


def test_small_outputs_are_compared_as_large_ones():
    right = np.full((2, 5000), 2e-4)
    for scale in (1, 1e-1, 1e3):
        assert check.share_of(scale * right * 1.01, scale * right) == pytest.approx(0.01)
    assert check.share_of(np.full(3, 3e-7), np.full(3, 1e-7)) < 1e-4


def test_text_is_compared_where_some_is_given(tmp_path):
    result = export(unsupported("text"), f"{tmp_path}/net/", representative=np.array([["a"], ["b"], ["c"]]))
    assert result.difference == 0
    result = export(unsupported("text"), f"{tmp_path}/other/")
    assert "its inputs are text" in result.checked


def test_pixels_that_do_not_fit_are_told(tmp_path):
    with pytest.warns(UserWarning, match="pixels.* 0.* and 1"):
        export(
            tfnorm.build(seed=0), tmp_path / "net.onnx", representative=np.random.default_rng(0).random((8, 28, 28, 1))
        )


def test_outputs_that_are_text(tmp_path):
    image = keras.Input((4,))
    words = layers.StringLookup(vocabulary=["dog", "größe"], invert=True)
    model = keras.Model(image, words(layers.Lambda(lambda x: keras.ops.argmax(x, axis=-1))(layers.Dense(3)(image))))
    assert export(model, f"{tmp_path}/net/").difference == 0
    assert export(model, tmp_path / "net.tflite").difference in (0, None)


def test_text_is_the_same_or_not():
    right = np.array([["größe".encode(), b"dog"]], dtype=object)
    assert check.share_of(np.array([["größe", "dog"]]), right) == 0
    assert check.share_of(np.array([["größe", "cat"]]), right) == np.inf
    assert check.share_of(np.array(["größe", "dog"]), right) == np.inf
