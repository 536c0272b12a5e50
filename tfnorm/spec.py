"""Norm specifications: one small grammar for Python, the command line and TOML. Imports no Keras.

Grammar::

    SPEC     = NORM { "+" MODIFIER }
    NORM     = none | bn | bn:sync | bn:frozen | bn:frozen=all | ln | ln:channel | gn:GROUPS | gn:size=CHANNELS
             | in | rms | frn | keep
    MODIFIER = ws | l1=FACTOR | l2=FACTOR | l2norm=FACTOR

``keep`` is a model of your own as it is. ``bn:frozen`` is a batch norm that uses its moving statistics in training too
and updates none; with ``bn:frozen=all``, gamma and beta are not trained either.

The norms and their options are the rows of `tfnorm.norms.NORMS`.

``format`` writes the canonical form: the modifiers in the order above, and each factor as short as possible. ``parse``
reads what ``format`` writes back into an equal spec.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

from tfnorm.errors import SpecError, nearest, unknown, whole_number
from tfnorm.norms import NORMS, NormInfo

FACTORS = ("l1", "l2", "l2norm")
MODIFIERS = ("ws", *FACTORS)


@dataclass(frozen=True)
class NormSpec:
    """A normalization with its regularization, as a spec string writes it.

    Args:
        kind: One of `NORMS`.
        groups: Number of groups of a norm with groups, such as ``gn``. Defaults to None.
        group_size: Channels per group, in place of ``groups``. Defaults to None.
        variant: The variant of the norm, such as "sync" for ``bn:sync``. Defaults to "".
        weight_standardization: Whether the convolutions before the norms standardize their kernels.
        l1: Factor of the penalty l1 * sum(abs(w)).
        l2: Factor of the penalty l2 * sum(w ** 2).
        l2norm: Factor of the penalty l2norm * sqrt(sum(w ** 2)), for each tensor.

    Example:
        >>> parse("gn:4+l1=1e-4").groups
        4
        >>> str(NormSpec("bn", l1=5e-4))
        'bn+l1=5e-4'
    """

    kind: str
    groups: int | None = None
    group_size: int | None = None
    variant: str = ""
    weight_standardization: bool = False
    l1: float = 0.0
    l2: float = 0.0
    l2norm: float = 0.0

    def __post_init__(self) -> None:
        info = NORMS[self.kind]  # raises for an unknown norm
        if not info.groups and (self.groups is not None or self.group_size is not None):
            with_groups = " or ".join(repr(name) for name, other in NORMS.items() if other.groups)
            raise SpecError(
                f"Only {with_groups} has groups. Received: norm={self.kind!r}, groups={self.groups}, "
                f"group_size={self.group_size}. Leave the groups out."
            )
        if info.groups and (self.groups is None) == (self.group_size is None):
            raise SpecError(
                f"{self.kind!r} needs either a number of groups or a group size. "
                f"Received: groups={self.groups}, group_size={self.group_size}. {_how_to_write_groups(self.kind)}."
            )
        for word in ("groups", "group_size"):
            value = getattr(self, word)
            if value is not None:
                object.__setattr__(self, word, whole_number(word, value, error=SpecError))
        if self.variant and self.variant not in info.variants:
            if not info.variants:
                raise SpecError(f"{self.kind!r} has no variants. Received: variant={self.variant!r}.")
            raise SpecError(unknown(f"variant of {self.kind!r}", self.variant, info.variants))
        if self.weight_standardization and info.of_the_model:
            raise SpecError(
                f"{self.kind!r} leaves the layers of a model as they are, and '+ws' changes its convolutions. "
                f"Write {self.kind!r} alone, or name a norm, such as 'gn:8+ws'."
            )
        for word in FACTORS:
            value = getattr(self, word)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0:
                raise SpecError(f"`{word}` must be a finite number of at least 0. Received: {word}={value!r}.")
            # A float32 of NumPy means its few digits: 1e-4, not 9.999999747378752e-5.
            object.__setattr__(self, word, float(value if isinstance(value, (int, float)) else str(value)))

    def __str__(self) -> str:
        return format(self)

    @property
    def info(self) -> NormInfo:
        """What the norm is, in the variant of this spec."""
        info = NORMS[self.kind]
        return replace(info, **info.variants[self.variant].changes) if self.variant else info

    @property
    def regularized(self) -> bool:
        """Whether the spec has any penalty."""
        return any(getattr(self, word) for word in FACTORS)

    def weight_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each trainable weight of the norm, for images of ``shape`` (height, width, channels).

        Example:
            >>> parse("ln").weight_shapes((4, 4, 8))
            {'gamma': (4, 4, 8), 'beta': (4, 4, 8)}
        """
        return self._shapes(self.info.weights, shape)

    def moving_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight that is not trained, likewise."""
        return self._shapes(self.info.moving, shape)

    def _shapes(self, weights: Mapping[str, tuple[str, ...]], shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        sizes = dict(zip(("height", "width", "channels"), shape, strict=True), groups=self.groups_of(shape[-1]))
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in weights.items()}

    def groups_of(self, channels: int) -> int:
        """Return the number of groups in a layer of ``channels`` channels, which `check_groups` has passed."""
        if self.group_size is not None:
            return channels // self.group_size
        return self.groups or 1


def _factor(value: float) -> str:
    """Write a factor as short as possible: 5e-4, 0.05, 2."""
    number = Decimal(repr(value)).normalize()
    digits = "".join(map(str, number.as_tuple().digits))
    scientific = f"{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e{number.adjusted()}"
    plain = f"{number:f}"
    return scientific if len(scientific) < len(plain) + (value < 0.01) else plain


def format(spec: NormSpec) -> str:  # noqa: A001 - the pair of words is parse and format
    """Return the canonical string of ``spec``.

    Example:
        >>> format(NormSpec("gn", group_size=4, l2=0.0004, weight_standardization=True))
        'gn:size=4+ws+l2=4e-4'
    """
    text = spec.kind
    if spec.groups is not None:
        text += f":{spec.groups}"
    elif spec.group_size is not None:
        text += f":size={spec.group_size}"
    elif spec.variant:
        text += f":{spec.variant}"
    if spec.weight_standardization:
        text += "+ws"
    return text + "".join(f"+{word}={_factor(getattr(spec, word))}" for word in FACTORS if getattr(spec, word))


def parse(text: str | NormSpec, *, groups: int | None = None, group_size: int | None = None) -> NormSpec:
    """Read a spec string.

    Args:
        text: Such as ``"bn"``, ``"gn:4+l1=1e-4"``. A `NormSpec` is returned as it is.
        groups: Number of groups when ``text`` says ``gn`` without any.
        group_size: Channels per group, likewise.

    Raises:
        SpecError: Naming every bad token, its place and the nearest valid word.

    Example:
        >>> parse("gn", groups=2) == parse("gn:2")
        True
        >>> parse("gm:2")
        Traceback (most recent call last):
        tfnorm.errors.SpecError: Unknown norm 'gm' at character 1 of 'gm:2'. Did you mean 'gn'? \
