"""A network's logits: those of its compiled graph, for images of one shape alone."""

import keras
import numpy as np
import pytest

from tfnorm.errors import TfnormError
from tfnorm.training.predict import predict_logits


@pytest.fixture(scope="module")
def weighing():
    """A model whose logits weigh each pixel of a 4 x 5 image apart."""
    image = keras.Input((4, 5, 1))
    logits = keras.layers.Dense(3, use_bias=False)(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    model.set_weights([np.random.default_rng(0).normal(size=(20, 3)).astype("float32")])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (7, 4, 5, 1)).astype("uint8")


def test_logits_are_the_network_s(weighing, images):
    found = predict_logits(weighing, images)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, weighing.predict_on_batch(images))
    np.testing.assert_array_equal(predict_logits(weighing, images.tolist()), found)


def test_what_cannot_be_used_is_refused_in_a_sentence(weighing, images):
    for wrong in (images[:0], images[0], images[..., 0], []):
        with pytest.raises(TfnormError, match="one image.*shape"):
            predict_logits(weighing, wrong)


def test_the_opened_network_predicts_what_the_run_recorded(run_in_bfloat16):
    run, data = run_in_bfloat16
    np.testing.assert_array_equal(predict_logits(run.load_model(), data.x_test), run.logits)
