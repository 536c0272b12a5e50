"""Ctrl-C at a moment of one's choice."""

from tfnorm.training.progress import Progress


class StopAfter(Progress):
    """Breaks a run off after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def epoch_ended(self, run, record):
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt
