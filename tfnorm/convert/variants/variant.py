"""One network under one spec: the model to train, and what became of each layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfnorm.convert.clone import own_methods
from tfnorm.convert.graph import Network
from tfnorm.convert.insert import insert_norms, places_after
from tfnorm.convert.replace import norms_of, replace_norms
from tfnorm.convert.report import Change, Report, grouped
from tfnorm.convert.variants.factory import check_model, made_with_norms
from tfnorm.convert.variants.penalties import penalized
from tfnorm.errors import ArchitectureError, unknown
from tfnorm.models.saved import own_objects
from tfnorm.models.sources import Source, source_of
from tfnorm.spec import NormSpec, check_backend, parse

#: The note of a variant whose frozen batch norms have the moving statistics 0 and 1 of new layers.
UNTRAINED = "untrained statistics"
#: The end of the note of a variant with norms that a spec could not change.
STAYING = "norms stay as they were"


@dataclass(frozen=True, eq=False)
class Variant:
    """A network under one spec, as `make_variant` returns it.

    Args:
        spec: The spec.
        model: The model to train.
        changes: The layers that the spec changed, in the order of the graph.
        kept: Norms and convolutions that stay although you may expect a change, with the reason.
        notes: What is true of the whole model, such as "untrained statistics".
        difference: As in `Report`, with ``calibrate``.
    """

    spec: NormSpec
    model: keras.Model
    changes: tuple[Change, ...] = ()
    kept: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    difference: tuple[float, float] | None = None

    def record(self) -> dict[str, Any]:
        """Return all but the model, for a JSON file."""
        layers = {name: [vars(change) for change in getattr(self, name)] for name in ("changes", "kept")}
        return {"spec": str(self.spec), **layers, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = str(Report(self.changes, self.kept, self.difference)).splitlines() or ["no layer changes"]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def make_variant(
    source: Any,
    spec: str | NormSpec,
    *,
    seed: int,
    regularize: str = "all",
    calibrate: Any = None,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
) -> Variant:
    """Make a network and put the norms and the penalties of a spec into it.

    - Each norm of the model is replaced, see `replace_norms`. A model without any gets one after each convolution, see
      `insert_norms`. ``keep`` is the model as it is. ``none`` removes the norms.
    - ``bn:frozen`` takes over the moving statistics of the model's batch norms. It warns where they are those of a new
      layer, 0 and 1, and the variant has the note "untrained statistics".
    - A function with a parameter ``norm`` gets a factory ``norm(name=None, axis=-1)`` in place of that, which returns
      the layer of one norm. It is called twice. For ``keep`` its own default is used.
    - Penalties are added to those that the model has.

    All variants of a seed start with the same bits in all other weights.

    Args:
        source: A `Source`, or what `source_of` takes.
        spec: A norm spec.
        seed: The seed of initial weights, see `Source.make`.
        regularize: Whether penalties reach "all" trainable variables, or only "kernels". Defaults to "all".
        calibrate: A batch of inputs that gamma and beta of replaced or inserted norms are fitted to, as in
            `replace_norms`. By default they are not fitted.
        num_classes: Number of logits, see `Source.make`.
        input_shape: (height, width, channels) of the images, likewise.

    Returns:
        The model with what became of its layers.

    Raises:
        SpecError: For a spec that cannot be read or does not fit the model.
        ArchitectureError: If there is no such model, if its function fails, or if its norms cannot be changed.

    Example:
        >>> def net(input_shape=(8, 8, 3), num_classes=2):
        ...     inputs = keras.Input(input_shape)
        ...     x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        ...     x = keras.layers.BatchNormalization(name="norm")(x)
        ...     x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        ...     return keras.Model(inputs, keras.layers.Dense(num_classes)(x))
        >>> variant = make_variant(net, "gn:2+l2=1e-4", seed=0)
        >>> print(variant)
        norm: BatchNormalization -> GroupNormalization(2 groups)
        note: l2=1e-4 on 6 trainable variables
    """
    spec, source = parse(spec), source_of(source)
    check_backend(spec, keras.backend.backend)
    if regularize not in ("all", "kernels"):
        raise ArchitectureError(unknown("value of `regularize`", regularize, ("all", "kernels")))
    alone = replace(spec, l1=0.0, l2=0.0, l2norm=0.0)
    notes: list[str] = []
    if source.takes_norm:
        if calibrate is not None:
            raise ArchitectureError(
                f"{source.name} makes its norms itself, so there are no old ones to fit them to. Leave `calibrate` out."
            )
        made, report = made_with_norms(source, alone, seed=seed, num_classes=num_classes, input_shape=input_shape)
        model = made
    else:
        made = source.make(seed=seed, num_classes=num_classes, input_shape=input_shape)
        check_model(source, made)
        with own_objects(source.imports), _noting(notes):
            model, report = _changed(source, made, alone, calibrate)
    if alone.weight_standardization and not any("WeightStandardized" in change.after for change in report.changes):
        raise ArchitectureError(
            f"'{spec}' finds no plain 2D convolution whose output goes to a norm alone in {source.name}. "
            "Leave '+ws' out."
        )
    if spec.regularized:
        with own_objects(source.imports), _noting(notes):
            model, more = penalized(model, spec, regularize)
        notes += more
    _check_class(source, made, model)
    if staying := [note for note in notes if note.endswith(STAYING)]:
        warnings.warn(
            f"Under '{spec}', {staying[0]} in {source.name}: {grouped(report.kept)} The result is about a mixture. To "
            "change all, make the model in a function with a parameter `norm`.",
            stacklevel=2,
        )
    if has_untrained_statistics(model):
        notes.insert(0, UNTRAINED)
        warn_of_untrained(str(spec), source.name)
    return Variant(spec, model, report.changes, report.kept, tuple(notes), report.difference)


def warn_of_untrained(spec: str, network: str) -> None:
    """Warn that frozen batch norms have the moving statistics of new layers."""
    warnings.warn(
        f"The batch norms of '{spec}' in {network} use moving statistics that no training has set: 0 and 1. "
        "Give a trained model, such as a .keras file.",
        stacklevel=3,
    )


def has_untrained_statistics(model: keras.Model) -> bool:
    """Return whether a frozen batch norm of ``model`` (``bn:frozen``) has the moving statistics of a new layer."""
    frozen = [layer for layer in model._flatten_layers(include_self=False) if getattr(layer, "frozen", False) is True]
    return any(_is_new(layer) for layer in frozen if isinstance(layer, keras.layers.BatchNormalization))


def _is_new(norm: Any) -> bool:
    mean, variance = (keras.ops.convert_to_numpy(value) for value in (norm.moving_mean, norm.moving_variance))
    return not np.any(mean) and bool(np.all(variance == 1))


def norm_places(model: keras.Model) -> Report:
    """Return where the norms of a model are that a spec replaces, or, if it has none, the layers that get one.

    ``kept`` are the norms or convolutions that stay as they are, with the reason.

    Example:
        >>> print(norm_places(tfnorm.build(norm="gn:2")).changes[0])
        conv1_norm: GroupNormalization -> the norm of a spec
    """
    network = Network(model)
    norms = list(norms_of(network))
    found = norms or list(places_after(network))
    after = "the norm of a spec" if norms else "itself and a norm"
    places = [network.change(layer, "" if reason else after, note=reason) for layer, reason in found]
    return Report(tuple(each for each in places if each.after), tuple(each for each in places if not each.after))


def _changed(source: Source, model: keras.Model, spec: NormSpec, calibrate: Any) -> tuple[keras.Model, Report]:
    """Return a model with other norms, and what was changed."""
    if spec.info.of_the_model:
        return model, Report(())
    norms = list(norms_of(network := Network(model)))
    if spec.kind == "none":
        calibrate = None
    staying = sum(bool(reason) for _, reason in norms)
    if staying < len(norms):
        if staying:
            warnings.warn(f"{staying} of {len(norms)} {STAYING}", stacklevel=2)
        return replace_norms(model, spec, calibrate=calibrate, return_report=True)
    if norms:
        why = grouped([network.change(layer, note=reason) for layer, reason in norms])
        raise ArchitectureError(
            f"The norms of {source.name} cannot be replaced. {why} Make it in a function with a parameter `norm`, and "
            "put norm(name=...) there."
        )
    if spec.kind == "none" and not spec.weight_standardization:
        return model, Report(())
    if spec.kind == "none":
        raise ArchitectureError(
            f"'{spec}' standardizes the convolutions before norms, and {source.name} has no norm. Write 'none'."
        )
    places = list(places_after(network))
    if all(reason for _, reason in places):
        why = grouped(network.change(layer, note=reason) for layer, reason in places)
        raise ArchitectureError(
            f"'{spec}' finds no convolution in {source.name} to put a norm after.{' ' * bool(why)}{why} Make the model "
            "in a function with a parameter `norm`, and put norm(name=...) where it belongs."
        )
    return insert_norms(model, spec, calibrate=calibrate, return_report=True)


class _noting(warnings.catch_warnings):  # noqa: N801 - it is used as a function
    """Make the warnings of conversions notes."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(record=True)
        self._notes = notes

    def __enter__(self) -> Any:
        self._caught = super().__enter__()
        warnings.simplefilter("always")
        # Keras says it whenever it reads a configuration; the function itself is taken over.
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
        return self._caught

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for each in self._caught or ():
            if issubclass(each.category, UserWarning):
                self._notes.append(str(each.message).rstrip("."))
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _check_class(source: Source, old: keras.Model, new: keras.Model) -> None:
    """Raise an `ArchitectureError` if a variant would lose methods of the model's class, such as its train_step."""
    lost = [] if isinstance(new, type(old)) else list(own_methods(type(old)))
    if lost:
        raise ArchitectureError(
            f"The class {type(old).__name__} of {source.name} has its own {', '.join(lost)}, which a changed copy "
            "would lose, because its __init__ takes other arguments than keras.Model's. Give it an "
            "__init__(self, inputs, outputs, **kwargs), or make it in a function with a parameter `norm`."
        )
