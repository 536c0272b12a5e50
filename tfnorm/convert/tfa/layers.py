"""Making layers of Keras 3 and tfnorm from the descriptions of layers of tensorflow-addons and Keras 2."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers

from tfnorm.convert.tfa.files import reason
from tfnorm.convert.tfa.settings import Notes, class_name, precision, settings, since, writer
from tfnorm.convert.tfa.weights import Part, Slot, plain_part, snake_case
from tfnorm.errors import TfnormError
from tfnorm.layers import TLU, BandNormalization, ContribInstanceNormalization, FilterResponseNormalization

# The layers of Keras 2 that Keras 3 has with the same outputs. A file may name no other class of Keras: some of
# those, such as TFSMLayer, run what is in yet another file.
SAME = frozenset(
    """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose
    Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D
    Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU GaussianDropout
    GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity LSTM LayerNormalization LeakyReLU Masking
    MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply PReLU Permute RandomBrightness
    RandomContrast RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    SeparableConv1D SeparableConv2D SimpleRNN Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
# The version of Keras 2 that brought a class. In an older file, a class of that name is somebody else's.
# Standalone Keras up to 2.3 had none of these, tf.keras ("-tf") those up to its number. From 2.4 on both are one.
SINCE = since(
    """
    2.2.4 LayerNormalization Attention AdditiveAttention Normalization
    2.3 CenterCrop RandomContrast RandomFlip RandomRotation RandomTranslation Rescaling Resizing
    2.4 CategoryEncoding Conv1DTranspose EinsumDense MultiHeadAttention RandomZoom
    2.5 ConvLSTM1D ConvLSTM3D DepthwiseConv1D
    2.8 RandomBrightness UnitNormalization
    2.11 GroupNormalization
    2.13 SpectralNormalization
    """
)
BILINEAR_SINCE = (2, 3)  # TensorFlow 2 takes the centres of pixels, TensorFlow 1 their corners
MASKED_ATTENTION_SINCE = (2, 10)  # before, MultiHeadAttention took no notice of masks
# Layers that have another name in Keras 3.
RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "ThresholdedReLU": "ReLU",
}
# A class of your own does not take the place of these.
FIXED = {"Functional", "InputLayer", "Model", "Sequential"}
# The settings that the norms of keras-contrib write down, and with `groups` those of tensorflow-addons up to 0.6.
CONTRIB = {"axis", "center", "epsilon", "scale"}
CONTRIB |= {f"{weight}_{what}" for weight in ("beta", "gamma") for what in ("constraint", "initializer", "regularizer")}
MERGING = (layers.Add, layers.Average, layers.Maximum, layers.Minimum, layers.Multiply, layers.Subtract)
MOST_MEANS = 1 << 24  # of a Normalization, which no data set has


class Recipe:
    """How to make a layer anew, with the weights that the file has for it.

    ``kind`` is its class in Keras 2, in snake case. ``part`` returns the weights of a layer of a kind.
    """

    def __init__(self, kind: str, make: Callable[[], Any], part: Callable[[Any, str], Part] = plain_part) -> None:
        self._kind, self._make, self._part = kind, make, part

    @cached_property
    def layer(self) -> Any:
        """The new layer."""
        return self._make()

    @cached_property
    def part(self) -> Part:
        """Its weights as the file has them; the layer must be built."""
        return self._part(self.layer, self._kind)


def read_layer(entry: dict[str, Any], notes: Notes, name: str | None = None) -> Recipe:
    """Return the recipe of a layer or model from its entry in a description, with ``name`` in place of its own."""
    kind, config = class_name(entry), described(entry)
    key = f"{kind} {config.get('name')} {name}"
    # Keras 2 marks the second of two entries for one layer, and not the first.
    if "shared_object_id" not in entry or key not in notes.seen:
        notes.seen[key] = _read(kind, dict(config), notes, name)
    return notes.seen[key]


