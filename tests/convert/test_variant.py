"""Networks of every kind under every spec: the same other weights, and what changed."""

import json
import random
import warnings

import keras
import numpy as np
import own_networks
import pytest
from facts import one_says, says
from keras import layers
from tiny import all_layers, array, functional

from tfnorm import layers as ours
from tfnorm.convert import make_variant
from tfnorm.convert.variants.variant import UNTRAINED, has_untrained_statistics, norm_places
from tfnorm.errors import ArchitectureError, TfnormError
from tfnorm.regularizers import penalty

SPECS = ["keep", "bn:frozen", "gn:4", "ln", "none", "gn:4+l2=1e-4"]
CONVERTED = ("bn", "bn:frozen=all", "frn", "in", "rms", "gn:size=4", "gn:4+ws")


@pytest.fixture(autouse=True)
def _without_the_warning_of_fresh_statistics():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*moving statistics that no training has set")
        yield


def other_weights(model):
    """Return the bits of all weights but those of norms and what comes with them, by the name of the layer."""
    found = {}
    for layer in all_layers(model):
        if not list(layer._layers) and not isinstance(layer, ours.TLU) and "Normalization" not in type(layer).__name__:
            for weight in layer.weights:
                found[f"{layer.name}/{weight.name}"] = weight.numpy().tobytes()
    return found


@pytest.mark.parametrize("name", own_networks.NETWORKS)
def test_all_specs_of_a_seed_start_from_the_same_bits(name):
    seen = {spec: other_weights(make_variant(own_networks.NETWORKS[name], spec, seed=3).model) for spec in SPECS}
    assert len(seen["keep"]) >= 4
    assert all(weights == seen["keep"] for weights in seen.values())
    assert other_weights(make_variant(own_networks.NETWORKS[name], "keep", seed=4).model) != seen["keep"]


@pytest.mark.matrix
@pytest.mark.parametrize("spec", CONVERTED)
@pytest.mark.parametrize("name", own_networks.NETWORKS)
def test_other_specs_too(name, spec):
    if "+ws" in spec and name in ("residual", "custom_layer"):  # whose convolutions others read too
        with pytest.raises(ArchitectureError) as caught:
            make_variant(own_networks.NETWORKS[name], spec, seed=3)
        says(caught, "'gn:4+ws'", "convolution", name)
        return
    variant = make_variant(own_networks.NETWORKS[name], spec, seed=3)
    assert other_weights(variant.model) == other_weights(
        make_variant(own_networks.NETWORKS[name], "keep", seed=3).model
    )
    assert np.all(np.isfinite(array(variant.model(np.ones((2, *own_networks.SHAPE), "float32")))))


@pytest.mark.parametrize("name", own_networks.NETWORKS)
def test_each_change_is_listed(name):
    variant = make_variant(own_networks.NETWORKS[name], "gn:4", seed=0)
    norms = [layer for layer in all_layers(variant.model) if isinstance(layer, ours.GroupNormalization)]
    assert norms and len(variant.changes) == len(norms) and not variant.kept
    assert all("GroupNormalization" in change.after and change.groups == 4 for change in variant.changes)
    assert json.loads(json.dumps(variant.record()))["changes"][0]["groups"] == 4
    kept = make_variant(own_networks.NETWORKS[name], "keep", seed=0)
    assert kept.changes == () and str(kept) == "no layer changes"


@pytest.mark.parametrize("name", own_networks.NETWORKS)
def test_none_has_no_norm(name):
    model = make_variant(own_networks.NETWORKS[name], "none", seed=0).model
    assert not [layer for layer in all_layers(model) if "Normalization" in type(layer).__name__]


def test_groups_that_do_not_divide_are_fitted_for_a_factory_as_elsewhere():
    for make in (own_networks.plain, own_networks.with_norm):
        variant = make_variant(make, "gn:8", seed=0)  # of 8 and 12 channels
        assert [change.groups for change in variant.changes] == [8, 6]
        says(variant.changes[1], "8 groups", "12 channels")


