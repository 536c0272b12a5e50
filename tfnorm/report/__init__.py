"""Pictures of comparisons, of trainings and of networks, and the pages that hold them."""

from tfnorm.report import plots
from tfnorm.report.palette import colour, styles
from tfnorm.report.plots import *  # noqa: F403

__all__ = [*plots.__all__, "colour", "styles"]
