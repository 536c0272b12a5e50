"""Write models with layers of the real tensorflow-addons, and what they answer, for the tests to open.

Run it where requirements-tfa.txt is installed: ``python tests/tfa/write_fixtures.py tests/tfa/fixtures``. Each case
becomes one archive with the model (``model.h5``, ``model.keras``) and its inputs and outputs (``arrays.npz``), some
with the weights alone in both orders (``old.h5``, ``new.weights.h5``) and the description (``model.json``). The tests
read only the names of the cases from here.

Folders in that folder are from older versions: 0.11 from Python 3.8 with tensorflow-cpu 2.3.4, tensorflow-addons 0.11.2
and protobuf 3.20; 0.21 from Python 3.11 with tensorflow-cpu 2.13.1 and tensorflow-addons 0.21.0.
"""

import os
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IMAGE = (4, 5, 6)


@dataclass
class Case:
    """A model.

    Attributes:
        build: Returns, from Keras's layers and those of tensorflow-addons, layers to put in a row or a whole model.
        shape: Of an input, without the batch; or of several, by their place.
        whole_numbers: Inputs are whole numbers below this; 0 for others.
        touch: Whether the model sees a batch before it is saved.
        train: Whether it takes a training step, so that its optimizer has a state.
        weights: Whether its weights are saved alone too.
    """

    build: Any
    shape: Any = IMAGE
    whole_numbers: int = 0
    touch: bool = True
    train: bool = False
    weights: bool = False


def residual(K, A):
    """Return a block with x + y, tf.nn.relu and TensorFlow's other functions."""
    import tensorflow as tf

    inputs = K.Input(IMAGE)
    x = A.GroupNormalization(2)(K.Conv2D(6, 3, padding="same")(inputs))
    y = K.BatchNormalization()(x)
    x = tf.nn.relu(K.Add()([x, y]) + inputs)
    x = 1.0 - x * 0.5 + y / 2.0 - tf.square(y)
    x = tf.concat([x, tf.nn.leaky_relu(y)], axis=-1)[:, 1:, ::2, :8]
    x = tf.reduce_mean(x, axis=[1, 2], keepdims=True) + tf.clip_by_value(x, -1.0, 1.0)
    x = tf.nn.depth_to_space(tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]), 2)
    x = x + tf.constant([1.0, 2.0]) + tf.transpose(tf.transpose(x, [0, 2, 1, 3]), [0, 2, 1, 3])
    return tf.keras.Model(inputs, tf.expand_dims(tf.nn.softmax(tf.reshape(x, [-1, 30, 4])), 1))


def shared(K, A):
    """Return a model with one layer used twice, in an order other than that in which the layers were made."""
    import tensorflow as tf

    one, two = K.Input(IMAGE, name="one"), K.Input(IMAGE, name="two")
    norm, conv = A.GroupNormalization(3, name="norm"), A.WeightNormalization(K.Conv2D(6, 1), name="conv")
    x, y = conv(norm(one)), norm(conv(two))
    return tf.keras.Model([one, two], [K.Subtract()([x, y]), norm(x)])


def named(K, A):
    """Return a model whose inputs and outputs go by names, and whose layers have a slash in theirs."""
    import tensorflow as tf

    one, two = K.Input(IMAGE, name="one"), K.Input(IMAGE, name="two")
    x = A.InstanceNormalization(name="block/norm")(K.Multiply(name="block/product")([one, two]))
    return tf.keras.Model({"one": one, "two": two}, {"x": x, "y": A.TLU(name="block/tlu")(x)})


def nested(K, A):
    """Return models in models, one of them used twice."""
    import tensorflow as tf

    inner = tf.keras.Sequential([K.Conv2D(6, 1), A.GroupNormalization(2), K.BatchNormalization()], name="inner")
    inputs = K.Input(IMAGE)
    x = A.SpectralNormalization(K.Conv2D(6, 3, padding="same"))(inputs)
    x = K.Add()([x, inner(inner(x))])
    middle = tf.keras.Model(inputs, A.WeightNormalization(K.Conv2D(6, 1))(x), name="middle")
    inputs = K.Input(IMAGE)
    return tf.keras.Model(inputs, A.InstanceNormalization()(middle(K.Conv2D(6, 1)(inputs))))