def test_a_factory_that_draws_random_numbers_shifts_no_weight():
    def noisy(name):
        random.random(), np.random.rand()
        return layers.BatchNormalization(name=name, beta_initializer="random_normal")

    def make(norm=noisy):
        return own_networks.with_norm(norm)

    assert other_weights(make_variant(make, "keep", seed=1).model) == other_weights(
        make_variant(make, "gn:4", seed=1).model
    )


def test_norms_with_layers_of_their_own_shift_no_weight():
    class Gate(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, inputs):
            return inputs * self.dense(inputs)

    class Twice(layers.Layer):
        def __init__(self, norm):
            super().__init__()
            self.first, self.norm, self.last = layers.Dense(4), norm(), layers.Dense(4)

        def call(self, inputs):
            return self.last(self.norm(self.first(inputs)))

    def net(norm=Gate):
        inputs = keras.Input((6, 6, 4))
        x = Twice(norm)(norm()(layers.Dense(4)(inputs)))
        return keras.Model(inputs, layers.Dense(4)(x))

    def kernels(spec):
        model = make_variant(net, spec, seed=0).model
        first, _, twice, last = model.layers[1:]
        return [layer.kernel.numpy().tobytes() for layer in (first, twice.first, twice.last, last)]

    assert kernels("keep") == kernels("gn:2") == kernels("none") and len(set(kernels("keep"))) == 4


def test_a_function_that_makes_other_layers_with_another_norm_is_refused():
    def net(norm=layers.BatchNormalization):
        bias = norm is layers.BatchNormalization
        inputs = keras.Input((6, 6, 4))
        return keras.Model(inputs, layers.Dense(2)(norm()(layers.Dense(4 + bias)(inputs))))

    with pytest.raises(ArchitectureError) as caught:
        make_variant(net, "keep", seed=0)
    says(caught, "kernel of (4, 4)", "kernel of (4, 5)", "`norm`")


def test_a_factory_reaches_norms_inside_layers_of_ones_own():
    class Block(layers.Layer):
        def __init__(self, norm):
            super().__init__()
            self.convolution, self.norm = layers.Conv2D(8, 3), norm()

        def build(self, shape):
            self.convolution.build(shape)
            self.norm.build(self.convolution.compute_output_shape(shape))

        def call(self, inputs):
            return self.norm(self.convolution(inputs))

    def make(norm=layers.BatchNormalization):
        return functional(
            own_networks.SHAPE, lambda x: layers.Dense(2)(layers.GlobalAveragePooling2D()(Block(norm)(x)))
        )

    models = {spec: make_variant(make, spec, seed=2).model for spec in ("keep", "in", "none")}
    assert isinstance(models["in"].layers[1].norm, ours.InstanceNormalization)
    assert len({models[spec].layers[1].convolution.kernel.numpy().tobytes() for spec in models}) == 1


def test_units_and_standardized_convolutions_come_with_a_factory_too():
    variant = make_variant(own_networks.with_norm, "frn+ws", seed=0)
    kinds = [type(layer) for layer in variant.model.layers]
    assert kinds.count(ours.TLU) == kinds.count(ours.WeightStandardizedConv2D) == 2
    assert [change.after for change in variant.changes].count("TLU") == 2


def trained_statistics(seed=0):
    """Return a network whose batch norms have statistics, gammas and betas of their own."""
    model, rng = own_networks.plain(), np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


@pytest.fixture
def saved(tmp_path):
    keras.utils.set_random_seed(0)
    model = trained_statistics()
    model.save(tmp_path / "net.keras")
    return model, tmp_path / "net.keras"


