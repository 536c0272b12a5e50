"""Parts that norm layers share: the settings that turn a spec into a layer, and gamma and beta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import constraints, initializers, ops, regularizers

from tfnorm.layers.checks import axis_from_front, known_sizes, positive_epsilon


@dataclass(frozen=True)
class NormSettings:
    """The settings that a norm layer gets beside its spec; see `tfnorm.layers.create.norm_layer`.

    Args:
        name: The layer's name, or None.
        axis: The channel axis.
        rank: Number of axes of the input.
        epsilon: Added to the variance, inside the root.
        momentum: Share of the moving statistics that is kept at each step.
        unbiased_moving_variance: Whether the moving variance takes the unbiased variance of the batch.
        regularizer: Penalty on each weight of the layer, or None.
    """

    name: str | None
    axis: int
    rank: int
    epsilon: float
    momentum: float
    unbiased_moving_variance: bool
    regularizer: Any

    def arguments(self, *weights: str) -> dict[str, Any]:
        """Return the name, the epsilon and a penalty on each of ``weights`` as arguments of a layer."""
        penalties = {f"{weight}_regularizer": self.regularizer for weight in weights}
        return {"name": self.name, "epsilon": self.epsilon, **penalties}


# The functions of Keras that read and write each setting of a weight.
WEIGHT_SETTINGS = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}


def keep_settings(layer, weight: str, *settings: Any) -> None:
    """Make the initializer, regularizer and constraint of a weight attributes of ``layer``."""
    for (name, module), setting in zip(WEIGHT_SETTINGS.items(), settings, strict=True):
        setattr(layer, f"{weight}_{name}", module.get(setting))


def add_weights(layer, shape: tuple[int, ...], *, autocast: bool = False, **wanted: bool) -> None:
    """Give ``layer`` weights of ``shape`` with their settings, and None for those that are not wanted."""
    for name, there in wanted.items():
        settings = {setting: getattr(layer, f"{name}_{setting}") for setting in WEIGHT_SETTINGS}
        weight = layer.add_weight(name=name, shape=shape, autocast=autocast, **settings) if there else None
        setattr(layer, name, weight)


def weight_settings(layer, *weights: str) -> dict[str, Any]:
    """Return the initializer, regularizer and constraint of each of ``weights`` for a layer's configuration."""
    return {
        f"{weight}_{setting}": module.serialize(getattr(layer, f"{weight}_{setting}"))
        for weight in weights
        for setting, module in WEIGHT_SETTINGS.items()
    }


class AffineNormalization(keras.layers.Layer):
    """Base of the norms that Keras does not have. It holds gamma and beta, one number a channel, and their settings.

    A subclass has a ``call``, which normalizes in float32 or better and ends with `scaled` or does the same.

    Args:
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the variance, inside the root. Defaults to 1e-3.
        center: Whether there is a beta. Defaults to True.
        scale: Whether there is a gamma. Defaults to True.
        beta_initializer: Defaults to "zeros".
        gamma_initializer: Defaults to "ones".
        beta_regularizer: Defaults to None.
        gamma_regularizer: Defaults to None.
        beta_constraint: Defaults to None.
        gamma_constraint: Defaults to None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.
    """

    def __init__(
        self,
        axis=-1,
        epsilon=1e-3,
        *,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = positive_epsilon(epsilon)
        self.center, self.scale = bool(center), bool(scale)
        keep_settings(self, "beta", beta_initializer, beta_regularizer, beta_constraint)
        keep_settings(self, "gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.supports_masking = True
        self.autocast = False  # statistics are taken of the input as it is

    @classmethod
    def from_spec(cls, spec, settings: NormSettings):
        return cls(axis=settings.axis, **settings.arguments("gamma", "beta"))

    def build(self, input_shape):
        axis = self.channel_axis(len(input_shape))
        sizes = known_sizes(input_shape, [axis], self.name)
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={axis: sizes[0]})
        add_weights(self, sizes, gamma=self.scale, beta=self.center)
        self.built = True

    def channel_axis(self, rank: int) -> int:
        """Return the channel axis counted from the front, for an input of ``rank`` axes."""
        axis = axis_from_front(self.axis, rank, self.name)
        if axis == 0:
            raise ValueError(f"`axis` must be the channel axis, not the batch axis 0. Received: axis={self.axis}.")
        return axis

    def scaled(self, normalized, shape: list[int]):
        """Return ``normalized`` times gamma plus beta, which are reshaped to ``shape`` and broadcast."""
        if self.gamma is not None:
            normalized = normalized * ops.reshape(ops.cast(self.gamma, normalized.dtype), shape)
        if self.beta is not None:
            normalized = normalized + ops.reshape(ops.cast(self.beta, normalized.dtype), shape)
        return normalized

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {name: getattr(self, name) for name in ("axis", "epsilon", "center", "scale")}
        return super().get_config() | own | weight_settings(self, "beta", "gamma")