def nested_shared(K, A):
    """Return a model with one layer inside two of its models."""
    import tensorflow as tf

    norm = A.GroupNormalization(2, name="norm")
    inner = []
    for name in ("a", "b"):
        inputs = K.Input(IMAGE)
        inner.append(tf.keras.Model(inputs, norm(K.Conv2D(6, 1)(inputs)), name=name))
    inputs = K.Input(IMAGE)
    return tf.keras.Model(inputs, inner[1](inner[0](inputs)))


def frozen(K, A):
    """Return a model of which parts are frozen."""
    import tensorflow as tf

    inner = tf.keras.Sequential([K.Conv2D(6, 1), K.BatchNormalization(), A.GroupNormalization(2)], name="inner")
    inner.build((None, *IMAGE))
    inner.trainable = False
    wrapped = [
        A.WeightNormalization(K.Conv2D(6, 3)),
        A.WeightNormalization(K.Conv2D(6, 1), data_init=False),
        A.SpectralNormalization(K.Conv2D(6, 1)),
    ]
    for layer in wrapped[::2]:
        layer.trainable = False
    half = tf.keras.Sequential([K.Input((2, 3, 6)), K.Conv2D(6, 1), A.GroupNormalization(2), K.BatchNormalization()])
    half.layers[0].trainable = False
    return [inner, *wrapped, half]


def merging(K, A):
    """Return a model that merges in every way."""
    import tensorflow as tf

    one, two = K.Input(IMAGE), K.Input(IMAGE)
    both = [one, A.GroupNormalization(2)(two)]
    merged = [kind()(both) for kind in (K.Add, K.Subtract, K.Multiply, K.Average, K.Maximum, K.Minimum)]
    flat = [K.Flatten()(x) for x in both]
    outputs = [K.Concatenate(axis=2)([*merged, *both]), K.Dot(axes=1, normalize=True)(flat)]
    return tf.keras.Model([one, two], outputs)


def functions(K, A):
    """Return a model with TensorFlow's functions for images, and others with several outputs."""
    import tensorflow as tf

    inputs = K.Input(IMAGE)
    x = A.GroupNormalization(2)(inputs)
    small, large = tf.image.resize(x, (3, 2)), tf.image.resize(x, [8, 7], method="bicubic")
    one, two = tf.split(large, [2, -1], axis=-1)
    x = tf.concat([tf.nn.max_pool2d(two, 3, 2, "SAME"), tf.nn.avg_pool2d(one, [2, 3], [2, 2], "SAME")], -1)
    x = tf.where(x > 0.5, x, tf.zeros_like(x)) + tf.reverse(tf.roll(x, 1, axis=2), [1]) + tf.stop_gradient(x)
    rows = tf.unstack(tf.nn.l2_normalize(small, -1), axis=1)
    return tf.keras.Model(
        inputs, [x, tf.tile(rows[0] + rows[2], [1, 2, 1]), tf.matmul(rows[1], rows[0], transpose_b=True)]
    )


def hard_sigmoids(K, A):
    """Return the layers whose gates Keras 2 computes otherwise."""
    return [
        K.ConvLSTM2D(3, 3, padding="same", return_sequences=True),
        K.TimeDistributed(A.GroupNormalization(3)),
        K.TimeDistributed(K.GlobalAveragePooling2D()),
        K.Bidirectional(K.GRU(3, recurrent_activation="hard_sigmoid", return_sequences=True)),
        K.LSTM(3, recurrent_activation="hard_sigmoid"),
        K.Dense(4, activation="hard_sigmoid"),
    ]


