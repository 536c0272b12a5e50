"""Comparing normalizations: ``tfnorm.compare(["gn:2", "ln"], seeds=3)``.

The package is callable, because the function and the package that holds it share a name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See `tfnorm.compare.comparison.compare`."""
        from tfnorm.compare.comparison import compare

        return compare(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