@pytest.mark.parametrize("spec", ["bn:frozen", "bn:frozen=all"])
def test_frozen_norms_train_with_the_statistics_that_they_were_given(spec, saved, seeded):
    old, path = saved
    variant = make_variant(path, spec, seed=0)
    assert UNTRAINED not in variant.notes and not has_untrained_statistics(variant.model)
    norms = [layer for layer in variant.model.layers if isinstance(layer, ours.BatchNormalization)]
    before = [[weight.numpy().tobytes() for weight in norm.weights] for norm in norms]
    x = seeded.normal(3, 2, (8, *own_networks.SHAPE)).astype("float32")
    olds = keras.Model(old.input, old.layers[-2].output)
    news = keras.Model(variant.model.input, variant.model.layers[-2].output)
    np.testing.assert_allclose(news(x), olds(x), rtol=1e-4, atol=1e-5)
    first = keras.Model(variant.model.input, norms[0].output)
    np.testing.assert_array_equal(first(x, training=True), first(x, training=False))
    variant.model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    variant.model.fit(x, np.arange(8) % 4, batch_size=4, epochs=2, verbose=0)
    for norm, weights in zip(norms, before, strict=True):
        assert [weight.name for weight in norm.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
        same = [weight.numpy().tobytes() == bits for weight, bits in zip(norm.weights, weights, strict=True)]
        trained = spec == "bn:frozen"
        says([str(change) for change in variant.changes][0], "frozen statistics" + ", gamma and beta" * (not trained))
        assert same == [not trained, not trained, True, True]


def test_frozen_norms_survive_a_file_and_other_conversions(saved, tmp_path, seeded):
    from tfnorm.convert import accelerate, replace_norms, to_keras

    model = make_variant(saved[1], "bn:frozen", seed=0).model
    model.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = accelerate(model)
    x = seeded.normal(size=(2, *own_networks.SHAPE)).astype("float32")
    for copy in (loaded, fast):
        norms = [layer for layer in copy.layers if isinstance(layer, layers.BatchNormalization)]
        assert len(norms) == 2 and all(norm.frozen for norm in norms)
        np.testing.assert_allclose(copy(x), model(x), rtol=1e-5, atol=1e-6)
    with pytest.warns(UserWarning) as caught:
        stock = to_keras(model)
    one_says([str(each.message) for each in caught], *(f"{norm.name}.frozen" for norm in norms))
    np.testing.assert_allclose(stock(x), model(x), rtol=1e-4, atol=1e-5)
    assert not any(getattr(layer, "frozen", False) for layer in all_layers(replace_norms(model, "bn")))


def test_frozen_norms_are_left_alone_by_recalibration(saved):
    from tfnorm.convert.recalibrate import batch_norms

    assert batch_norms(make_variant(saved[1], "bn:frozen", seed=0).model) == []
    assert len(batch_norms(make_variant(saved[1], "bn", seed=0).model)) == 2


def test_statistics_that_nothing_has_set_are_told():
    with pytest.warns(UserWarning) as caught:
        variant = make_variant(own_networks.plain, "bn:frozen", seed=0)
    one_says([str(each.message) for each in caught], "'bn:frozen'", "0 and 1", ".keras file")
    assert variant.notes[0] == UNTRAINED
    assert UNTRAINED not in make_variant(own_networks.plain, "bn", seed=0).notes
    assert UNTRAINED in make_variant(own_networks.sequential, "bn:frozen", seed=0).notes
    for network in (own_networks.sequential, own_networks.with_norm):
        for change in make_variant(network, "bn:frozen", seed=0).changes:
            says(str(change), "frozen statistics", "moving statistics are 0 and 1")


def test_norms_inherit_what_the_old_ones_had(tmp_path):
    inputs = keras.Input(own_networks.SHAPE)
    norm = layers.BatchNormalization(epsilon=0.02, gamma_regularizer="l2", name="norm")
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(norm(layers.Conv2D(8, 1)(inputs)))))
    norm.gamma.assign(np.arange(8)), norm.beta.assign(-np.arange(8))
    norm.trainable = False
    model.save(tmp_path / "net.keras")
    new = make_variant(tmp_path / "net.keras", "gn:2", seed=0).model.get_layer("norm")
    assert new.epsilon == 0.02 and not new.trainable and isinstance(new.gamma_regularizer, keras.regularizers.L2)
    np.testing.assert_array_equal(new.gamma, np.arange(8))
    np.testing.assert_array_equal(new.beta, -np.arange(8))


