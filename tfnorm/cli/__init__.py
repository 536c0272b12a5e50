"""The command line: parse, call, print. Nothing here imports Keras before the arguments are known to be good."""

from tfnorm.cli import experiments, grids, networks, recommend  # noqa: F401  (in the order of --help)
from tfnorm.cli._app import app, main

__all__ = ["app", "main"]
