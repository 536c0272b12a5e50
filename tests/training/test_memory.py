"""Memory that runs out is a sentence, and the run can go on."""

import pytest

from tfnorm.errors import RunError, TfnormError, is_memory_error
from tfnorm.training import trainer
from tfnorm.training.config import TrainConfig
from tfnorm.training.trainer import memory_in_words, train

SAID = [
    MemoryError("std::bad_alloc"),
    MemoryError(),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."),  # JAX
    RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB"),  # PyTorch
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),  # PyTorch
    ValueError("OOM when allocating tensor with shape[256,64,224,224]"),  # TensorFlow
]


def tensorflow_error():
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory")


@pytest.mark.parametrize("error", [*SAID, tensorflow_error])
def test_memory_that_runs_out_is_told_with_sizes_and_the_remedies(error, few_digits, tmp_path):
    error = error() if callable(error) else error
    config = TrainConfig(norm="gn:2", batch_size=64).resolved()
    assert is_memory_error(error)
    with pytest.raises(RunError) as caught, memory_in_words(config, few_digits(8, 4), tmp_path):
        raise error
    text = str(caught.value)
    facts = ("64 images of 28x28x1", "--batch-size", "--image-size", "mnist_7k", "gn:2", str(tmp_path), "free")
    assert all(fact in text for fact in facts) and "\n" not in text


@pytest.mark.parametrize(
    "error", [ValueError("Out of range"), TfnormError("room for memory"), RuntimeError("zoom"), KeyboardInterrupt()]
)
def test_other_errors_stay_what_they_are(error, few_digits, tmp_path):
    with pytest.raises(type(error)) as caught:
        with memory_in_words(TrainConfig(norm="bn").resolved(), few_digits(8, 4), tmp_path):
            raise error
    assert caught.value is error


def test_a_run_goes_on_after_memory_ran_out(few_digits, tmp_path, monkeypatch):
    data, settings = few_digits(32, 8), {"arch": "tiny", "epochs": 1, "augmentation": "none", "out": tmp_path / "run"}
    finish = trainer._Trainer.finish

    def full(*_):
        raise MemoryError("std::bad_alloc")

    monkeypatch.setattr(trainer._Trainer, "finish", full)
    with pytest.raises(RunError, match="bad_alloc"):
        train("gn:2", data=data, **settings)
    monkeypatch.setattr(trainer._Trainer, "finish", finish)
    run = train("gn:2", data=data, **settings)
    assert run.status == "finished" and len(run.history) == 1