@pytest.mark.parametrize(("name", "spec", "regularize"), [
    ("plain", "keep+l2=0.5", "all"), ("plain", "gn:4+l1=0.5+l2=0.25", "kernels"),
    ("with_norm", "gn:4+l1=0.5+l2=0.25", "all"), ("sequential", "keep+l2=0.5", "kernels"),
    ("nested", "gn:4+l1=0.5+l2=0.25", "all"), ("nested", "keep+l2=0.5", "kernels"),
    ("OwnClass", "gn:4+l1=0.5+l2=0.25", "kernels"), ("OwnClass", "keep+l2=0.5", "all"),
])  # fmt: skip
def test_penalties_reach_what_they_should_and_survive_a_file(name, spec, regularize, tmp_path):
    model = make_variant(own_networks.NETWORKS[name], spec, seed=1, regularize=regularize).model
    l1, l2 = (0, 0.5) if spec.startswith("keep") else (0.5, 0.25)
    chosen = [w.numpy() for w in model.trainable_weights if regularize == "all" or "kernel" in w.name]
    assert len(chosen) >= 2
    expected = sum(l1 * np.abs(w).sum(dtype="float64") + l2 * np.square(w).sum(dtype="float64") for w in chosen)
    np.testing.assert_allclose(penalty(model), expected, rtol=1e-5)
    model.save(tmp_path / "net.keras")
    np.testing.assert_allclose(penalty(keras.models.load_model(tmp_path / "net.keras")), expected, rtol=1e-5)


def test_penalties_stand_beside_those_of_the_model(tmp_path):
    def make():
        return functional((4, 4, 3), lambda x: layers.Dense(2, kernel_regularizer="l2")(layers.Flatten()(x)))

    model = make_variant(make, "keep+l1=0.5", seed=0).model
    kernel = model.layers[-1].kernel.numpy().astype("float64")
    expected = 0.01 * np.square(kernel).sum() + 0.5 * np.abs(kernel).sum()  # "l2" has 0.01
    np.testing.assert_allclose(penalty(model), expected, rtol=1e-5)


def test_penalties_that_a_layer_of_ones_own_cannot_write_down_are_told():
    variant = make_variant(own_networks.custom_layer, "gn:4+l2=0.5", seed=0)
    one_says(variant.notes, "scale/scale", "saved file")
    values = [w.numpy().astype("float64") for w in variant.model.trainable_weights]
    np.testing.assert_allclose(penalty(variant.model), 0.5 * sum(np.square(v).sum() for v in values), rtol=1e-5)


class Times(layers.Layer):
    """A layer whose configuration has its factor only if it is asked to."""

    def __init__(self, factor=1.0, told=False, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.told, self.inner = factor, told, layers.Dropout(factor / 10)
        self.nothing, self.several, self.drawn = float("nan"), [1, None], np.ones(2)

    def call(self, inputs):
        return self.inner(inputs * self.factor)

    def get_config(self):
        return {**super().get_config(), **({"factor": self.factor, "told": True} if self.told else {})}


@pytest.mark.parametrize(
    ("key", "change"),
    [("factor", lambda layer: None), ("drawn", lambda layer: vars(layer).update(drawn=np.zeros(2), factor=1.0))],
)
def test_a_layer_whose_copy_would_be_another_is_refused(key, change):
    def net(told):
        layer = Times(2.0, told)
        change(layer)
        return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layer, layers.BatchNormalization()])

    with pytest.raises(TfnormError) as caught:
        make_variant(lambda: net(told=False), "gn:2", seed=0)
    says(caught, "Times", f"`{key}`", "get_config")
    assert make_variant(lambda: net(told=False), "keep", seed=0).model.layers[1].told is False
    if key == "factor":
        assert make_variant(lambda: net(told=True), "gn:2", seed=0).model.layers[1].inner.rate == 0.2