def described(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an entry; those of a sequential model were the list of its layers up to Keras 2.2.2."""
    config = entry["config"]
    return {"name": entry.get("name", "sequential"), "layers": config} if isinstance(config, list) else config


def _read(kind: str, config: dict[str, Any], notes: Notes, name: str | None) -> Recipe:
    name = str(name or config.get("name"))
    config["name"] = name.replace("/", "_")  # Keras 3 allows no slash
    short, label = snake_case(kind.rpartition(">")[2]), f"{kind} ({name!r})"
    custom = None if kind in FIXED else keras.saving.get_registered_object(kind)
    if isinstance(custom, type) and issubclass(custom, layers.Layer):
        if custom is not getattr(layers, kind, None):
            return Recipe(short, lambda: _custom(custom, config, label))
    elif recipe := _elder(kind, label, config, notes):
        return recipe
    if kind in SPECIAL:
        return SPECIAL[kind](name, config, notes)
    made = RENAMED.get(kind, kind)
    if made not in SAME:
        notes.refuse(label, kind)
        return Recipe(short, layers.Identity)
    if kind == "GRU":
        config.setdefault("reset_after", False)  # a file that does not say so is older than the choice
    return _same(getattr(layers, made), short, config, label, notes)


def _same(kind: type, short: str, config: dict[str, Any], label: str, notes: Notes, part: Any = plain_part) -> Recipe:
    """Return the recipe of a layer of Keras 3 from its settings in Keras 2."""
    arguments = settings(kind, config, label, notes)

    def make() -> Any:
        try:
            return kind(**arguments)
        except Exception as error:  # settings of the file may be wrong in any way
            raise TfnormError(
                f"{label} cannot be made in Keras 3 ({reason(error)}). Write the layer for Keras 3, and open the file "
                f"inside `with keras.saving.custom_object_scope({{{label.split(' ')[0]!r}: ...}}):`."
            ) from error

    return Recipe(short, make, part)


def _custom(kind: Any, config: dict[str, Any], label: str) -> Any:
    """Return a layer of your own class in place of one in the file."""
    config = {key: value for key, value in config.items() if key != "batch_input_shape"}
    config["dtype"] = precision(config.get("dtype"))
    try:
        return kind.from_config(config)
    except Exception as error:  # the code of others
        raise TfnormError(
            f"Your {kind.__name__} cannot be made in the place of {label} ({reason(error)}). Its __init__ must take "
            f"the settings in the file: {', '.join(config)}."
        ) from error


def _elder(kind: str, label: str, config: dict[str, Any], notes: Notes) -> Recipe | None:
    """Return the recipe of a layer that is not Keras's own, though Keras has one of that name today; or None."""
    own = set(config) - {"name", "trainable", "dtype", "batch_input_shape"}
    foreign = kind == "InstanceNormalization" or notes.release < SINCE.get(kind, ())
    made: type | None = None
    # Up to 0.4 tensorflow-addons had a LayerNormalization, which was its group normalization with one group.
    if own == CONTRIB | {"groups"} and (foreign or kind == "LayerNormalization"):
        if config["axis"] == 1 or config["groups"] == 1:  # there both are the same
            made = layers.GroupNormalization
        else:
            made = BandNormalization
            how = "with bands of the picture for groups of channels"
            notes.tell(label, f"opened as keras-contrib and tensorflow-addons up to 0.6 computed it, {how}", kind)
    elif own == CONTRIB and kind == "InstanceNormalization":
        made = ContribInstanceNormalization
        notes.tell(label, "opened as keras-contrib computed it, with epsilon outside the root", kind)
    elif foreign and kind in SINCE:
        notes.refuse(f"{label}, which {writer(notes)} did not have", kind)
        return Recipe(snake_case(kind), layers.Identity)
    elif kind == "UpSampling2D" and config.get("interpolation") == "bilinear" and notes.release < BILINEAR_SINCE:
        notes.refuse(f"{label} with interpolation=bilinear, which TensorFlow 1 and 2 compute differently", kind)
    return None if made is None else _same(made, snake_case(kind), config, label, notes)


def check_masks(model: keras.Model, notes: Notes, where: str) -> None:
    """Raise a `TfnormError` if Keras 3 handles a mask in another way than the Keras that wrote the file."""
    deaf = [layers.Identity, layers.Normalization, layers.Rescaling]  # in Keras 2 they end masks
    if notes.release < MASKED_ATTENTION_SINCE:
        deaf.append(layers.MultiHeadAttention)
    for layer in model._flatten_layers():
        for node in layer._inbound_nodes:
            masks = [getattr(tensor, "_keras_mask", None) for tensor in node.input_tensors]
            # Keras 2 merges masks by "and". Keras 3 does so by "or" if every input has one.
            merged = len({id(mask) for mask in masks}) > 1 and (
                isinstance(layer, MERGING)
                or (isinstance(layer, layers.Concatenate) and layer.axis in (-1, len(node.input_tensors[0].shape) - 1))
            )
            if merged or (isinstance(layer, tuple(deaf)) and any(mask is not None for mask in masks)):
                raise TfnormError(
                    f"{where} has masks at the layer {layer.name!r} ({type(layer).__name__}), which Keras 3 handles "
                    f"in another way than {writer(notes)}. Build the model in Keras 3 with the masks that you want, "
                    f"and pass it with the file: load_tfa_model({where!r}, model=model)."
                )


def _lambda(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    """Return the recipe of a Lambda layer, whose function is code in the file."""
    function = config.get("function")
    kept = {key: config[key] for key in ("name", "trainable", "arguments") if key in config}
    kept["dtype"] = precision(config.get("dtype"))
    if isinstance(function, list):
        code = dict(zip(("code", "defaults", "closure"), function, strict=True))
        kept["function"] = {"class_name": "__lambda__", "config": code}
        notes.code.append(f"Lambda ({name!r})")
    else:
        notes.refuse(f"Lambda ({name!r}, whose function is not in the file)", "Lambda")
    return Recipe("lambda", lambda: layers.Lambda.from_config(kept, safe_mode=notes.safe_mode))


class _BoundedNormalization(layers.Normalization):
    """Becomes Keras's own on being built, which makes arrays of the input's size at once."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build, if a file can hold so many means."""
        if (size := math.prod(input_shape[axis] or 1 for axis in self.axis)) > MOST_MEANS:
            raise ValueError(f"{self.name} has {size} means")
        super().build(input_shape)
        self.__class__ = layers.Normalization


def _normalization(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    return _same(_BoundedNormalization, "normalization", config, f"Normalization ({name!r})", notes)


def _layer_norm(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    axes = config.get("axis")

    def part(layer: Any, kind: str) -> Part:
        found, shape = plain_part(layer, kind), layer.get_build_config()["input_shape"]
        if isinstance(axes, list):  # Keras 3 sorts them, and Keras 2 reads the numbers in the sorted order too
            for slot in found.own:
                slot.shape = tuple(shape[axis] for axis in axes)
        return found

    label = f"LayerNormalization ({name!r})"
    return _same(layers.LayerNormalization, "layer_normalization", config, label, notes, part)


# The layers of tensorflow-addons, and those of Keras with a layer inside.


def _group_norm(name: str, config: dict[str, Any], notes: Notes, kind: str = "group_normalization") -> Recipe:
    config = settings(layers.GroupNormalization, config, f"GroupNormalization ({name!r})", notes)

    def part(layer: Any, kind: str) -> Part:
        (channels,) = layer.input_spec.axes.values()
        if layer.axis < -1 and layer.groups == channels:
            raise TfnormError(
                f"The layer {name!r} normalizes another axis than it says: tensorflow-addons does so where every "
                f"channel is a group and `axis` is below -1. Received: axis={layer.axis}. Give the axis from the front."
            )
        return plain_part(layer, kind)

    return Recipe(kind, lambda: layers.GroupNormalization(**config), part)


def _filter_response_norm(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    label = f"FilterResponseNormalization ({name!r})"
    if (axes := config.pop("axis")) != [1, 2]:
        notes.refuse(f"{label} with axis={axes}", "Addons>FilterResponseNormalization")
    # The original takes the absolute value of any epsilon, 0 too.
    config["epsilon"] = abs(config["epsilon"]) or float(np.finfo("float32").tiny)
    config = settings(FilterResponseNormalization, config, label, notes)
    return Recipe("filter_response_normalization", lambda: FilterResponseNormalization(**config), filter_response_part)


def filter_response_part(layer: Any, kind: str = "filter_response_normalization") -> Part:
    """Return the weights of a filter response normalization, which tensorflow-addons gives more axes."""
    own = [Slot("learned_epsilon", (1,), True, layer.learned)] if layer.learned is not None else []
    own += [Slot(v.name, (1, 1, 1, *v.shape), True, v) for v in (layer.gamma, layer.beta)]
    return Part(layer.name, kind, own=own, trainable=layer.trainable)


def _tlu(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    config = settings(TLU, config, f"TLU ({name!r})", notes) | {"axis": None}
    return Recipe("tlu", lambda: TLU(**config))


def _spectral_norm(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    entry = config.pop("layer")
    config = settings(layers.SpectralNormalization, config, f"SpectralNormalization ({name!r})", notes)
    # Keras would round the outputs of an Embedding to whole numbers, the type of its inputs.
    left_out = class_name(entry) == "Embedding"
    if left_out:
        notes.dropped.append(f"SpectralNormalization ({name!r}) of an Embedding")
    inner = read_layer(entry, notes, name if left_out else None)
    return Recipe(
        "spectral_normalization",
        lambda: inner.layer if left_out else layers.SpectralNormalization(inner.layer, **config),
        lambda layer, _: spectral_part(inner.part, layer),
    )


def spectral_part(inside: Part, layer: Any) -> Part:
    """Return the weights of a spectral normalization around ``inside``; ``layer`` has it, or leaves it out."""
    kernel = next(slot for slot in inside.own if slot.name in ("kernel", "embeddings"))
    vector = Slot("sn_u", (1, kernel.shape[-1]), False, getattr(layer, "vector_u", None))
    return Part(layer.name, "spectral_normalization", [kernel, vector], {"layer": inside}, trainable=layer.trainable)


def _weight_norm(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    """Return the recipe of the layer inside, whose kernel becomes g v / ||v||."""
    entry = dict(config["layer"])
    entry["config"] = entry["config"] | {"trainable": config.get("trainable", True)}
    inner, data_init = read_layer(entry, notes, name), config["data_init"]
    return Recipe("weight_normalization", lambda: inner.layer, lambda *_: weight_norm_part(inner.part, data_init))


def weight_norm_part(inside: Part, data_init: bool) -> Part:
    """Return the weights of a weight normalization around ``inside``, whose kernel is set to g v / ||v||.

    A recurrent layer has that of its state. With ``data_init`` the file has a copy of the layer, to be initialized.
    """
    every = {slot.name: slot for part in inside.walk() for slot in part.own}
    kernel = every.get("recurrent_kernel") or every["kernel"]
    gain, initialized = Slot("g", kernel.shape[-1:]), Slot("initialized", (), False)
    copies = {"_naked_clone_layer": _without_variables(inside)} if data_init else {}
    for part in inside.walk():  # the kernel is the wrapper's own, under the name v
        part.own = [slot for slot in part.own if slot is not kernel]

    def fold() -> None:
        vectors, gains = np.asarray(kernel.value), np.asarray(gain.value)
        if initialized.value:
            squares = np.sum(np.square(vectors), axis=tuple(range(vectors.ndim - 1)), keepdims=True)
            kernel.value = vectors / np.sqrt(np.maximum(squares, 1e-12)) * gains
        elif data_init:  # without it the first batch makes g equal to ||v||
            warnings.warn(
                f"The layer {inside.name!r} was saved before its first batch, from which tensorflow-addons would have "
                "scaled its kernel. It has the kernel as it was drawn.",
                stacklevel=5,
            )

    own, inner = [gain, kernel, initialized], {"layer": inside} | copies
    return Part(inside.name, "weight_normalization", own, inner, trainable=inside.trainable, fold=fold)


def _without_variables(part: Part) -> Part:
    """Return a frozen copy that is read and belongs to no new layer."""
    own = [Slot(slot.name, slot.shape, slot.trainable) for slot in part.own]
    inside = {attribute: _without_variables(inner) for attribute, inner in part.inside.items()}
    return Part(part.name, part.kind, own, inside, trainable=False)


def _time_distributed(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    inner = read_layer(config.pop("layer"), notes)
    config = settings(layers.TimeDistributed, config, f"TimeDistributed ({name!r})", notes)
    return Recipe(
        "time_distributed",
        lambda: layers.TimeDistributed(inner.layer, **config),
        lambda layer, kind: Part(name, kind, inside={"layer": inner.part}, trainable=layer.trainable),
    )


def _bidirectional(name: str, config: dict[str, Any], notes: Notes) -> Recipe:
    inner, entry = read_layer(config.pop("layer"), notes), config.pop("backward_layer", None)
    backward = read_layer(entry, notes) if entry else None
    config = settings(layers.Bidirectional, config, f"Bidirectional ({name!r})", notes)
    return Recipe(
        "bidirectional",
        lambda: layers.Bidirectional(inner.layer, backward_layer=backward and backward.layer, **config),
    )


# By the name in the file; the models are entered where they are made.
SPECIAL: dict[str, Callable[[str, dict[str, Any], Notes], Recipe]] = {
    "Addons>GroupNormalization": _group_norm,
    "Addons>InstanceNormalization": lambda name, config, notes: _group_norm(
        name, config | {"groups": -1}, notes, "instance_normalization"
    ),
    "Addons>FilterResponseNormalization": _filter_response_norm,
    "Addons>TLU": _tlu,
    "Addons>SpectralNormalization": _spectral_norm,
    "Addons>WeightNormalization": _weight_norm,
    "Bidirectional": _bidirectional,
    "Lambda": _lambda,
    "LayerNormalization": _layer_norm,
    "Normalization": _normalization,
    "SpectralNormalization": _spectral_norm,
    "TimeDistributed": _time_distributed,
}
