"""The networks of `keras.applications`, and backbones and tasks of KerasHub, from raw pixels to logits."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfnorm.errors import ArchitectureError, nearest
from tfnorm.keras_settings import standard_settings
from tfnorm.own_code.imports import what_it_says

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Application:
    """What `keras.applications` leaves to its user about a network.

    Args:
        pixels: What its ``preprocess_input`` does with pixels from 0 to 255: "caffe", "tf" or "torch", or "" where
            that is part of the network.
        side: Height and width of the images that it was made for.
    """

    pixels: str
    side: int = 224


def _family(pixels: str, *names: str, **sides: int) -> dict[str, Application]:
    return {name: Application(pixels) for name in names} | {n: Application(pixels, side) for n, side in sides.items()}


#: A network of `keras.applications` by its name.
APPLICATIONS: dict[str, Application] = {
    **_family("", *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge"))),
    **_family("torch", "DenseNet121", "DenseNet169", "DenseNet201"),
    **_family("", "EfficientNetB0", EfficientNetB1=240, EfficientNetB2=260, EfficientNetB3=300, EfficientNetB4=380),
    **_family("", EfficientNetB5=456, EfficientNetB6=528, EfficientNetB7=600),
    **_family("", "EfficientNetV2B0", EfficientNetV2B1=240, EfficientNetV2B2=260, EfficientNetV2B3=300),
    **_family("", EfficientNetV2S=384, EfficientNetV2M=480, EfficientNetV2L=480),
    **_family("tf", "MobileNet", "MobileNetV2", InceptionV3=299, InceptionResNetV2=299, Xception=299),
    **_family("", "MobileNetV3Small", "MobileNetV3Large"),
    **_family("tf", "NASNetMobile", "ResNet50V2", "ResNet101V2", "ResNet152V2", NASNetLarge=331),
    **_family("caffe", "ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"),
}
# Means and standard deviations of red, green and blue that "torch" takes, and the means that "caffe" takes of blue,
# green and red, as in keras.applications.imagenet_utils.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE = (103.939, 116.779, 123.68)


def nearest_application(word: str) -> str | None:
    """Return the name closest in spelling, whatever the case of its letters, or None.

    Example:
        >>> nearest_application("resnet50"), nearest_application("MobileNetV4")
        ('ResNet50', 'MobileNetV2')
    """
    names = {name.lower(): name for name in APPLICATIONS}
    return names.get(nearest(word, names) or "")


def check_application(name: str, weights: str | None) -> None:
    """Raise an `ArchitectureError` for an unknown name or weights that are not there. Imports no Keras."""
    if name not in APPLICATIONS:
        guess = nearest_application(name)
        hint = f" Did you mean {guess!r}?" if guess else ""
        raise ArchitectureError(
            f"Unknown network of keras.applications {name!r}.{hint} Use one of: {', '.join(APPLICATIONS)}."
        )
    if weights not in (None, "fresh", "imagenet") and not Path(weights).is_file():
        raise ArchitectureError(
            f"The weights of applications:{name} must be 'imagenet', 'fresh' or a file of weights. "
            f"Received: weights={weights!r}."
        )


def make_application(
    name: str, weights: str | None, input_shape: Sequence[int] | None, num_classes: int | None
) -> keras.Model:
    """Return a network of `keras.applications` from pixels 0..255 to logits.

    Its ``preprocess_input`` is a part of the model. Grey images become three equal channels. With
    ``weights="imagenet"`` and another number of classes than 1000, the head is new: average pooling and a dense layer.
    """
    import keras  # start-up

    side = APPLICATIONS[name].side
    shape = (side, side, 3) if input_shape is None else tuple(input_shape)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ArchitectureError(
            f"applications:{name} takes images of 3 channels, or of 1. Received: {_sides(shape)}. Give other images, "
            "or a function of your own that makes the model."
        )
    weights = None if weights == "fresh" else weights
    new_head = weights == "imagenet" and num_classes not in (None, 1000)
    head = {"include_top": False, "pooling": "avg"} if new_head else {"classifier_activation": None}
    if not new_head and num_classes is not None:
        head["classes"] = num_classes
    with standard_settings(keras.config.dtype_policy()):
        inputs = keras.Input(shape, name="image")
        pixels = _prepared(APPLICATIONS[name].pixels, inputs)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square")
                model = getattr(keras.applications, name)(
                    weights=weights, input_tensor=pixels, input_shape=tuple(pixels.shape[1:]), **head
                )
        except Exception as raised:  # such as an image that is too small for it
            raise ArchitectureError(
                f"applications:{name} cannot be made for images of {_sides(shape)}: {what_it_says(raised)}."
            ) from None
        logits = model.output
        if new_head:
            logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(logits)
        return keras.Model(inputs, logits, name=model.name)  # of one input, where Keras made a list of one


def _sides(shape: Sequence[Any]) -> str:
    return "x".join(map(str, shape))


def _prepared(pixels: str, images: Any) -> Any:
    """Return what ``preprocess_input`` makes of images."""
    from keras import layers, ops  # start-up

    if images.shape[-1] == 1:
        images = layers.Concatenate(name="three_channels")([images] * 3)
    if pixels == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaled")(images)
    if pixels == "torch":
        scale = [1 / (255 * deviation) for deviation in _DEVIATIONS]
        offset = [-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True)]
        return layers.Rescaling(scale, offset=offset, name="rescaled")(images)
    if pixels == "caffe":
        shifted = layers.Rescaling([1.0] * 3, offset=[-mean for mean in reversed(_CAFFE)], name="rescaled")(images)
        return ops.flip(shifted, axis=-1)
    return images


def check_kerashub(preset: str, weights: str | None) -> tuple[Path, ...]:
    """Return the files of a preset in a folder, none for one that KerasHub downloads. Imports neither.

    Raises:
        ArchitectureError: If KerasHub is not installed, or if there is no preset in the folder.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise ArchitectureError("KerasHub is not installed, and kerashub:... needs it. Run: pip install keras-hub")
    if weights not in (None, "fresh"):
        raise ArchitectureError(
            "The weights of a model of KerasHub are its own, or 'fresh'. "
            f"Received: weights={weights!r}. Leave them out, or give 'fresh'."
        )
    folder = Path(preset)
    if "://" in preset or ("/" not in preset and not folder.is_dir()):
        return ()
    if not (folder / "config.json").is_file():
        raise ArchitectureError(
            f"There is no preset of KerasHub in {preset!r}. Give a folder that save_to_preset has written, or the name "
            "of a preset."
        )
    return tuple(path.resolve() for path in sorted(folder.rglob("*")) if path.is_file())