def test_layers_inside_others_get_penalties():
    def make():
        def attended(x):
            x = layers.Reshape((64, 3))(x)
            x = layers.MultiHeadAttention(2, 4)(x, x)
            return layers.Dense(2)(layers.Bidirectional(layers.LSTM(3))(x))

        return functional(own_networks.SHAPE, attended)

    variant = make_variant(make, "keep+l2=0.5", seed=0)
    values = [w.numpy().astype("float64") for w in variant.model.trainable_weights]
    np.testing.assert_allclose(penalty(variant.model), 0.5 * sum(np.square(v).sum() for v in values), rtol=1e-5)
    assert not [note for note in variant.notes if "file" in note]


def test_a_class_without_methods_of_its_own_becomes_a_plain_model_and_says_so():
    variant = make_variant(own_networks.OwnClass, "gn:4", seed=0)
    one_says(variant.notes, "OwnClass")
    assert type(make_variant(own_networks.OwnClass, "keep", seed=0).model) is own_networks.OwnClass


class WithStep(own_networks.OwnClass):
    """A class whose way of training a changed copy would lose."""

    def train_step(self, data):
        return super().train_step(data)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def silent(norm):
    return own_networks.plain()


def uneven(calls=iter(range(99)), norm=None):  # noqa: B008 - the state is the point
    names = [f"norm{i}" for i in range(1 + next(calls) % 2)]
    return functional(
        own_networks.SHAPE, lambda x: layers.Dense(2)(layers.Flatten()([x := norm(n)(x) for n in names][-1]))
    )


class OwnNorm(layers.BatchNormalization):
    pass


class Block(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.norms = [layers.BatchNormalization(), layers.BatchNormalization()]

    def call(self, inputs):
        return self.norms[1](self.norms[0](inputs))


def blocks_beside_a_norm():
    inputs = keras.Input(own_networks.SHAPE)
    x = Block(name="block")(layers.BatchNormalization()(layers.Conv2D(8, 3)(inputs)))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def test_a_spec_that_cannot_change_all_norms_says_so():
    with pytest.warns(UserWarning) as caught:
        variant = make_variant(blocks_beside_a_norm, "gn:4", seed=0)
    one_says(map(str, (each.message for each in caught)), "'gn:4'", "2 of 3 norms stay", "'block'", "1 more", "`norm`")
    assert variant.notes[0].startswith("2 of 3 norms stay") and len(variant.changes) == 1
    assert not make_variant(blocks_beside_a_norm, "keep", seed=0).notes


def norm_of_its_own():
    return functional(
        own_networks.SHAPE, lambda x: layers.Dense(2)(layers.Flatten()(OwnNorm()(layers.Conv2D(2, 3)(x))))
    )


REFUSED = [
    (Subclassed, "gn:4", {}, ("Subclassed", "keras.Input")),
    (lambda: keras.Sequential([layers.Dense(2)]), "gn:4", {}, ("keras.Input",)),
    (WithStep, "gn:4", {}, ("WithStep", "train_step", "`norm`")),
    (silent, "gn:4", {}, ("silent", "`norm`", "norm(name=...)")),
    (uneven, "gn:1", {}, ("uneven", "1 times", "2 times")),
    (lambda norm: own_networks.with_norm(norm), "keep", {}, ("'keep'", "`norm`", "default")),
    (norm_of_its_own, "gn:2", {}, ("a class of its own", "OwnNorm", "`norm`")),
    (lambda: functional((4,), layers.Dense(2)), "gn:2", {}, ("no convolution", "`norm`")),
    (own_networks.sequential, "none+ws", {}, ("'none+ws'", "sequential", "'none'")),
    (lambda: functional((4, 4, 3), lambda x: layers.BatchNormalization()(x)), "gn:1+ws", {}, ("+ws", "convolution")),
    (own_networks.plain, "gm:4", {}, ("'gm'", "'gn'")),
    (own_networks.plain, "keep+ws", {}, ("'keep'", "+ws")),
    (own_networks.plain, "gn:4", {"regularize": "some"}, ("'some'", "kernels")),
    (own_networks.with_norm, "gn:4", {"calibrate": np.ones((2, 8, 8, 3))}, ("with_norm", "`calibrate`")),
    (own_networks.with_norm, "gn:4", {"input_shape": (9, 9, 3)}, ("8x8x3", "9x9x3")),
]


@pytest.mark.parametrize(("make", "spec", "options", "facts"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_is_refused(make, spec, options, facts):
    with pytest.raises(TfnormError) as caught:
        make_variant(make, spec, seed=0, **options)
    says(caught, *facts)
    assert "\n" not in str(caught.value)


def test_activations_without_a_name_make_no_note():
    def net():
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 3, activation=lambda x: keras.ops.relu(x) / 2),
                layers.BatchNormalization(),
            ]
        )

    assert make_variant(net, "gn:2", seed=0).notes == ()


