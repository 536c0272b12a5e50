"""What is wrong with the norms and penalties of a model, said while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tfnorm.callbacks.base import Callback
from tfnorm.checks.families.penalties import in_the_loss
from tfnorm.checks.finding import Finding
from tfnorm.checks.registry import ignored_of
from tfnorm.checks.run import STATIC, check, finding_of
from tfnorm.errors import whole_number

PENALTY = "penalty-dominates"


class NormWatch(Callback):
    """Say what is wrong with the norms and penalties of a model, each thing once, while it trains.

    When training begins, it says the warnings of `tfnorm.check` that need no data, for the number of steps that are
    planned. After epochs it looks at what has changed: gammas near 0, and after the first one at how much of the loss
    is the penalty. Training is left as it is.

    Args:
        every: Look after every so many epochs, at least 1. Defaults to 1.
        ignore: Rules that are left out, see `tfnorm.check`.
        verbose: Whether to print what is found. Defaults to True.

    Attributes:
        findings: What was found, a list of `tfnorm.checks.Finding`.

    Raises:
        TfnormError: If there is no such rule.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> model = Sequential([Input((8,)), layers.Dense(4), layers.BatchNormalization(name="norm"), layers.ReLU()])
        >>> model.compile("sgd", "mse")
        >>> watch = NormWatch(verbose=False)
        >>> history = model.fit(np.ones((16, 8)), np.ones((16, 4)), verbose=0, callbacks=[watch])
        >>> [(finding.rule, *finding.layers) for finding in watch.findings]
        [('slow-statistics', 'norm')]
    """

    def __init__(self, *, every: int = 1, ignore: Iterable[str] = (), verbose: bool = True) -> None:
        super().__init__()
        self.every = whole_number("every", every)
        self.ignore = [ignore] if isinstance(ignore, str) else list(ignore)
        ignored_of(self.ignore)
        self.verbose = verbose
        self.findings: list[Finding] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Say the warnings that the model alone gives."""
        self.findings = []
        epochs, steps = (self.params.get(key) for key in ("epochs", "steps"))
        planned = epochs * steps if epochs and steps else None
        self._say(check(self.model, steps=planned, ignore=self.ignore, needs=STATIC).warnings)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Say what the epoch has changed."""
        if (epoch + 1) % self.every == 0:
            self._say(check(self.model, ignore=self.ignore, needs=("weights",)))
        if epoch == 0 and logs and "loss" in logs and None not in ignored_of(self.ignore).get(PENALTY, ()):
            found = in_the_loss(self.model, float(logs["loss"]))
            self._say(finding_of(PENALTY, each) for each in found)

    def _say(self, findings: Iterable[Finding]) -> None:
        known = {finding.rule for finding in self.findings}
        new = [finding for finding in findings if finding.rule not in known]
        self.findings += new
        for finding in new if self.verbose else ():
            print(finding, flush=True)
