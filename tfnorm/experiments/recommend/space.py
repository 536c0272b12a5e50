"""What a search may choose: norms, penalties, learning rate, batch size and dropout within bounds."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfnorm.errors import TfnormError
from tfnorm.spec import format, parse
from tfnorm.text import format_value, listed
from tfnorm.training.config import TrainConfig

#: A number that is fixed, or the bounds (low, high) of what is searched.
Bounds = float | Sequence[float]
#: A value that is fixed, or several to choose from.
Values = float | Sequence[float]

# What is tried by default. "gn" stands for gn:G with each of GROUPS that divides the channels of the network.
NORMS = ("bn", "gn", "ln", "ln:channel", "in", "none")
GROUPS = (2, 4, 8, 16, 32)
L1, L2 = (0.0, 1e-5, 1e-4, 1e-3), (0.0, 1e-5, 1e-4, 1e-3)
BATCH_SIZES = (16, 32, 64, 128)
DROPOUT = (0.0, 0.3)
# The learning rate is searched from this part of the recipe's to this multiple of it.
RATE_BELOW, RATE_ABOVE = 30.0, 10.0
STEP_OF_DROPOUT = 0.05
WORDS = {"learning_rate": "learning rate", "batch_size": "batch size", "dropout": "dropout"}


@dataclass(frozen=True)
class Space:
    """What is searched. What has one value only is fixed.

    Args:
        norms: Specs without weight standardization and penalties.
        ws: Whether weight standardization is tried, and whether it may be left out.
        l1: Factors of the L1 penalty.
        l2: Factors of the L2 penalty.
        learning_rate: The bounds, or None for the recipe's or the model's own.
        batch_size: Images per step; none for the recipe's.
        dropout: The bounds, or None for the recipe's or the architecture's.
    """

    norms: tuple[str, ...]
    ws: tuple[bool, ...] = (False, True)
    l1: tuple[float, ...] = L1
    l2: tuple[float, ...] = L2
    learning_rate: tuple[float, float] | None = None
    batch_size: tuple[int, ...] = BATCH_SIZES
    dropout: tuple[float, float] | None = None

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What has several values, with them."""
        found = {"norm": self.norms, "ws": self.ws, "l1": self.l1, "l2": self.l2, "batch_size": self.batch_size}
        return {key: values for key, values in found.items() if len(values) > 1}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """What is searched between two bounds."""
        found = {"learning_rate": self.learning_rate, "dropout": self.dropout}
        return {key: bounds for key, bounds in found.items() if bounds is not None and bounds[0] < bounds[1]}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Return the settings of a run as a trial of Optuna chooses them."""
        chosen = {key: trial.suggest_categorical(key, values) for key, values in self.choices.items()}
        for key, (low, high) in self.ranges.items():
            if key == "learning_rate":
                chosen[key] = trial.suggest_float(key, low, high, log=True)
            else:
                chosen[key] = trial.suggest_float(key, low, high, step=STEP_OF_DROPOUT)
        return self.settings(chosen)

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a run from what was chosen and what is fixed; rates have two digits.

        Example:
            >>> Space(("bn",), l2=(1e-4,), batch_size=(32,)).settings({"ws": True, "l1": 0.0, "learning_rate": 0.1234})
            {'norm': 'bn+ws+l2=1e-4', 'learning_rate': 0.12, 'batch_size': 32}
        """

        def of(key: str, values: Sequence[Any] | None) -> Any:
            return chosen.get(key, values[0] if values else None)

        spec = parse(of("norm", self.norms))
        ws = of("ws", self.ws) and not spec.info.of_the_model
        spec = replace(spec, weight_standardization=ws, l1=of("l1", self.l1), l2=of("l2", self.l2))
        rate, dropout = of("learning_rate", self.learning_rate), of("dropout", self.dropout)
        found = {
            "norm": format(spec),
            "learning_rate": None if rate is None else float(f"{rate:.2g}"),
            "batch_size": of("batch_size", self.batch_size),
            "dropout": None if dropout is None else round(dropout, 4),
        }
        return {key: value for key, value in found.items() if value is not None}

    def point(self, config: TrainConfig) -> dict[str, Any]:
        """Return where in the space a configuration lies, without what is outside it or not known."""
        spec = parse(config.norm)
        plain = replace(spec, weight_standardization=False, l1=0.0, l2=0.0)
        point: dict[str, Any] = {
            "norm": format(plain), "ws": spec.weight_standardization, "l1": spec.l1, "l2": spec.l2,
            "batch_size": config.batch_size, "learning_rate": config.learning_rate, "dropout": config.dropout,
        }  # fmt: skip
        inside = {key: point[key] for key, values in self.choices.items() if point[key] in values}
        for key, (low, high) in self.ranges.items():
            if point[key] is not None and low <= point[key] <= high:
                inside[key] = point[key]
        return inside

    def sentence(self) -> str:
        """Return what is searched, in words.

        Example:
            >>> Space(("bn", "ln"), (True,), (0.0,), (0.0, 1e-4), (0.01, 1.0), (32,)).sentence()
            'bn or ln; l2 0 or 1e-4; learning rate 0.01 to 1'
        """
        of = {key: listed([format_value(value) for value in values], "or") for key, values in self.choices.items()}
        parts = [of.get("norm", self.norms[0])]
        parts += ["with or without weight standardization"] * ("ws" in of)
        parts += [f"{key} {of[key]}" for key in ("l1", "l2") if key in of]
        parts += [f"{WORDS[key]} {low:g} to {high:g}" for key, (low, high) in self.ranges.items()]
        parts += [f"batch size {of[key]}" for key in ("batch_size",) if key in of]
        return "; ".join(parts)