def test_norm_places():
    model = own_networks.nested()
    inner, outer = model.get_layer("backbone").layers[2].name, model.layers[3].name
    assert [change.layer for change in norm_places(model).changes] == [f"backbone/{inner}", outer]
    bare = norm_places(own_networks.sequential())
    assert len(bare.changes) == 2 and all(change.before == "Conv2D" for change in bare.changes)
    (kept,) = norm_places(norm_of_its_own()).kept
    says(kept, "OwnNorm", "a class of its own")


def trains(name, specs):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (8, 64, 64, 3)).astype("float32"), np.arange(8) % 4
    for spec in specs:
        variant = make_variant(f"applications:{name}", spec, seed=0, num_classes=4, input_shape=(64, 64, 3))
        assert len(variant.changes) > 10
        variant.model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
        assert np.isfinite(variant.model.train_on_batch(x, y))


def test_an_application_under_specs():
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    sizes = {"num_classes": 4, "input_shape": (32, 32, 3)}
    kept = make_variant("applications:MobileNetV2", "keep", seed=0, **sizes).model
    for spec in ("gn:8", "bn:frozen"):
        variant = make_variant("applications:MobileNetV2", spec, seed=0, **sizes)
        assert len(variant.changes) == 52
        assert other_weights(variant.model) == other_weights(kept)
        assert np.all(np.isfinite(array(variant.model(x))))


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121"])
def test_applications_train(name):
    trains(name, ["gn:8", "bn:frozen"])


@pytest.mark.matrix
def test_an_application_with_layer_norms_trains():
    trains("ConvNeXtTiny", ["gn:8"])


@pytest.mark.parametrize("pixels", ["caffe", "tf", "torch", ""])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_prepares_pixels_stays(pixels, channels, seeded):
    from tfnorm.models.applications import _prepared

    def make():
        inputs = keras.Input((6, 6, channels))
        x = layers.BatchNormalization()(layers.Conv2D(4, 3)(_prepared(pixels, inputs)))
        return keras.Model(inputs, layers.Flatten()(x))

    x = seeded.integers(0, 256, (2, 6, 6, channels)).astype("float32")
    kept, other = (make_variant(make, spec, seed=0).model for spec in ("keep+l2=1e-4", "bn"))
    np.testing.assert_allclose(other(x), kept(x), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(kept(x), make_variant(make, "keep", seed=0).model(x), rtol=1e-5, atol=1e-4)
