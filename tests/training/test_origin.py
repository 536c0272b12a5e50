"""Where runs were trained, in words."""

from tfnorm.training.provenance import backend_words, origin_words, origins

VERSIONS = {"tfnorm": "0.1.0", "keras": "3.15.1", "numpy": "2.4.6", "python": "3.11.7", "revision": None}
HERE = {
    "versions": {**VERSIONS, "backend": "tensorflow", "tensorflow": "2.21.0"},
    "machine": {"cores": 1, "processor": "P"},
}
THERE = {
    "versions": {**VERSIONS, "backend": "jax", "jax": "0.11.2", "revision": "0123456789abcdef"},
    "machine": {"cores": 16, "processor": "P", "accelerator": "G"},
}


def of(place, seed):
    return {**place, "asked": {"seed": seed}}


def test_runs_of_one_place_are_one_origin():
    (found,) = origins([of(HERE, 1), of(HERE, 0), of(HERE, 1)])
    assert found == {**HERE, "seeds": [0, 1]}


def test_another_backend_machine_or_version_is_another_origin():
    newer = {**HERE, "versions": {**HERE["versions"], "keras": "3.16.0"}}
    found = origins([of(HERE, 0), of(THERE, 1), of(THERE, 2), of(newer, 3)])
    assert [place["seeds"] for place in found] == [[0], [1, 2], [3]]
    # A snapshot of the whole sentence.
    assert origin_words([of(HERE, 0), of(THERE, 1), of(THERE, 2)]) == (
        "by tfnorm 0.1.0, Keras 3.15.1, TensorFlow 2.21.0, NumPy 2.4.6, Python 3.11.7 on 1 core of P (seed 0); and "
        "by tfnorm 0.1.0 (0123456789ab), Keras 3.15.1, JAX 0.11.2, NumPy 2.4.6, Python 3.11.7 on G beside 16 cores of "
        "P (seeds 1, 2)"
    )


def test_a_backend_without_a_version_is_named_alone():
    assert backend_words({"backend": "torch", "torch": None}) == "PyTorch"
