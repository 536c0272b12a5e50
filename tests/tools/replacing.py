"""What models with replaced norms are checked with."""

import numpy as np
from tiny import all_layers

from tfnorm.convert import replace_norms


def randomize(model, rng):
    """Give the norms weights of their own."""
    for layer in all_layers(model):
        if "Normalization" in type(layer).__name__:
            for weight in layer.weights:
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def replaced(model, spec, **options):
    return replace_norms(model, spec, return_report=True, **options)


def assert_other_weights_are_the_same(new, model, changed):
    assert [layer.name for layer in all_layers(new)] == [layer.name for layer in all_layers(model)]
    for layer, old in zip(all_layers(new), all_layers(model), strict=True):
        if layer.name not in changed and not list(layer._layers):
            assert type(layer) is type(old)
            for weight, same in zip(layer.get_weights(), old.get_weights(), strict=True):
                np.testing.assert_array_equal(weight, same)
