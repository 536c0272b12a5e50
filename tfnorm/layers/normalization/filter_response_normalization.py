"""Filter response normalization and its activation."""

from __future__ import annotations

import keras
from keras import constraints, initializers, ops, regularizers

from tfnorm.layers.checks import add_gamma_beta, axis_from_front, known_sizes, positive_epsilon
from tfnorm.ops import kernels, kernels_for


@keras.saving.register_keras_serializable("tfnorm")
class FilterResponseNormalization(keras.layers.Layer):
    r"""Divide each channel of each sample by its root mean square over the pixels.

    .. math:: y_c = \gamma_c \frac{x_c}{\sqrt{\nu_c^2 + |\epsilon|}} + \beta_c, \quad \nu_c^2 = \mathrm{mean}(x_c^2)

    with the mean over height and width. No mean is subtracted, so outputs are biased away from zero; the paper's
    activation for them is `TLU`, max(y, tau) with a learned tau a channel. Keras has no such layer.

    Args:
        axis: The channel axis, default -1.
        epsilon: Added to the mean square, inside the root; default 1e-6 as in the paper.
        learned_epsilon: Whether to add abs of a learned scalar, started at 1e-4: the paper's advice where the images
            have become a single pixel. Default False.
        center: Whether there is a beta. Default True.
        scale: Whether there is a gamma. Default True.
        beta_initializer: Default "zeros".
        gamma_initializer: Default "ones".
        beta_regularizer: Default None.
        gamma_regularizer: Default None.
        beta_constraint: Default None.
        gamma_constraint: Default None.
        learned_epsilon_constraint: Default None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels). A mask is passed on; the mean is over masked steps
        too, as it is in Keras's GroupNormalization.

    References:
        Singh and Krishnan, 2019, arXiv 1911.09737.
    """

    def __init__(
        self,
        axis=-1,
        epsilon=1e-6,
        *,
        learned_epsilon=False,
        center=True,
        scale=True,
        beta_initializer="zeros",
        gamma_initializer="ones",
        beta_regularizer=None,
        gamma_regularizer=None,
        beta_constraint=None,
        gamma_constraint=None,
        learned_epsilon_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = positive_epsilon(epsilon)
        self.learned_epsilon = bool(learned_epsilon)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.learned_epsilon_constraint = constraints.get(learned_epsilon_constraint)
        self.supports_masking = True
        self.autocast = False  # statistics are taken of the input as it is

    def build(self, input_shape):
        """Create gamma, beta and the learned epsilon."""
        axis = axis_from_front(self.axis, len(input_shape), self.name)
        if axis == 0:
            raise ValueError(f"`axis` must be the channel axis, not the batch axis 0. Received: axis={self.axis}.")
        channels = known_sizes(input_shape, [axis], self.name)
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={axis: channels[0]})
        add_gamma_beta(self, channels, scale=self.scale, center=self.center)
        self.learned = None
        if self.learned_epsilon:
            self.learned = self.add_weight(
                name="learned_epsilon",
                shape=(),
                initializer=initializers.Constant(1e-4),
                constraint=self.learned_epsilon_constraint,
                autocast=False,
            )
        self.built = True

    def call(self, inputs):
        """Normalize ``inputs``."""
        epsilon = self.epsilon
        if self.learned is not None:
            epsilon = epsilon + ops.abs(ops.convert_to_tensor(self.learned))
        axis = self.axis % len(inputs.shape)
        outputs = kernels_for(self, inputs).filter_response_norm(
            inputs, self.gamma, self.beta, axis=axis, epsilon=epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape

    def get_config(self):
        """Return the arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "learned_epsilon": self.learned_epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
            "learned_epsilon_constraint": constraints.serialize(self.learned_epsilon_constraint),
        }


@keras.saving.register_keras_serializable("tfnorm")
class TLU(keras.layers.Layer):
    r"""Thresholded linear unit: a ReLU with a learned threshold a channel.

    .. math:: z_c = \max(y_c, \tau_c), \quad \text{affine:} \quad z_c = \max(y_c, \alpha_c y_c + \tau_c)

    Args:
        axis: The channel axis, default -1; None for a tau an element, as tensorflow-addons has it.
        affine: Whether there is an alpha, the paper's second form. Default False.
        tau_initializer: Default "zeros", which starts as a ReLU.
        tau_regularizer: Default None.
        tau_constraint: Default None.
        alpha_initializer: Default "zeros".
        alpha_regularizer: Default None.
        alpha_constraint: Default None.
        **kwargs: Name, dtype and the other arguments of a Keras layer.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels).

    References:
        Singh and Krishnan, 2019, arXiv 1911.09737.
    """

    def __init__(
        self,
        axis=-1,
        *,
        affine=False,
        tau_initializer="zeros",
        tau_regularizer=None,
        tau_constraint=None,
        alpha_initializer="zeros",
        alpha_regularizer=None,
        alpha_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.axis = axis
        self.affine = bool(affine)
        self.tau_initializer = initializers.get(tau_initializer)
        self.tau_regularizer = regularizers.get(tau_regularizer)
        self.tau_constraint = constraints.get(tau_constraint)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        """Create tau and, if it is affine, alpha."""
        rank = len(input_shape)
        axes = range(1, rank) if self.axis is None else [axis_from_front(self.axis, rank, self.name)]
        shape = known_sizes(input_shape, axes, self.name)
        self.input_spec = keras.InputSpec(ndim=rank, axes=dict(zip(axes, shape, strict=True)))
        self.tau = self.add_weight(
            name="tau",
            shape=shape,
            initializer=self.tau_initializer,
            regularizer=self.tau_regularizer,
            constraint=self.tau_constraint,
        )
        self.alpha = None
        if self.affine:
            self.alpha = self.add_weight(
                name="alpha",
                shape=shape,
                initializer=self.alpha_initializer,
                regularizer=self.alpha_regularizer,
                constraint=self.alpha_constraint,
            )
        self.built = True

    def call(self, inputs):
        """Return the larger of ``inputs`` and tau, to which alpha of them is added."""
        axis = None if self.axis is None else self.axis % len(inputs.shape)
        return ops.cast(kernels().threshold(inputs, self.tau, self.alpha, axis=axis), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the input shape."""
        return input_shape

    def get_config(self):
        """Return the arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "affine": self.affine,
            "tau_initializer": initializers.serialize(self.tau_initializer),
            "tau_regularizer": regularizers.serialize(self.tau_regularizer),
            "tau_constraint": constraints.serialize(self.tau_constraint),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
        }
