"""Pictures of comparisons, of trainings and of networks, and the pages that hold them."""

from tfnorm.reporting import plots
from tfnorm.reporting.palette import colour, styles
from tfnorm.reporting.plots import *  # noqa: F403

__all__ = [*plots.__all__, "colour", "styles"]
