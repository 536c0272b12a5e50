"""Norm mathematics, apart from the layers that hold its weights, and what tfnorm asks of Keras's backend.

Nothing here imports Keras until a function that needs it is called.
"""

from tfnorm.ops.backend import (
    accelerator_name,
    compiled,
    computes_natively,
    graphs_let_go,
    records_gradients,
    replicas_in_step,
    screen_closed,
    start_quietly,
    use_deterministic_operations,
    without_retracing_warnings,
)
from tfnorm.ops.dispatch import compiles_for, kernels, kernels_for

__all__ = [
    "accelerator_name", "compiled", "compiles_for", "computes_natively", "graphs_let_go", "kernels", "kernels_for",
    "records_gradients", "replicas_in_step", "screen_closed", "start_quietly", "use_deterministic_operations",
    "without_retracing_warnings",
]  # fmt: skip
