"""Experiments: comparisons, sweeps over grids, published comparisons, and the engines that train their runs."""
