"""Fitting the gammas and betas of new norms to what the old model computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfnorm.convert.clone import Chain, Made, remake
from tfnorm.convert.graph import Call, graph_of, walk
from tfnorm.convert.kinds import BATCH_NORMS
from tfnorm.convert.norms import along, by_channel, weight_of
from tfnorm.errors import TfnormError


@dataclass(frozen=True)
class _Pair:
    """A tensor of the old model and the one in its place in the new model."""

    old: Any
    new: Any


def check_batch(model: keras.Model, batch: Any) -> list[Any] | None:
    """Return ``batch`` as the list of the inputs of ``model``, or None if there is none."""
    if batch is None:
        return None
    functional: Any = graph_of(model)
    parts = keras.tree.flatten(batch)
    if any(part is not None and not hasattr(part, "shape") for part in parts):
        raise TfnormError(f"`calibrate` must be an array, or one for each input. Received: {type(batch).__name__}.")
    if any(part is not None and 0 in part.shape for part in parts):
        raise TfnormError("`calibrate` must hold at least one image. Received: none.")
    must = f"`calibrate` must be a batch of inputs of the model {model.name!r}."
    try:
        tensors = functional._standardize_inputs(batch)
    except (ValueError, TypeError) as error:
        raise TfnormError(f"{must} {error}") from None
    for tensor, place in zip(tensors, functional.inputs, strict=True):
        sizes = () if tensor is None else zip(tensor.shape, place.shape, strict=True)
        if any(expected not in (None, size) for size, expected in sizes):
            raise TfnormError(
                f"{must} Expected: shape {place.shape} for {place.name!r}. Received: shape {tuple(tensor.shape)}."
            )
    return tensors


def calibrate_norms(model: Any, made: Made, batch: list[Any] | None, norms: Any) -> tuple[float, float] | None:
    """Fit gamma and beta of new norms to a batch, and keep them if the outputs come closer to those of the old model.

    ``norms`` are the new norms with their channel axes. Returns the difference of the outputs before and after, as in
    `Report`; None without a batch.
    """
    if batch is None:
        return None
    fits = {id(norm): _Fit(norm, axis) for norm, axis in norms}
    pairs = [_Pair(tensor, tensor) for tensor in batch]
    before = _difference(_run(model, made, pairs, {}))
    outputs = _run(model, made, pairs, fits)
    if any(fit.calls > 1 for fit in fits.values()):  # the last call changed what the first had given
        outputs = _run(model, made, pairs, {})
    after = _difference(outputs)
    if after < before:
        return before, after
    for fit in fits.values():
        fit.norm.set_weights(fit.weights)
    return before, before


class _Fit:
    """Least squares of one norm over all of its calls so far.

    The sums are of differences from the first call's means, so that large means do not cancel. Where the inputs have
    no variance, gamma stays as it is.
    """

    def __init__(self, norm: Any, axis: int) -> None:
        self.norm = norm
        self.axis = axis
        self.weights = norm.get_weights()  # as they were
        self.calls = self.count = 0
        self.shifts: Any = None
        self.sums: Any = 0.0

    def __call__(self, inputs: Any, target: Any) -> None:
        """Set the weights to those that bring the norm of ``inputs`` closest to ``target``."""
        rank, axis = len(inputs.shape), self.axis
        gamma, beta = (weight_of(self.norm, role) for role in ("gamma", "beta"))
        if gamma is not None:
            kept = by_channel(np.asarray(gamma), self.norm, rank, axis)
            gamma.assign(np.ones(gamma.shape))
        if beta is not None:
            beta.assign(np.zeros(beta.shape))
        batch_norm = isinstance(self.norm, BATCH_NORMS)
        x, y = (_columns(value, axis) for value in (inputs if batch_norm else self.norm(inputs), target))
        if self.shifts is None:
            self.shifts = x.mean(axis=0), y.mean(axis=0)
        x, y = x - self.shifts[0], y - self.shifts[1]
        self.calls += 1
        self.count += len(x)
        self.sums = self.sums + np.stack([np.sum(part, axis=0, dtype="float64") for part in (x, y, x * x, x * y)])
        dx, dy, square, product = self.sums / self.count
        mean, wanted = self.shifts[0] + dx, self.shifts[1] + dy
        variance, covariance = np.maximum(square - dx * dx, 0.0), product - dx * dy
        if batch_norm:
            self.norm.moving_mean.assign(mean)
            self.norm.moving_variance.assign(variance)
            deviation = np.sqrt(variance + self.norm.epsilon)
            mean, variance, covariance = np.zeros_like(mean), variance / deviation**2, covariance / deviation
        slope = np.ones_like(mean)
        if gamma is not None:
            if beta is None:  # the line goes through the origin
                variance, covariance = variance + mean**2, covariance + mean * wanted
            known = variance > 1e-12
            slope = np.where(known, covariance / np.where(known, variance, 1.0), kept)
            gamma.assign(along(slope, self.norm, rank, axis, tuple(gamma.shape)))
        if beta is not None:
            beta.assign(along(wanted - slope * mean, self.norm, rank, axis, tuple(beta.shape)))


def _columns(tensor: Any, axis: int) -> np.ndarray:
    """Return a tensor as (elements, channels) in float32 or better."""
    array = keras.ops.convert_to_numpy(tensor)
    array = array.astype(np.result_type(np.float32, array.dtype) if array.dtype.kind == "f" else "float32")
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def _run(model: keras.Model, made: Made, inputs: list[_Pair], fits: dict[int, _Fit]) -> list[_Pair]:
    """Return the outputs of the old and the new model, computed side by side. ``fits`` see each norm first."""

    def enter(given: Any, inner: Any) -> list[_Pair]:
        old, new = (inner._standardize_inputs(_side(side, given)) for side in ("old", "new"))
        return [_Pair(*pair) for pair in zip(old, new, strict=True)]

    return walk(model, inputs, lambda call: _call(call, made, fits), enter)


def _call(call: Call, made: Made, fits: dict[int, _Fit]) -> list[_Pair]:
    """Return the outputs of one call, at inference."""
    layer, new = made[id(call.operation)]
    kwargs = {key: value for key, value in call.kwargs.items() if key != "training"}
    old_args, old_kwargs = _side("old", (call.args, kwargs))
    new_args, new_kwargs = _side("new", (call.args, kwargs))
    inference = {"training": False} if getattr(layer, "_call_has_training_arg", False) else {}
    old_outputs = layer(*old_args, **old_kwargs, **inference)
    if isinstance(new, Chain):
        new_outputs = new_args[0] if new_args else new_kwargs["inputs"]
        for part in new.layers:
            if id(part) in fits:
                target = old_outputs if new.twin is None else _before_activation(layer, *old_args)
                fits[id(part)](new_outputs, target)
            new_outputs = part(new_outputs)
    elif type(new) is type(layer) is not keras.layers.TimeDistributed and _same(call.args, kwargs):
        new_outputs = old_outputs
    else:
        new_outputs = new(*new_args, **new_kwargs, **inference)
    flat = map(keras.tree.flatten, (old_outputs, new_outputs))
    return [_Pair(*pair) for pair in zip(*flat, strict=True)]


def _side(side: str, arguments: Any) -> Any:
    return keras.tree.map_structure(lambda part: getattr(part, side) if isinstance(part, _Pair) else part, arguments)


def _same(*arguments: Any) -> bool:
    return all(part.old is part.new for part in keras.tree.flatten(arguments) if isinstance(part, _Pair))


def _before_activation(layer: Any, inputs: Any):
    """Return what ``layer`` gives without its activation."""
    bare = remake(layer)
    bare.activation = keras.activations.linear
    bare.build(inputs.shape)
    bare.set_weights(layer.get_weights())
    return bare(inputs)


def _difference(pairs: list[_Pair]) -> float:
    """Return the root of the mean square of the differences over that of the old numbers; not a number is infinite."""
    both = [[keras.ops.convert_to_numpy(value).astype("float64") for value in (p.old, p.new)] for p in pairs]
    above = sum(float(np.square(new - old).sum()) for old, new in both)
    below = sum(float(np.square(old).sum()) for old, _ in both)
    share = float(np.sqrt(above / below)) if below else np.inf
    return share if np.isfinite(share) else np.inf
