"""What a comparison is about: the metric, its words, its unit, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tfnorm.errors import TfnormError, unknown
from tfnorm.text import cut, number, signed

# How many digits of a plain number, and of the spread of several, are written, and how many decimals at most.
DIGITS, DIGITS_OF_SPREAD, MOST_DECIMALS = 4, 2, 12
# Forms of the word for a run without a number: "a spec that diverged", "seeds that did not diverge".
BASE_FORM = {"diverged": "diverge", "failed": "fail"}


@dataclass(frozen=True)
class Metric:
    """What the verdict of a comparison is about.

    Args:
        key: Its name in the history of a run.
        name: What sentences, tables and pictures call it.
        direction: "max" if higher is better, "min" if lower is better.
        percent: If `True`, values are shares 0..1, shown in percent, and their differences are in points. If `False`,
            values are numbers without a unit.
        of_images: If `True`, the word for the images that were evaluated on stands before the name: "test accuracy".
        moment: At which moment of a run it is taken, in words.
        lost: What became of a run without a value, in a word: "diverged" or "failed".
        decimals: How many decimals are written; see `fitted`.
        bounds: The least and the largest value there can be, of plain numbers; shares lie between 0 and 1.

    Example:
        >>> ACCURACY.title(), ACCURACY.text(93.214), ACCURACY.difference(0.5)
        ('test accuracy', '93.21 %', '0.50 points')
        >>> iou = metric_of("val_iou")
        >>> iou.title(), iou.text(0.8125), iou.training
        ('val_iou', '0.8125', 'iou')
    """

    key: str = "val_accuracy"
    name: str = "accuracy"
    direction: str = "max"
    percent: bool = True
    of_images: bool = True
    moment: str = "after the last epoch"
    lost: str = "diverged"
    decimals: int = 2
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the accuracy of the test images."""
        return self.key == "val_accuracy" and self.percent

    @property
    def counts_images(self) -> bool:
        """Whether it is a share of the test images, which moves in steps of one image."""
        return self.percent and (self.is_accuracy or self.key.startswith("val_top_"))

    @property
    def scale(self) -> float:
        """What values are multiplied by to be shown."""
        return 100.0 if self.percent else 1.0

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is."""
        return -1 if self.direction == "min" else 1

    @property
    def training(self) -> str:
        """The key in the history of the same on the training images, "" where it has none."""
        return self.key.removeprefix("val_") if self.key.startswith("val_") else ""

    @property
    def slot(self) -> str:
        """What it is called as a key of JSON and of HTML."""
        return "accuracy" if self.is_accuracy else "metric"

    @property
    def column(self) -> str:
        """What it is called in the names of columns: "accuracy", or its name."""
        return self.key.removeprefix("val_") if self.of_images else self.name

    @property
    def last(self) -> str:
        """The column of tables for its value, such as "last_accuracy"."""
        return f"last_{self.column}"

    @property
    def best(self) -> str:
        """The column of tables for its value after the best epoch."""
        return f"best_{self.column}"

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value there can be, in the unit of tables."""
        return (0.0, 100.0) if self.percent else self.bounds

    @property
    def pattern(self) -> str:
        """The format of its numbers, as `format` takes it."""
        return f".{self.decimals}f"

    @property
    def unit(self) -> str:
        """What stands after a number: " %" or ""."""
        return " %" if self.percent else ""

    @property
    def of_differences(self) -> str:
        """What stands after a difference: " points" or ""."""
        return " points" if self.percent else ""

    @property
    def highest(self) -> str:
        """The word for the best value of several: "highest" or "lowest"."""
        return "lowest" if self.sign < 0 else "highest"

    @property
    def most(self) -> str:
        """What the best of several reaches: "the most" or "the least"."""
        return "the least" if self.sign < 0 else "the most"

    @property
    def more(self) -> str:
        """What is better, in a word: "more" or "less"."""
        return "less" if self.sign < 0 else "more"

    @property
    def below(self) -> str:
        """What is worse, in a word: "below" or "above"."""
        return "above" if self.sign < 0 else "below"

    @property
    def lower(self) -> str:
        """The same of two values: "lower" or "higher"."""
        return "higher" if self.sign < 0 else "lower"

    @property
    def value(self) -> str:
        """The word for one of its values: "an accuracy" or "a value"."""
        return "an accuracy" if self.is_accuracy else "a value"

    @property
    def lose(self) -> str:
        """The base form of `lost`."""
        return BASE_FORM[self.lost]

    def title(self, images: str = "test") -> str:
        """Return what it is called in full: "test accuracy", or its name."""
        return f"{images} {self.name}" if self.of_images else self.name

    def heading(self, images: str = "test") -> str:
        """Return the heading of a column of it, with the unit."""
        return f"{self.title(images)}{self.unit}"

    def gap(self, images: str = "test") -> str:
        """Return what the difference between training and test is: "training minus test accuracy"."""
        return f"training minus {self.title(images)}" if self.of_images else f"{self.training} minus {self.key}"

    def curves(self, images: str = "test") -> tuple[str, str]:
        """Return what the curves of training and test are called: their keys, or the images that they are of."""
        return ("training", images) if self.of_images else (self.training, self.key)

    def axis(self, name: str) -> str:
        """Return the title of an axis."""
        return f"{name} (%)" if self.percent else name

    def number(self, value: float) -> str:
        """Return a value in the unit of tables, without the unit."""
        return number(value, self.pattern)

    def text(self, value: float) -> str:
        """Return a value in the unit of tables, with the unit."""
        return f"{self.number(value)}{self.unit}"

    def difference(self, value: float) -> str:
        """Return the size of a difference, with the unit."""
        return f"{self.number(value)}{self.of_differences}"

    def signed(self, value: float) -> str:
        """Return a difference with its sign; see `tfnorm.text.signed`."""
        return signed(value, self.decimals)

    def with_spread(self, mean: float, std: float) -> str:
        """Return mean ± standard deviation, the latter if it is known."""
        return self.number(mean) + (f" ± {self.number(std)}" if math.isfinite(std) else "")

    def cut(self, low: float, high: float) -> tuple[float, float]:
        """Return the ends of an interval, cut at what there can be; NaN where there is none."""
        return cut(low, high, *self.ends)

    def best_of(self, values: Iterable[float]) -> float:
        """Return the best of values, at least one."""
        return self.sign * max(self.sign * value for value in values)

    def fitted(self, values: Iterable[float]) -> Metric:
        """Return the metric with as many decimals as show values and what they differ by; percent have two.

        Example:
            >>> metric_of("val_iou").fitted([0.81, 0.79]).text(0.8), metric_of("mse").fitted([25040, 25100]).text(25040)
            ('0.8000', '25040')
        """
        known = sorted(abs(value) for value in values if math.isfinite(value) and value)
        if self.percent or not known:
            return self
        usual, spread = known[len(known) // 2], known[-1] - known[0]
        decimals = DIGITS - 1 - math.floor(math.log10(usual))
        if spread:
            # Rounding alone makes a spread, too, which more decimals would show.
            wanted = DIGITS_OF_SPREAD - 1 - math.floor(math.log10(spread))
            decimals = max(decimals, min(wanted, decimals + DIGITS))
        return replace(self, decimals=min(max(decimals, 0), MOST_DECIMALS))


ACCURACY = Metric()


def metric_of(key: str, direction: str = "max") -> Metric:
    """Return the metric of a name in histories: the test accuracy for "val_accuracy", else a number under its own name.

    Args:
        key: The name, such as "val_iou" or "val_loss".
        direction: "max" if higher is better, "min" if lower is better.

    Raises:
        TfnormError: If the name is no text, or the direction is neither of them or not that of the metric.
    """
    if not isinstance(key, str) or not key.strip() or not key.isprintable():
        raise TfnormError(f"`metric` must be a name, such as 'val_accuracy' or 'val_loss'. Received: metric={key!r}.")
    if direction not in ("max", "min"):
        raise TfnormError(unknown("direction", direction, ["max", "min"]))
    key = key.strip()
    if key == ACCURACY.key:
        if direction == "min":
            raise TfnormError(
                "Higher is better for 'val_accuracy', a share of images. Received: direction='min'. Leave the "
                "direction out, or give an error another name, such as 'val_error'."
            )
        return ACCURACY
    if direction == "max" and key.endswith("loss"):
        raise TfnormError(
            f"Lower is better for a loss. Received: metric={key!r} with direction='max'. Give direction='min', or "
            "another name if it is no loss."
        )
    return Metric(key, key, direction, percent=False, of_images=False, decimals=DIGITS)