Use one of: none, bn, ln, gn, in, rms, frn, keep.
    """
    if isinstance(text, NormSpec):
        if groups is None and group_size is None:
            return text
        text = format(text)
    if not isinstance(text, str):
        raise SpecError(f"A norm spec is a string such as 'gn:4+l1=1e-4'. Received: {text!r}.")
    if not text.strip():
        raise SpecError(f"The norm spec is empty. Use one of: {', '.join(NORMS)}.")
    problems: list[str] = []
    fields: dict[str, object] = {}
    place = 1
    for index, raw in enumerate(re.split(r"\+(?![0-9])", text)):  # a plus before a digit belongs to 1e+2
        token = raw.strip()
        where = f"at character {place + len(raw) - len(raw.lstrip())} of {text!r}"
        try:
            new = _norm(token, where, groups, group_size) if index == 0 else _modifier(token, where)
            repeated = [word for word in new if index and word in fields]
            if repeated:
                raise SpecError(f"{token!r} {where} sets {repeated[0]} a second time. Write it once.")
            fields.update(new)
        except SpecError as error:
            problems.append(str(error))
        place += len(raw) + 1
    if problems:
        raise SpecError(" ".join(problems))
    return NormSpec(**fields)  # type: ignore[arg-type]


def _norm(token: str, where: str, groups: int | None, group_size: int | None) -> dict[str, object]:
    """Read the part before the first plus."""
    kind, colon, variant = token.lower().partition(":")
    kind, variant = kind.strip(), re.sub(r"\s*=\s*", "=", variant.strip())
    if kind not in NORMS:
        raise SpecError(_unknown("norm", kind, where, NORMS))
    info, asked = NORMS[kind], {"groups": groups, "group_size": group_size}
    given = {word: value for word, value in asked.items() if value is not None}
    if colon and variant in info.variants:
        return {"kind": kind, "variant": variant, **given}
    if info.groups and colon:
        read = _groups(kind, variant, token, where)
        if not given.items() <= read.items():
            asked_for = ", ".join(f"{word}={value}" for word, value in given.items())
            raise SpecError(f"{token!r} {where} contradicts {asked_for}. Say the groups in one place only.")
        return {"kind": kind, **read}
    if info.groups and not given:
        raise SpecError(f"{kind!r} {where} needs groups. {_how_to_write_groups(kind)}, or pass groups=4.")
    if colon and not info.variants:
        raise SpecError(f"{kind!r} takes no option, but {variant!r} follows it {where}. Write {kind!r}.")
    if colon:
        raise SpecError(_unknown(f"option of {kind}", variant, where, info.variants))
    return {"kind": kind, **given}


def _groups(kind: str, text: str, token: str, where: str) -> dict[str, int]:
    """Read "4" or "size=4"."""
    word, equals, number = text.rpartition("=")
    if equals and word.strip() != "size":
        raise SpecError(_unknown(f"option of {kind}", word.strip(), where, ["size"]))
    if not re.fullmatch(r"[0-9]+", number.strip()) or int(number) < 1:
        raise SpecError(f"{text!r} in {token!r} {where} is no positive whole number. {_how_to_write_groups(kind)}.")
    return {"group_size" if equals else "groups": int(number)}


def _how_to_write_groups(kind: str) -> str:
    return f"Write {kind}:4 for 4 groups or {kind}:size=4 for 4 channels per group"


def _modifier(token: str, where: str) -> dict[str, object]:
    """Read one part after a plus."""
    word, equals, number = token.lower().partition("=")
    word = word.strip()
    if word not in MODIFIERS:
        raise SpecError(_unknown("modifier", word, where, MODIFIERS))
    if word == "ws":
        if equals:
            raise SpecError(f"'ws' takes no value, but {token!r} stands {where}. Write '+ws'.")
        return {"weight_standardization": True}
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise SpecError(f"{token!r} {where} needs a positive number. Write for example '{word}=1e-4'.")
    return {word: value}


def _unknown(kind: str, word: str, where: str, valid: Iterable[str]) -> str:
    valid = list(valid)
    guess = nearest(word, valid)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"Unknown {kind} {word!r} {where}.{hint} Use one of: {', '.join(valid)}."


def with_penalties(spec: NormSpec, *, l1: float = 0.0, l2: float = 0.0, l2norm: float = 0.0) -> NormSpec:
    """Return ``spec`` with the penalties beside it. A penalty with two different factors is refused.

    Example:
        >>> str(with_penalties(parse("bn"), l1=5e-4))
        'bn+l1=5e-4'
    """
    new: dict[str, float] = {}
    for word, value in (("l1", l1), ("l2", l2), ("l2norm", l2norm)):
        own = getattr(spec, word)
        if value and own and value != own:
            raise SpecError(f"The spec '{spec}' contradicts {word}={value}. Say {word} in one place only.")
        new[word] = value or own
    return replace(spec, **new)  # type: ignore[arg-type]


def parse_norm(text: str | NormSpec) -> NormSpec:
    """Read the spec of a norm alone, for a network whose other layers stay as they are.

    Raises:
        SpecError: Also for penalties, which would reach those layers, and for ``keep``, which changes nothing.

    Example:
        >>> str(parse_norm("gn:8+ws"))
        'gn:8+ws'
    """
    spec = parse(text)
    if spec.regularized:
        alone = replace(spec, l1=0.0, l2=0.0, l2norm=0.0)
        raise SpecError(
            "Penalties reach every weight of a network, and a conversion changes its norms only. "
            f"Received: '{spec}'. Write '{alone}', and set regularizers where they are wanted."
        )
    if spec.info.of_the_model:
        raise SpecError(f"'{spec}' changes no norm. Received: '{spec}' for a conversion. Name another norm.")
    return spec


def check_backend(spec: NormSpec, backend: Callable[[], str]) -> None:
    """Raise a `SpecError` if Keras's backend, which ``backend`` returns, cannot compute the norm of ``spec``."""
    able = spec.info.backends
    if able and (chosen := backend()) not in able:
        raise SpecError(
            f"The norm of '{spec}' needs one of Keras's backends {', '.join(able)}. Received: backend={chosen!r}. "
            f"Use another norm, or set KERAS_BACKEND={able[0]}."
        )


def divisors(number: int) -> list[int]:
    """Return the divisors of ``number`` in rising order."""
    return [d for d in range(1, number + 1) if number % d == 0]


def check_groups(norm: Any, channels: int, layer: str) -> None:
    """Raise a `SpecError` that names the layer and the valid counts if the groups of a spec or a norm do not fit."""
    for word in ("groups", "group_size"):
        value = getattr(norm, word)
        if value is not None and channels % value:
            raise SpecError(
                f"`{word}` must divide the number of channels. Received: {word}={value}, channels={channels} "
                f"at layer {layer!r}. Use one of {', '.join(map(str, divisors(channels)))}."
            )
