"""tfnorm finds out which normalization and which regularization a convolutional network should use.

Names are imported when they are first used, so that ``import tfnorm`` is immediate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tfnorm._version import __version__

if TYPE_CHECKING:
    from tfnorm import analysis, callbacks, checks, convert, datasets, layers, regularizers, reporting
    from tfnorm.checks.run import check
    from tfnorm.datasets import list_datasets
    from tfnorm.experiments.collect import report
    from tfnorm.experiments.comparison.comparison import Comparison
    from tfnorm.experiments.comparison.run import compare
    from tfnorm.experiments.published.reproduction import reproduce
    from tfnorm.experiments.recommend.result import Recommendation
    from tfnorm.experiments.recommend.run import recommend
    from tfnorm.experiments.study.study import Study
    from tfnorm.experiments.sweep.run import sweep
    from tfnorm.experiments.sweep.sweep import Sweep
    from tfnorm.models.architectures import ArchSpec
    from tfnorm.models.builder import build
    from tfnorm.spec import NormSpec
    from tfnorm.training.recipe.recipes import Recipe
    from tfnorm.training.runs import Run
    from tfnorm.training.trainer import train

__all__ = [
    "ArchSpec", "Comparison", "NormSpec", "Recipe", "Recommendation", "Run", "Study", "Sweep", "__version__",
    "analysis", "build", "callbacks", "check", "checks", "compare", "convert", "datasets", "layers",
    "list_architectures", "list_datasets", "list_norms", "recommend", "regularizers", "report", "reporting",
    "reproduce", "sweep", "train",
]  # fmt: skip

_MEMBERS = {
    "ArchSpec": "tfnorm.models.architectures",
    "Comparison": "tfnorm.experiments.comparison.comparison",
    "NormSpec": "tfnorm.spec",
    "Recipe": "tfnorm.training.recipe.recipes",
    "Recommendation": "tfnorm.experiments.recommend.result",
    "Run": "tfnorm.training.runs",
    "Study": "tfnorm.experiments.study.study",
    "Sweep": "tfnorm.experiments.sweep.sweep",
    "build": "tfnorm.models.builder",
    "check": "tfnorm.checks.run",
    "compare": "tfnorm.experiments.comparison.run",
    "list_datasets": "tfnorm.datasets",
    "recommend": "tfnorm.experiments.recommend.run",
    "report": "tfnorm.experiments.collect",
    "reproduce": "tfnorm.experiments.published.reproduction",
    "sweep": "tfnorm.experiments.sweep.run",
    "train": "tfnorm.training.trainer",
}
_MODULES = ("analysis", "callbacks", "checks", "convert", "datasets", "layers", "regularizers", "reporting")


def list_architectures() -> list[str]:
    """Return the names that `build` takes as ``arch``.

    Example:
        >>> list_architectures()[0]
        'mnist_7k'
    """
    from tfnorm.models.architectures import ARCHITECTURES  # start-up

    return list(ARCHITECTURES)


def list_norms() -> list[str]:
    """Return the names of the norms. `tfnorm.spec` says what may follow each.

    Example:
        >>> list_norms()
        ['none', 'bn', 'ln', 'gn', 'in', 'rms', 'frn', 'keep']
    """
    from tfnorm.norms import NORMS  # start-up

    return list(NORMS)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _MODULES:
        return import_module(f"tfnorm.{name}")
    if name in _MEMBERS:
        return getattr(import_module(_MEMBERS[name]), name)
    raise AttributeError(f"module 'tfnorm' has no attribute {name!r}. Public names: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