def make_kerashub(
    preset: str, weights: str | None, input_shape: Sequence[int] | None, num_classes: int | None
) -> keras.Model:
    """Return a preset of KerasHub, from pixels 0..255 to logits; the scale that its weights are for is a part of it.

    An image classifier with as many classes keeps its head. Of any other preset the backbone is taken, and gets average
    pooling and a dense layer.
    """
    import keras  # start-up
    import keras_hub  # type: ignore[import-not-found]  # start-up

    given: dict[str, Any] = {"load_weights": weights != "fresh"}
    if input_shape is not None:
        given["image_shape"] = tuple(input_shape)
    try:
        task = keras_hub.models.ImageClassifier.from_preset(preset, **given)
    except Exception:  # it has no head
        task = None
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, **given) if task is None else task.backbone
    except Exception as raised:
        raise ArchitectureError(
            f"KerasHub cannot make {preset!r}: {what_it_says(raised)}. Give the name of a preset, or a function of "
            "your own that makes the model."
        ) from None
    inputs = keras.Input((None, None, 3) if input_shape is None else tuple(input_shape), name="image")
    pixels = _hub_pixels(keras_hub, preset, inputs)
    if task is not None and num_classes in (None, task.num_classes):
        return keras.Model(inputs, task(pixels), name=task.name)
    features = backbone(pixels)
    pools = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
    rank = len(getattr(features, "shape", ()))
    if rank not in pools:
        raise ArchitectureError(
            f"The backbone {preset!r} of KerasHub gives {type(features).__name__}, and not one feature map to pool. "
            "Give a function of your own that makes the model."
        )
    outputs = pools[rank](name="pooled")(features)
    if num_classes is not None:
        outputs = keras.layers.Dense(num_classes, dtype="float32", name="logits")(outputs)
    return keras.Model(inputs, outputs, name=backbone.name)


def _hub_pixels(hub: Any, preset: str, images: Any) -> Any:
    """Return images on the scale that a preset was trained with."""
    import keras  # start-up

    try:
        converter = hub.layers.ImageConverter.from_preset(preset)
    except FileNotFoundError:
        warnings.warn(
            f"The preset {preset!r} of KerasHub does not say which scale of pixels it takes. It gets pixels from 0 to "
            "255.",
            stacklevel=2,
        )
        return images
    except Exception as raised:
        raise ArchitectureError(
            f"KerasHub does not say which scale of pixels {preset!r} takes: {what_it_says(raised)}. Give a function "
            "of your own that makes the model."
        ) from None
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(scale, offset=offset, name="rescaled")(images)
