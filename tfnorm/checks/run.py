"""Check a model, a file or what makes a model by all rules."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import keras

from tfnorm.checks.data import Data
from tfnorm.checks.finding import Finding, Found
from tfnorm.checks.findings import Findings
from tfnorm.checks.places import place_of_model
from tfnorm.checks.registry import RULES, ignored_of
from tfnorm.checks.subject import Subject
from tfnorm.datasets import Dataset
from tfnorm.errors import ArchitectureError, TfnormError, check_keras_3, is_memory_error, whole_number
from tfnorm.models.saved import open_model, own_objects
from tfnorm.models.sources import Source
from tfnorm.own_code.imports import what_it_says

#: What is checked where only the model is there.
STATIC = ("graph", "weights")


def check(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    optimizer: Any = None,
    ignore: Iterable[str] = (),
    needs: Sequence[str] = ("graph", "weights", "data"),
) -> Findings:
    """Return what is wrong with the norms and the penalties of a model, and what is worth knowing.

    Nothing in the model is changed. Without data it takes a second; with data some batches pass through the model.

    Args:
        model: A Keras model, a function that makes one, a run, or a text: the name of a .keras file, the folder of a
            finished run, ``FILE.py:FUNCTION`` or ``applications:NAME``.
        x: Some inputs, as ``model.fit`` takes them: arrays, or batches with or without labels. At most 4 batches of 64
            are looked at.
        y: Their labels, where ``x`` is arrays.
        batch_size: Images a training step on each device.
        steps: Steps that the training will take.
        optimizer: Of the training. By default the one that the model is compiled with.
        ignore: Rules that are left out, "RULE", or "RULE:LAYER" for one layer, in whose name * stands for any letters.
        needs: What rules may look at: "graph", "weights", "data".

    Returns:
        The `Findings`, warnings first. Attribute ``left_out`` says what could not be checked.

    Raises:
        TfnormError: If there is no such model, file or rule, or if ``x`` does not fit the model.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> model = Sequential([Input((8, 8, 3)), layers.Conv2D(8, 3), layers.GroupNormalization(-1, name="norm"),
        ...     layers.GlobalAveragePooling2D(name="pool"), layers.Dense(10)])
        >>> for finding in check(model).warnings:
        ...     print(finding.rule, *finding.layers)
        norm-before-pooling norm
    """
    model = opened(model)
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None:
            whole_number(name, value)
    ignored = ignored_of([ignore] if isinstance(ignore, str) else ignore)
    data = None if x is None else Data(model, x, y)
    try:
        optimizer = None if optimizer is None else keras.optimizers.get(optimizer)
    except (ValueError, TypeError):
        raise TfnormError(f"`optimizer` must be one of Keras, or its name. Received: {optimizer!r}.") from None
    subject = Subject(model, data=data, batch_size=batch_size, steps=steps, optimizer=optimizer)
    found: list[Finding] = []
    left_out = list(subject.left_out)
    for name, rule in RULES.items():
        if None in ignored.get(name, ()) or rule.needs not in needs or (rule.needs == "data" and data is None):
            continue
        module, _, function = rule.function.partition(".")
        looks = getattr(import_module(f"tfnorm.checks.families.{module}"), function)
        view = subject.without(each for each in ignored.get(name, ()) if each is not None)
        try:
            found += [finding_of(name, each) for each in looks(view)]
        except Exception as raised:  # a model of one's own may do anything when it is called
            if is_memory_error(raised):
                raise
            left_out.append(f"{name}. {what_it_says(raised)}.")
    return Findings(found, name=model.name, left_out=left_out, subject=subject)


def finding_of(rule: str, found: Found) -> Finding:
    """Return what a rule has found, with the name of the rule."""
    severity, paper = found.severity or RULES[rule].severity, RULES[rule].paper
    return Finding(rule, severity, tuple(found.layers), found.message, found.remedy, dict(found.evidence), paper)


def opened(
    model: Any, *, imports: Sequence[str] = (), allow_lambda: bool = False, data: Dataset | None = None
) -> keras.Model:
    """Return the model that is meant by what `check` takes; what makes one gets the classes and the size of ``data``.

    Raises:
        TfnormError: If there is none.
    """
    check_keras_3(model)
    if isinstance(model, keras.Model):
        if model.built:
            return model
        raise TfnormError(f"The model {model.name!r} has no weights yet. Begin it with keras.Input, or call it once.")
    if hasattr(model, "load_model"):
        return model.load_model()
    place = place_of_model(model)
    if isinstance(place, Source):
        if data is None:
            return place.make(seed=0)
        try:
            return place.make(seed=0, num_classes=data.num_classes, input_shape=data.input_shape)
        except ArchitectureError:  # it has a size of its own
            return place.make(seed=0, num_classes=data.num_classes)
    with own_objects(imports):
        return open_model(place, imports=imports, allow_lambda=allow_lambda)


def fitting(model: keras.Model, data: Dataset) -> tuple[Any, Any]:
    """Return the training images of a data set, in the size that a model takes, and their labels."""
    shape = tuple(model.inputs[0].shape) if len(getattr(model, "inputs", None) or ()) == 1 else ()
    if len(shape) == 4 and None not in shape[1:3] and tuple(data.input_shape[:2]) != shape[1:3]:
        data = data.resize(shape[1:3])
    return data.x_train, data.y_train


def warn_of(model: keras.Model, name: str, **settings: Any) -> None:
    """Warn of what is wrong with a model, which is called ``name``, as far as its graph tells; see `check`."""
    for finding in check(model, needs=STATIC, **settings).warnings:
        warnings.warn(f"{name}, {finding.rule}: {finding.message} Remedy: {finding.remedy}", stacklevel=3)