def attention(K, A):
    """Return a model with all kinds of attention."""
    import tensorflow as tf

    inputs = K.Input((5, 6))
    x = A.GroupNormalization(2)(inputs)
    x = K.MultiHeadAttention(2, 3)(x, inputs, attention_mask=None)
    x = K.AdditiveAttention()([x, inputs]) + K.Attention(use_scale=True)([inputs, x])
    return tf.keras.Model(inputs, K.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")(x))


def recurrent(K, A):
    """Return recurrent layers."""
    return [
        A.GroupNormalization(2),
        K.Bidirectional(K.LSTM(3, return_sequences=True)),
        A.WeightNormalization(K.GRU(4, return_sequences=True), data_init=False),
        K.Bidirectional(
            K.SimpleRNN(2, return_sequences=True),
            backward_layer=K.GRU(2, return_sequences=True, go_backwards=True, reset_after=False),
            merge_mode="sum",
        ),
        K.TimeDistributed(A.WeightNormalization(K.Dense(4))),
        A.WeightNormalization(K.LSTM(3), data_init=False),
    ]


CASES = {
    "group_norm-groups_1": Case(lambda K, A: [A.GroupNormalization(1)]),
    "group_norm-groups_2": Case(lambda K, A: [A.GroupNormalization(2)], weights=True),
    "group_norm-groups_6": Case(lambda K, A: [A.GroupNormalization(6)]),
    "group_norm-groups_-1": Case(lambda K, A: [A.GroupNormalization(-1)]),
    "group_norm-axis_1": Case(lambda K, A: [A.GroupNormalization(2, axis=1)], (6, 4, 5)),
    "group_norm-axis_1_groups_6": Case(lambda K, A: [A.GroupNormalization(6, axis=1)], (6, 4, 5)),
    "group_norm-axis_-2": Case(lambda K, A: [A.GroupNormalization(2, axis=-2)], (4, 6, 5)),
    "group_norm-no_center": Case(lambda K, A: [A.GroupNormalization(2, center=False)]),
    "group_norm-no_scale": Case(lambda K, A: [A.GroupNormalization(2, scale=False)]),
    "group_norm-no_weights": Case(lambda K, A: [A.GroupNormalization(2, center=False, scale=False)]),
    "group_norm-epsilon": Case(lambda K, A: [A.GroupNormalization(3, epsilon=0.5)]),
    "group_norm-vector": Case(lambda K, A: [K.Dense(6), A.GroupNormalization(2)], (4,)),
    "group_norm-volume": Case(lambda K, A: [A.GroupNormalization(2)], (2, 3, 2, 4)),
    "group_norm-any_size": Case(lambda K, A: [K.Conv2D(6, 3), A.GroupNormalization(2)], (None, None, 3)),
    "group_norm-penalties": Case(
        lambda K, A: [
            A.GroupNormalization(2, gamma_regularizer="l2", beta_constraint="non_neg", gamma_initializer="zeros")
        ]
    ),
    "instance_norm-default": Case(lambda K, A: [A.InstanceNormalization()], weights=True),
    "instance_norm-axis_1": Case(lambda K, A: [A.InstanceNormalization(axis=1)], (6, 4, 5)),
    "instance_norm-no_weights": Case(lambda K, A: [A.InstanceNormalization(center=False, scale=False)]),
    "instance_norm-epsilon": Case(lambda K, A: [A.InstanceNormalization(epsilon=0.5)]),
    "filter_response_norm-default": Case(lambda K, A: [A.FilterResponseNormalization()]),
    "filter_response_norm-learned_epsilon": Case(
        lambda K, A: [A.FilterResponseNormalization(learned_epsilon=True)], weights=True
    ),
    "filter_response_norm-epsilon": Case(lambda K, A: [A.FilterResponseNormalization(epsilon=-0.5)]),
    "filter_response_norm-epsilon_0": Case(lambda K, A: [A.FilterResponseNormalization(epsilon=0.0)]),
    "filter_response_norm-constraint": Case(
        lambda K, A: [A.FilterResponseNormalization(learned_epsilon=True, learned_epsilon_constraint="non_neg")]
    ),
    "tlu-default": Case(lambda K, A: [A.TLU()]),
    "tlu-affine": Case(lambda K, A: [A.TLU(affine=True)], weights=True),
    "tlu-vector": Case(lambda K, A: [K.Dense(6), A.TLU(affine=True, tau_regularizer="l1")], (4,)),
    "tlu-after_filter_response_norm": Case(lambda K, A: [A.FilterResponseNormalization(), A.TLU()]),
    "weight_norm-data_init": Case(
        lambda K, A: [A.WeightNormalization(K.Conv2D(3, 3, activation="relu"))], weights=True
    ),
    "weight_norm-no_data_init": Case(lambda K, A: [A.WeightNormalization(K.Conv2D(3, 3), data_init=False)]),
    "weight_norm-no_bias": Case(lambda K, A: [A.WeightNormalization(K.Conv2D(3, 3, use_bias=False))]),
    "weight_norm-dense": Case(lambda K, A: [A.WeightNormalization(K.Dense(3), data_init=False)], (4,)),
    "weight_norm-transposed": Case(lambda K, A: [A.WeightNormalization(K.Conv2DTranspose(3, 3), data_init=False)]),
    "weight_norm-conv1d": Case(lambda K, A: [A.WeightNormalization(K.Conv1D(3, 3))], (6, 4)),
    "weight_norm-no_data_init_untouched": Case(
        lambda K, A: [A.WeightNormalization(K.Conv2D(3, 3), data_init=False)], touch=False
    ),
    "spectral_norm-default": Case(
        lambda K, A: [A.SpectralNormalization(K.Conv2D(3, 3, activation="relu"))], weights=True
    ),
    "spectral_norm-power_iterations_3": Case(
        lambda K, A: [A.SpectralNormalization(K.Conv2D(3, 3), power_iterations=3)]
    ),
    "spectral_norm-dense": Case(lambda K, A: [A.SpectralNormalization(K.Dense(3, use_bias=False))], (4,)),
    "spectral_norm-transposed": Case(lambda K, A: [A.SpectralNormalization(K.Conv2DTranspose(3, 3))]),
    "spectral_norm-embedding": Case(lambda K, A: [A.SpectralNormalization(K.Embedding(5, 3))], (4,), whole_numbers=5),
    "spectral_norm-of_keras": Case(lambda K, A: [K.SpectralNormalization(K.Conv2D(3, 3)), A.InstanceNormalization()]),
    "model-attention": Case(attention, (5, 6)),
    "model-frozen": Case(frozen, weights=True),
    "model-merging": Case(merging, [IMAGE, IMAGE]),
    "model-named": Case(named, {"one": IMAGE, "two": IMAGE}),
    "model-nested": Case(nested, weights=True),
    "model-nested_shared": Case(nested_shared),
    "model-recurrent": Case(recurrent, (5, 4), weights=True),
    "model-residual": Case(residual),
    "model-shared": Case(shared, [IMAGE, IMAGE], weights=True),
    "model-trained": Case(lambda K, A: [K.Conv2D(3, 3), A.GroupNormalization(3), K.Flatten(), K.Dense(1)], train=True),
    "keras-activations": Case(
        lambda K, A: [
            A.GroupNormalization(2),
            *[
                K.Activation(name)
                for name in (
                    "elu",
                    "exponential",
                    "gelu",
                    "relu",
                    "selu",
                    "sigmoid",
                    "softplus",
                    "softsign",
                    "swish",
                    "tanh",
                )
            ],
            *[
                K.Activation(activation(name))
                for name in ("hardshrink", "mish", "softshrink", "tanhshrink", "sparsemax")
            ],
            K.LeakyReLU(0.1),
            K.ELU(0.5),
            K.PReLU(shared_axes=[1, 2]),
            K.ReLU(4.0, 0.1, 0.2),
            K.Softmax(axis=1),
            K.Dense(3, activation="leaky_relu"),
        ]
    ),
    "keras-convolutions": Case(
        lambda K, A: [
            K.ZeroPadding2D(3),
            K.Conv2D(4, (3, 2), padding="same", activation="relu", dilation_rate=2),
            A.GroupNormalization(2),
            K.Conv2D(4, 3, groups=2, use_bias=False, kernel_regularizer="l2", kernel_constraint="max_norm"),
            K.DepthwiseConv2D(3, depth_multiplier=2, padding="same", bias_initializer="ones"),
            K.SeparableConv2D(4, 3, strides=2, padding="same", depthwise_initializer="he_normal"),
            K.Conv2DTranspose(3, 3, strides=2, padding="same"),
            K.Cropping2D(1),
        ]
    ),
    "keras-convolutions_1d": Case(
        lambda K, A: [
            A.GroupNormalization(2),
            K.Conv1D(4, 3, padding="causal"),
            K.SeparableConv1D(4, 3),
            K.DepthwiseConv1D(3),
            K.Conv1DTranspose(3, 3, strides=2),
            K.Cropping1D(1),
            K.ZeroPadding1D(2),
        ],
        (9, 4),
    ),
    "keras-convolutions_3d": Case(
        lambda K, A: [
            A.GroupNormalization(2),
            K.ZeroPadding3D(1),
            K.Conv3D(4, 2, padding="same"),
            K.Conv3DTranspose(2, 2),
            K.Cropping3D(1),
        ],
        (2, 3, 2, 4),
    ),
    "keras-pooling": Case(
        lambda K, A: [
            A.GroupNormalization(2),
            K.UpSampling2D(2, interpolation="bilinear"),
            K.UpSampling2D((1, 2)),
            K.MaxPooling2D(3, strides=1, padding="same"),
            K.AveragePooling2D(2, padding="same"),
            K.GlobalAveragePooling2D(keepdims=True),
            K.GlobalMaxPooling2D(),
            K.RepeatVector(6),
            K.AveragePooling1D(2, strides=1),
            K.MaxPooling1D(2, strides=1),
            K.UpSampling1D(2),
            K.Reshape((2, 2, 2, 6)),
            K.UpSampling3D(2),
            K.AveragePooling3D(2),
            K.Permute((2, 1, 3, 4)),
            K.GlobalMaxPooling3D(),
        ]
    ),
    "keras-norms": Case(
        lambda K, A: [
            K.Rescaling(0.5, 1.0),
            K.Normalization(mean=[0.5] * 6, variance=[2.0] * 6),
            K.BatchNormalization(momentum=0.9, epsilon=0.1),
            K.BatchNormalization(axis=1, center=False, scale=False),
            K.LayerNormalization(axis=[1, 2], epsilon=0.1),
            K.LayerNormalization(),
            K.GroupNormalization(3),
            K.UnitNormalization(),
            K.Dropout(0.5),
            K.SpatialDropout2D(0.5),
            K.GaussianNoise(0.5),
            K.GaussianDropout(0.5),
            K.AlphaDropout(0.5),
            K.ActivityRegularization(0.1),
            A.InstanceNormalization(),
        ]
    ),
    "keras-adapted": Case(lambda K, A: [normalization(K), A.GroupNormalization(3)]),
    "keras-functions": Case(functions),
    "keras-hard_sigmoid": Case(lambda K, A: hard_sigmoids(K, A), (3, 4, 5, 2)),
    "keras-norm_axes": Case(
        lambda K, A: [
            K.LayerNormalization(axis=[3, 1]),
            K.LayerNormalization(axis=[-1, -2, 1]),
            K.ThresholdedReLU(0.1),
            A.InstanceNormalization(),
        ]
    ),
    "keras-recurrent_images": Case(
        lambda K, A: [K.ConvLSTM2D(3, 3, recurrent_activation="sigmoid"), A.GroupNormalization(3)], (2, 4, 5, 2)
    ),
    "keras-resizing": Case(
        lambda K, A: [
            A.InstanceNormalization(),
            K.Resizing(8, 7),
            K.Resizing(6, 6, interpolation="nearest", crop_to_aspect_ratio=True),
            K.CenterCrop(5, 4),
            K.RandomFlip(),
            K.RandomRotation(0.1),
            K.RandomZoom(0.1),
            K.RandomTranslation(0.1, 0.1),
            K.RandomContrast(0.1),
        ]
    ),
    "keras-words": Case(
        lambda K, A: [
            K.Embedding(5, 4, mask_zero=True, input_length=3),
            K.Masking(0.5),
            K.LSTM(3, return_sequences=True, unroll=True),
            K.GlobalAveragePooling1D(),
            A.GroupNormalization(3),
        ],
        (3,),
        whole_numbers=5,
    ),
}


def activation(name):
    """Return an activation of tensorflow-addons."""
    import tensorflow_addons

    return getattr(tensorflow_addons.activations, name)


def normalization(K):
    """Return a normalization that took its mean and variance from data."""
    layer = K.Normalization()
    layer.adapt(np.random.default_rng(1).normal(3, 2, (9, *IMAGE)).astype("float32"))
    return layer


def draw(shape, rng, whole_numbers=0):
    """Return a batch of two inputs."""
    if isinstance(shape, dict):
        return {name: draw(one, rng) for name, one in shape.items()}
    if isinstance(shape, list):
        return [draw(one, rng) for one in shape]
    shape = (2, *(size or 5 for size in shape))
    return (
        rng.integers(0, whole_numbers, shape)
        if whole_numbers
        else np.round(rng.normal(0.3, 2, shape) * 16).astype("float32") / 16
    )


def randomize(model, rng):
    """Give the weights values that show when two are exchanged; statistics of batches stay positive."""
    for weight in model.weights:
        if weight.dtype.is_floating:
            low = 0.5 if "variance" in weight.name else -1.5
            weight.assign(np.round(rng.uniform(low, 1.5, weight.shape) * 32) / 32)  # few bits, small files


def make(case):
    """Return the model of a case, and its inputs."""
    import tensorflow as tf
    import tensorflow_addons

    tf.keras.backend.clear_session()
    tf.random.set_seed(0)
    rng = np.random.default_rng(0)
    model = case.build(tf.keras.layers, tensorflow_addons.layers)
    if isinstance(model, list):
        dtype = "int32" if case.whole_numbers else "float32"
        model = tf.keras.Sequential([tf.keras.Input(case.shape, dtype=dtype), *model])
    inputs = draw(case.shape, rng, case.whole_numbers)
    adapted = [(layer, layer.get_weights()) for layer in model.layers if type(layer).__name__ == "Normalization"]
    randomize(model, rng)
    for layer, weights in adapted:
        layer.set_weights(weights)
    if case.touch:
        model(inputs, training=True)  # a weight normalization starts here, a spectral one divides by its norm
    if case.train:
        model.compile("adam", "mse")
        model.fit(inputs, np.ones(2), verbose=0)
    return model, inputs


def write(name, folder):
    """Write the archive of a case."""
    import tensorflow as tf

    version = tuple(map(int, tf.__version__.split(".")[:2]))
    model, inputs = make(CASES[name])
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model.save(str(scratch / "model.h5"))
        if version >= (2, 13):  # before, a .keras file was an .h5 file
            model.save(str(scratch / "model.keras"))
        if CASES[name].weights:
            model.save_weights(str(scratch / "old.h5"))
            if version >= (2, 12):
                model.save_weights(str(scratch / "new.weights.h5"))
            (scratch / "model.json").write_text(model.to_json())
        outputs = model(inputs, training=False)
        np.savez(scratch / "arrays.npz", **numbered("x", inputs), **numbered("y", outputs))
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for path in sorted(scratch.iterdir()):
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def numbered(letter, values):
    """Return one array or several as a dictionary; their names in it are those they have, or numbers."""
    if not isinstance(values, (dict, list)):
        values = [values]
    items = values.items() if isinstance(values, dict) else enumerate(values)
    return {f"{letter}_{key}": np.asarray(value) for key, value in items}


def main(folder, names=()):
    """Write all cases, or those named."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        write(name, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
