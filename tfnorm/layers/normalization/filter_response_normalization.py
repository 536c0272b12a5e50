"""Filter response normalization and its activation."""

from __future__ import annotations

import keras
from keras import constraints, initializers, ops

from tfnorm.layers.checks import axis_from_front, known_sizes
from tfnorm.layers.normalization.base import AffineNormalization, add_weights, keep_settings, weight_settings
from tfnorm.ops import kernels, kernels_for


@keras.saving.register_keras_serializable("tfnorm")
class FilterResponseNormalization(AffineNormalization):
    r"""Divide each channel of each sample by its root mean square over the pixels.

    .. math:: y_c = \gamma_c \frac{x_c}{\sqrt{\nu_c^2 + |\epsilon|}} + \beta_c, \quad \nu_c^2 = \mathrm{mean}(x_c^2)

    with the mean over height and width. No mean is subtracted, so outputs are biased away from zero. The paper uses the
    activation `TLU` after it, max(y, tau) with a learned tau for each channel. Keras has no such layer.

    Args:
        axis: The channel axis. Defaults to -1.
        epsilon: Added to the mean square, inside the root. Defaults to 1e-6 as in the paper.
        learned_epsilon: Whether to add the absolute value of a learned scalar that starts at 1e-4. The paper advises
            it where images have become a single pixel. Defaults to False.
        learned_epsilon_constraint: Constraint on that scalar. Defaults to None.
        **kwargs: Those of gamma, beta and a Keras layer, as `AffineNormalization` has them.

    Input and output shape:
        Any rank from 2, such as (batch, height, width, channels). A mask is passed on. The mean is over masked steps
        too, as in Keras's GroupNormalization.

    References:
        Singh and Krishnan, 2019, arXiv 1911.09737.
    """

    def __init__(self, axis=-1, epsilon=1e-6, *, learned_epsilon=False, learned_epsilon_constraint=None, **kwargs):
        super().__init__(axis, epsilon, **kwargs)
        self.learned_epsilon = bool(learned_epsilon)
        self.learned_epsilon_constraint = constraints.get(learned_epsilon_constraint)

    def build(self, input_shape):
        super().build(input_shape)
        self.learned = None
        if self.learned_epsilon:
            self.learned = self.add_weight(
                name="learned_epsilon",
                shape=(),
                initializer=initializers.Constant(1e-4),
                constraint=self.learned_epsilon_constraint,
                autocast=False,
            )

    def call(self, inputs):
        epsilon = self.epsilon
        if self.learned is not None:
            epsilon = epsilon + ops.abs(ops.convert_to_tensor(self.learned))
        axis = self.axis % len(inputs.shape)
        outputs = kernels_for(self, inputs).filter_response_norm(
            inputs, self.gamma, self.beta, axis=axis, epsilon=epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        constraint = constraints.serialize(self.learned_epsilon_constraint)
        own = {"learned_epsilon": self.learned_epsilon, "learned_epsilon_constraint": constraint}
        return super().get_config() | own


@keras.saving.register_keras_serializable("tfnorm")
class TLU(keras.layers.Layer):
    r"""Thresholded linear unit: a ReLU with a learned threshold for each channel.

    .. math:: z_c = \max(y_c, \tau_c), \quad \text{affine:} \quad z_c = \max(y_c, \alpha_c y_c + \tau_c)

    Args:
        axis: The channel axis, or None for a tau for each element, as in tensorflow-addons. Defaults to -1.
        affine: Whether there is an alpha, as in the paper's second form. Defaults to False.
        tau_initializer: Defaults to "zeros", with which the unit starts as a ReLU.
        tau_regularizer: Defaults to None.
        tau_constraint: Defaults to None.
        alpha_initializer: Defaults to "zeros".
        alpha_regularizer: Defaults to None.
        alpha_constraint: Defaults to None.
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
        keep_settings(self, "tau", tau_initializer, tau_regularizer, tau_constraint)
        keep_settings(self, "alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        axes = range(1, rank) if self.axis is None else [axis_from_front(self.axis, rank, self.name)]
        shape = known_sizes(input_shape, axes, self.name)
        self.input_spec = keras.InputSpec(ndim=rank, axes=dict(zip(axes, shape, strict=True)))
        add_weights(self, shape, autocast=True, tau=True, alpha=self.affine)
        self.built = True

    def call(self, inputs):
        axis = None if self.axis is None else self.axis % len(inputs.shape)
        return ops.cast(kernels().threshold(inputs, self.tau, self.alpha, axis=axis), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"axis": self.axis, "affine": self.affine}
        return super().get_config() | own | weight_settings(self, "tau", "alpha")