def words_of(settings: Mapping[str, Any]) -> str:
    """Return a setting in words.

    Example:
        >>> words_of({"norm": "gn:4+l2=1e-4", "learning_rate": 0.05, "batch_size": 32})
        'gn:4+l2=1e-4, learning rate 0.05, batch size 32'
    """
    others = [f"{WORDS[key]} {settings[key]:g}" for key in WORDS if settings.get(key) is not None]
    return ", ".join([settings["norm"], *others])


def norms_to_try(norms: Iterable[str] | str | None, fits: Callable[[str], str], *, own_model: bool) -> tuple[str, ...]:
    """Return the norms that a search chooses from.

    Args:
        norms: Norm specs, where "gn" stands for several numbers of groups. By default those of `NORMS` that fit, after
            ``keep`` for a model of one's own.
        fits: Returns why a norm does not fit the network, "" if it does.
        own_model: Whether the network is a model of one's own.

    Raises:
        TfnormError: For specs that cannot be read, have penalties, are given twice, or do not fit.

    Example:
        >>> norms_to_try(["bn", "gn"], lambda norm: "" if norm in ("bn", "gn:2") else "too many", own_model=False)
        ('bn', 'gn:2')
    """
    usual = (*(("keep",) if own_model else ()), *NORMS)
    found: list[str] = []
    for text in [norms] if isinstance(norms, str) else usual if norms is None else norms:
        specs = [parse(each) for each in ([f"gn:{groups}" for groups in GROUPS] if text == "gn" else [text])]
        if specs[0].regularized or specs[0].weight_standardization:
            raise TfnormError(
                f"A norm of a search has no penalty and no +ws, which are searched beside it. Received: {str(text)!r}. "
                "Say in `l1`, `l2` and `ws` (--l1, --l2, --ws) what to try."
            )
        problems = {format(spec): fits(format(spec)) for spec in specs}
        if twice := [label for label in problems if label in found]:
            raise TfnormError(f"The norm {twice[0]!r} is given twice. Give each once.")
        if norms is not None and all(problems.values()):
            raise TfnormError(next(iter(problems.values())))
        found += [label for label, problem in problems.items() if not problem]
    if not found:
        raise TfnormError("There is nothing to search. Give at least one norm that fits the network, such as 'bn'.")
    return tuple(found)


def read_bounds(name: str, given: Any, limits: str, fits: Callable[[float], bool]) -> tuple[float, float]:
    """Return (low, high) from a number, which is fixed, or from two; ``fits`` says whether one is within ``limits``.

    Example:
        >>> [read_bounds("learning_rate", rate, "above 0", lambda v: v > 0) for rate in (0.1, (0.01, 1))]
        [(0.1, 0.1), (0.01, 1.0)]
    """
    found = _numbers(name, given)
    if not (len(found) in (1, 2) and all(map(fits, found)) and found[0] <= found[-1]):
        raise TfnormError(
            f"`{name}` must be a number {limits}, or two such bounds, the lower one first. Received: {name}={given!r}."
        )
    return found[0], found[-1]


def read_values(name: str, given: Any, *, whole: bool = False) -> tuple[Any, ...]:
    """Return the different values to choose from, of one or several that are given.

    Example:
        >>> read_values("l1", [0, 1e-4]), read_values("batch_size", 32, whole=True)
        ((0.0, 0.0001), (32,))
    """
    values = _numbers(name, given)
    if not values or len({*values}) < len(values) or any(v < whole or (whole and v % 1) for v in values):
        kind = "whole numbers of at least 1" if whole else "numbers of at least 0"
        raise TfnormError(f"`{name}` must be one or several different {kind}. Received: {name}={given!r}.")
    return tuple(map(int, values)) if whole else tuple(values)


def _numbers(name: str, given: Any) -> list[float]:
    """Return one or several finite numbers as floats."""
    several = [given] if isinstance(given, numbers.Real) else given
    try:
        found = [] if isinstance(several, str) else list(several)
    except TypeError:
        found = []
    if not found or any(isinstance(v, bool) or not isinstance(v, numbers.Real) or not math.isfinite(v) for v in found):
        raise TfnormError(f"`{name}` must be one or several numbers. Received: {name}={given!r}.")
    return [float(v) for v in found]
