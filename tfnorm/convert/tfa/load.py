"""Opening models that were saved with tensorflow-addons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tfnorm._keras import SafeModeScope, swap_waiting_variables
from tfnorm.convert.tfa.files import SavedFile, read_file, read_json, reason
from tfnorm.convert.tfa.given import given_part
from tfnorm.convert.tfa.graph import NotCalledError, read_model
from tfnorm.convert.tfa.layers import check_masks
from tfnorm.convert.tfa.settings import Notes
from tfnorm.convert.tfa.weights import assign_values, find_values
from tfnorm.errors import TfnormError, check_keras_3


def load_tfa_model(
    path: str | os.PathLike[str],
    *,
    model: keras.Model | str | os.PathLike[str] | None = None,
    safe_mode: bool = True,
) -> keras.Model:
    """Open a model of Keras 2 that was saved with layers of tensorflow-addons, with the same outputs.

    The layers of tensorflow-addons 0.11 to 0.23 become

    =========================== =====================================================================================
    GroupNormalization          `keras.layers.GroupNormalization`
    InstanceNormalization       `keras.layers.GroupNormalization` with ``groups=-1``
    SpectralNormalization       `keras.layers.SpectralNormalization`; of an Embedding the Embedding, with a warning
    WeightNormalization         the layer inside with the kernel g v / ||v||, under the wrapper's name
    FilterResponseNormalization `tfnorm.layers.FilterResponseNormalization`
    TLU                         `tfnorm.layers.TLU` with ``axis=None``
    =========================== =====================================================================================

    The layers of Keras 2 and the usual functions of TensorFlow (x + y, tf.nn.relu, slices) become those of Keras 3.
    Names, shared layers, nested models and what is frozen stay; a slash in a name becomes an underscore. A layer of
    your own is found by the name it has in the file, if one for Keras 3 is registered under that name. Nothing in the
    file is executed, and no memory is taken for sizes that it claims and does not hold.

    Args:
        path: An .h5 file, a .keras file of Keras 2.13 to 2.15, or a file of weights alone (.h5 or .weights.h5).
        model: For weights alone: the same model in Keras 3, which gets the weights and is returned, or the file that
            the old model's `to_json` was written to. By default the model is in the file.
        safe_mode: Whether to refuse files with Python code (Lambda layers). With False that code is run; it must
            come from the same version of Python.

    Returns:
        The model, not compiled.

    Raises:
        TfnormError: If the file is damaged or of another kind, or holds layers without a counterpart, which are all
            listed; and always on Keras's PyTorch backend.

    Example:
        >>> import zipfile
        >>> saved = zipfile.ZipFile("tests/tfa/fixtures/group_norm-groups_2.zip").extract("model.h5", folder)
        >>> load_tfa_model(saved).layers[0].groups
        2

    References:
        arXiv 1803.08494 (group), 1607.08022 (instance), 1802.05957 (spectral), 1602.07868 (weight), 1911.09737 (filter
        response, TLU).
    """
    check_keras_3(path)
    check_keras_3(model)
    if keras.backend.backend() == "torch":  # where some functions, such as padding and floor_div, give other numbers
        raise TfnormError(
            "Files of tensorflow-addons are opened on Keras's TensorFlow and JAX backends. Received: backend='torch'. "
            "Open the file in a process with KERAS_BACKEND=tensorflow and save it as .keras, which opens on PyTorch."
        )
    file = read_file(path)
    if isinstance(model, keras.Model):
        part = given_part(model, file)
        find_values(part, file)
        assign_values(part, model)
        return model
    config = file.config if model is None else read_json(model)
    if config is None:
        raise TfnormError(
            f"{file.where} holds weights and no model. Pass `model`: the model in Keras 3, or the file of its to_json."
        )
    notes = Notes(safe_mode, config.get("keras_version") or file.version)
    made = _made(file, config, notes)
    notes.warn()
    return made


def _made(file: SavedFile, config: dict[str, Any], notes: Notes) -> keras.Model:
    """Return the model of a description with the weights of a file."""
    try:
        recipe = read_model(config, notes)
        notes.check(file.where)
        # Variables that are made in this scope take no memory before they are known to fit the file.
        with SafeModeScope(notes.safe_mode), _no_memory() as scope:
            model = recipe.layer
            check_masks(model, notes, file.where)
            part = recipe.part
            find_values(part, file)
            scope.initialize_variables = True
        assign_values(part, model)
    except TfnormError:
        raise
    except NotCalledError as error:
        notes.refuse(str(error))
        notes.check(file.where)
        raise
    except Exception as error:  # a description may be wrong in any way
        raise TfnormError(
            f"{file.where} describes a model that cannot be made ({reason(error)}). Save it again where it was written."
        ) from error
    return model


@contextmanager
def _no_memory() -> Iterator[keras.StatelessScope]:
    """Make variables without memory. They get some at the end if ``initialize_variables`` was set to True."""
    waiting = swap_waiting_variables([])
    try:
        with keras.StatelessScope(initialize_variables=False) as scope:
            yield scope
    finally:
        swap_waiting_variables(waiting)
