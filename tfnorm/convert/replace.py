"""Putting other norms in place of those of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tfnorm.convert.calibrate import calibrate_norms, check_batch
from tfnorm.convert.clone import Chain, clone_with, remake
from tfnorm.convert.graph import Network, Where
from tfnorm.convert.kinds import BATCH_NORMS, norm_kinds
from tfnorm.convert.neighbours import channels_first, convolutions_before, removal, units_after
from tfnorm.convert.norms import Place, axes_of, carry_weights, could_be_either, find_places, of_statistics, successor
from tfnorm.convert.report import Report, grouped
from tfnorm.errors import TfnormError
from tfnorm.layers import WeightStandardizedConv2D
from tfnorm.spec import NormSpec, parse_norm


def replace_norms(
    model: keras.Model,
    spec: str | NormSpec,
    *,
    where: Where = None,
    calibrate: Any = None,
    return_report: bool = False,
) -> keras.Model | tuple[keras.Model, Report]:
    """Return the same network with another norm in place of each of its own.

    All norms of Keras and tfnorm are replaced, in nested models too. Each keeps its name, epsilon, gamma and beta,
    their penalties and constraints, its activity regularizer and whether it is trainable. All other weights are bit
    for bit the same. A compiled model stays compiled, but its optimizer starts afresh.

    - If the groups do not divide a layer's channels, the largest smaller number that does is taken.
    - ``ln`` has a gamma for each pixel and channel: each pixel gets the channel's, and on the way back the mean over
      the pixels is taken. The nearest convolution or pooling tells which axis has the channels, or else the report.
    - A new batch norm has the moving statistics of the old norm, or of the batch in ``calibrate``. Otherwise they are 0
      and 1 until it is trained.
    - ``+ws`` standardizes the weights of the 2D convolutions right before the norms. ``frn`` makes the ReLUs right
      after them thresholded units, which start as ReLUs. ``none`` removes the norms.

    With ``calibrate``, gammas and betas are fitted by least squares to what the old norms give for that batch. They are
    kept if the outputs come closer to those of the old model.

    Args:
        model: A functional or sequential model, built; it is not changed.
        spec: A norm spec without penalties, such as "gn:8", "ln", "frn", "none".
        where: Names of norm layers ("bn1", "block/bn1"), in which * stands for any letters; or a function that is true
            of the layers to replace. By default all.
        calibrate: A batch of inputs as the model takes them; 16 to 64 are enough as a rule.
        return_report: Whether to return the report too.

    Returns:
        A new model; with ``return_report`` the pair (model, `Report`). Its file needs `tfnorm.layers` to be opened.

    Raises:
        SpecError: For a spec that cannot be read, has penalties or does not fit.
        TfnormError: If the model has no graph or a `call` of its own, is not built, or has no norm to replace.

    Example:
        >>> old = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))
        >>> model, report = replace_norms(old, "gn:32", return_report=True)
        >>> model.get_layer("bn_Conv1").groups, len(report.changes)
        (32, 52)
        >>> print(report.changes[2])
        expanded_conv_project_BN: BatchNormalization -> GroupNormalization(16 groups), \
32 groups do not divide 16 channels
    """
    spec = parse_norm(spec)
    if spec.kind == "none" and calibrate is not None:
        raise TfnormError("Norms that are removed have nothing to calibrate. Leave `calibrate` out with 'none'.")
    network = Network(model)

    def axis_of(layer: Any, rank: int) -> int:
        first = channels_first(network, layer) if could_be_either(layer, rank) else False
        if first is None:
            first = keras.config.image_data_format() == "channels_first"
        return 1 if first else max(axes_of(layer, rank))

    places, kept = find_places(network, spec, where, norms_of(network), "norm", network.input_shapes, axis_of)
    if not places:
        reasons = f" {grouped(kept)}" if kept else ""
        raise TfnormError(
            f"The model {model.name!r} has no norm that can be replaced.{reasons} "
            "insert_norms, --insert on the command line, puts norms after convolutions."
        )
    batch = check_batch(model, calibrate)
    axes = {key: place.axis for key, place in places.items()}
    units = units_after(network, axes) if spec.info.thresholded else {}
    convolutions = convolutions_before(network, axes) if spec.weight_standardization else set()
    removed = set(places) if spec.kind == "none" else set()
    norms: dict[int, Any] = {}

    def make(layer):
        if id(layer) in removed:
            return removal(network, layer, removed)
        if id(layer) in places:
            place = places[id(layer)]
            norms[id(layer)] = successor(layer, place.spec, place.shape, place.axis)
            return Chain((norms[id(layer)],))
        return units.get(id(layer)) or remake(layer, WeightStandardizedConv2D if id(layer) in convolutions else None)

    new_model, made = clone_with(model, make)
    changes = []
    for key, place in places.items():
        old, new = place.layer, norms.get(key)
        lost = [] if new is None else _carried(network, place, new)
        fresh = bool(spec.info.moving) and batch is None and not isinstance(old, BATCH_NORMS)
        note = ", ".join(filter(None, (place.note, *lost, of_statistics(new, fresh=fresh))))
        kind = "nothing" if new is None else type(new).__name__
        changes.append(network.change(old, kind, groups=place.groups, note=note))
    for others, kind in ((convolutions, "WeightStandardizedConv2D"), (units, "TLU")):
        changes += [network.change(layer, kind) for layer in network.layers if id(layer) in others]
    difference = calibrate_norms(model, made, batch, [(norms[key], axes[key]) for key in norms])
    report = Report(tuple(changes), tuple(kept), difference)
    return (new_model, report) if return_report else new_model


def _carried(network: Network, place: Place, new: Any) -> list[str]:
    """Give a new norm the weights of the old one, and return notes about what is lost or guessed."""
    old, rank = place.layer, len(place.shape)
    notes = carry_weights(old, new, rank, place.axis)
    moved = axes_of(old, rank) != axes_of(new, rank)
    if moved and could_be_either(old, rank) and channels_first(network, old) is None:
        notes.append(f"its channels are taken to be on axis {place.axis}")
    masked = any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) is True
        for layer in network.everything
    )
    if masked and not new.supports_masking:
        notes.append("masks go no further")
    return notes


def norms_of(network: Network) -> Iterator[tuple[Any, str]]:
    """Yield each norm with the reason why it stays, or ""."""
    for layer in network.everything:
        if type(layer) in norm_kinds():
            holder = network.holder(layer)
            wrapped = type(holder) is keras.layers.TimeDistributed and holder.layer is layer
            yield layer, "" if wrapped else network.inside(layer)
        elif isinstance(layer, norm_kinds()):
            yield layer, "a class of its own"
