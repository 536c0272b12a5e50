"""The receptive field along one axis, exactly: which pixels each unit reads. Imports no Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

Span = tuple[float, float]


@dataclass(frozen=True)
class Field:
    r"""Which pixels of the input the units of a layer read, along one axis.

    Unit ``i`` reads the pixels from ``first(i)`` to ``last(i)``, counted from 0 and as if the image went on beyond its
    edges, so that padding counts as pixels. Where layers enlarge (transposed convolution, upsampling) the field depends
    on the place, with a period of :math:`P` units in which it moves on by :math:`S` pixels:

    .. math:: first(i + P) = first(i) + S, \quad last(i + P) = last(i) + S, \quad jump = S / P

    Attributes:
        spans: First and last pixel of the units 0 to P - 1; None for a unit that reads no pixel.
        shift: S.
        length: Number of units, None if unknown.
        reach: First and last pixel that every unit reads besides, through a gate such as squeeze-and-excitation.
        placed: Whether the place of unit 0 is known. With padding "same" and a stride it depends on the image's size.
    """

    spans: tuple[Span | None, ...] = ((0, 0),)
    shift: Fraction | int = 1
    length: int | None = None
    reach: Span | None = None
    placed: bool = True

    def at(self, unit: int) -> Span | None:
        """Return first and last pixel that a unit reads without ``reach``; None if it reads none."""
        turns, residue = divmod(unit, len(self.spans))
        span = self.spans[residue]
        if span is None:
            return None
        return span[0] + turns * self.shift, span[1] + turns * self.shift

    @property
    def jump(self) -> Fraction | int:
        """Pixels from the field of one unit to that of the next, on average; ``Fraction(1, 2)`` after doubling."""
        return _whole(Fraction(self.shift) / len(self.spans))

    @property
    def local(self) -> int | float:
        """Size in pixels of the largest unit's field, without ``reach``; ``math.inf`` if unknown how many."""
        return max((_size(span) for span in self.spans), default=0)

    @property
    def size(self) -> int | float:
        """Size in pixels of the largest unit's field; ``math.inf`` if it depends on the size of the image."""
        if self.reach is None:
            return self.local
        if self.length is None:
            return math.inf
        first, last = self.reach
        # Of units apart from what they reach, such as those far from a row that is added to all rows.
        apart = [span for span in self._ends() if span is not None and not first <= sum(span) / 2 <= last]
        return max(self.local, *(_size(_hull((self.reach, span))) for span in (self.reach, *apart)))

    @property
    def start(self) -> float | None:
        """Centre of unit 0's field in pixels from the image's edge (pixel 0 lies from 0 to 1); None if unknown."""
        span = self.at(0)
        if span is None or not self.placed or math.inf in span:
            return None
        return float(span[0] + span[1] + 1) / 2

    @property
    def padding(self) -> int | None:
        """How many pixels beyond the image's edge unit 0's field begins; None if unknown."""
        return None if self.start is None else -int(self.at(0)[0])  # type: ignore[index]

    def window(
        self, size: int, stride: int = 1, dilation: int = 1, *, before: int = 0, length: int | None = None
    ) -> Field:
        """Return the field of ``length`` units after a window of ``size`` taps.

        Unit ``i`` reads the units ``i * stride - before + dilation * t`` with t < ``size``: ``before`` is the padding.

        Example:
            >>> field = Field(length=32).window(3, before=1, length=32).window(2, 2, length=16)
            >>> field.size, field.jump, field.start, field.padding
            (4, 2, 1.0, 1)
        """

        def taps(unit: int) -> Iterable[int]:
            return (unit * stride - before + dilation * tap for tap in range(size))

        period = len(self.spans) // math.gcd(len(self.spans), stride)
        return self._with(period, self.shift * (stride * period // len(self.spans)), length, taps)

    def transposed(
        self, size: int, stride: int, dilation: int = 1, *, before: int = 0, length: int | None = None
    ) -> Field:
        """Return the field of ``length`` units after a transposed window of ``size`` taps.

        Unit ``i`` reads each unit ``j`` with ``j * stride = i + before - dilation * t`` and t < ``size``: ``before``
        units are cut off at the front.
        """

        def taps(unit: int) -> Iterable[int]:
            places = (unit + before - dilation * tap for tap in range(size))
            return (place // stride for place in places if place % stride == 0)

        return self._with(len(self.spans) * stride, self.shift, length, taps)

    def resampled(self, old: int, new: int, taps: Callable[[int], Iterable[int]]) -> Field:
        """Return the field after a change from ``old`` to ``new`` units.

        ``taps`` returns the units that a unit reads; those of ``i + new`` are ``old`` further than those of ``i``.
        """
        common = math.gcd(old, new)
        step_in, step_out = old // common, new // common
        repeats = len(self.spans) // math.gcd(len(self.spans), step_in)
        shift = self.shift * (step_in * repeats // len(self.spans))
        return self._with(step_out * repeats, shift, new, taps)

    def gathered(self) -> Field:
        """Return the field of one unit that reads all units. Its jump remains, as that of a window without stride."""
        hull = (-math.inf, math.inf) if self.length is None else _hull(self._ends())
        return replace(self, spans=(hull,), shift=self.jump, length=1)

    def with_reach(self, other: Field) -> Field:
        """Return the field of units that each read all that ``other`` reads besides their own."""
        everything = other.gathered()
        return replace(self, reach=_hull((self.reach, everything.reach, *everything.spans)))

    def _ends(self) -> list[Span | None]:
        """Return the spans of the first and the last period, which hold both ends, as fields move on steadily."""
        length = self.length or 0
        period = min(len(self.spans), length)
        return [self.at(unit) for unit in (*range(period), *range(length - period, length))]

    def _with(
        self, period: int, shift: Fraction | int, length: int | None, taps: Callable[[int], Iterable[int]]
    ) -> Field:
        spans = tuple(_hull(self.at(tap) for tap in taps(unit)) for unit in range(period))
        return replace(_shortest(spans, shift), length=length, reach=self.reach, placed=self.placed)


def merged(fields: Sequence[Field]) -> Field:
    """Return the field of units that each read one unit of every field: the pixels from the first to the last.

    One unit is broadcast over many, and becomes their ``reach``. If jumps differ, or a place is unknown, the largest
    field counts.
    """
    gates = [field for field in fields if field.length == 1]
    paths = [field for field in fields if field.length != 1]
    if not paths:
        paths, gates = gates, []
    reading = [path for path in paths if path.size] or paths[:1]
    result = max(reading, key=lambda path: path.size)
    if result.length == 1:
        result = replace(result, spans=(_hull(path.at(0) for path in reading),), shift=result.jump)
    elif all(path.placed and path.jump == result.jump for path in reading):
        period = math.lcm(*(len(path.spans) for path in reading))
        spans = tuple(_hull(path.at(unit) for path in reading) for unit in range(period))
        result = replace(_shortest(spans, result.jump * period), length=result.length)
    placed, reach = all(path.placed for path in reading), _hull(path.reach for path in reading)
    result = replace(result, placed=placed, reach=reach)
    for gate in gates:
        result = result.with_reach(gate)
    return result


def same_padding(length: int | None, size: int, stride: int, dilation: int = 1) -> tuple[int, bool]:
    """Return the padding that padding "same" adds before ``length`` units, and whether it is known.

    With a stride it depends on the length, which is None if it is not known.
    """
    extent = dilation * (size - 1) + 1
    lengths = range(extent + stride, extent + 2 * stride) if length is None else (length,)
    found = {max((-(-n // stride) - 1) * stride + extent - n, 0) // 2 for n in lengths}
    # The unknown case is that of a length which the stride divides.
    return (max(extent - stride, 0) // 2 if length is None else found.pop()), length is not None or len(found) == 1


def _hull(spans: Iterable[Span | None]) -> Span | None:
    known = [span for span in spans if span is not None]
    return (min(span[0] for span in known), max(span[1] for span in known)) if known else None


def _size(span: Span | None) -> int | float:
    if span is None:
        return 0
    size = span[1] - span[0] + 1
    return size if math.isinf(size) else int(size)


def _whole(value: Fraction | int) -> Fraction | int:
    value = Fraction(value)
    return value.numerator if value.denominator == 1 else value


def _shortest(spans: tuple[Span | None, ...], shift: Fraction | int) -> Field:
    """Return the field with its smallest period."""
    whole = Field(spans, _whole(shift))
    for period in range(1, len(spans)):
        if len(spans) % period == 0:
            short = Field(spans[:period], _whole(Fraction(shift) * period / len(spans)))
            if all(short.at(unit) == spans[unit] for unit in range(period, len(spans))):
                return short
    return whole
