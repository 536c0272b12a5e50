"""Graphs that are traced for training leave no memory behind."""

import textwrap
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import tensorflow_only

from tfnorm import ArchSpec, build
from tfnorm.models.architectures import Conv, GlobalPool
from tfnorm.ops import graphs_let_go

pytestmark = tensorflow_only

# A ReLU and a dropout after one norm, a dropout alone after the other.
SMALL = ArchSpec(
    "small",
    "two convolutions",
    (8, 8, 1),
    (Conv(8), Conv(16, parts=("norm", "dropout")), GlobalPool(), Conv(None, 1, parts=())),
)
X = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1)).astype("float32")
Y = np.arange(32) % 10


def trained(spec, inside):
    """Return the losses of a network trained inside a context, and how its step runs its compiled passes."""
    keras.utils.set_random_seed(0)
    model = build(SMALL, norm=spec, seed=0, dropout=0.1)
    with inside():
        losses = model.fit(X, Y, batch_size=16, epochs=2, verbose=0, shuffle=False).history["loss"]
        graph = tf.function(model.train_step).get_concrete_function((tf.constant(X[:16]), tf.constant(Y[:16]))).graph
    compiled = {each.signature.name for each in graph.as_graph_def().library.function if each.attr["_XlaMustCompile"].b}
    operations = graph.get_operations()
    called = sum("PartitionedCall" in op.type and op.get_attr("f").name in compiled for op in operations)
    return losses, called, sum(op.type == "XlaLaunch" for op in operations)


@pytest.mark.matrix
@pytest.mark.parametrize("spec", ["bn", "gn:2+ws"])
def test_passes_that_are_launched_give_the_same_bits(spec):
    losses, called, launched = trained(spec, nullcontext)
    assert called and not launched
    assert trained(spec, graphs_let_go) == (losses, 0, called)


@pytest.mark.matrix
def test_a_graph_that_is_set_up_again_keeps_nothing(run_python):
    """TensorFlow would keep 7 MB each time that the graph of this network is set up."""
    code = """
        import ctypes, gc
        import keras, numpy as np
        from tensorflow.python.eager import context
        from tfnorm import build
        from tfnorm.ops import graphs_let_go

        class Counts(ctypes.Structure):
            _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

        library = ctypes.CDLL(None)
        if not hasattr(library, "mallinfo2"):  # of glibc
            print(0)
            raise SystemExit
        library.mallinfo2.restype = Counts

        def used():
            gc.collect()
            counts = library.mallinfo2()
            return counts.e + counts.h

        x, y = np.zeros((64, 28, 28, 1), "float32"), np.arange(64) % 10
        model = build(norm="gn:2", seed=0)
        with graphs_let_go():
            for time in range(5):
                model.fit(x, y, batch_size=32, verbose=0)
                context.context().clear_kernel_cache()  # as keras.backend.clear_session does
                if time == 1:
                    first = used()
        print(used() - first)
    """
    assert int(run_python(textwrap.dedent(code)).splitlines()[-1]) < 3 * 2**20
