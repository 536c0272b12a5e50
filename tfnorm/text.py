"""Numbers and lists as sentences, tables and pictures write them."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MINUS, DASH = "−", "–"
LEAST_P = 1e-4


def signed(value: float, decimals: int = 2) -> str:
    """Return a difference with its sign, which zero has none of, or a dash if it is not finite.

    Example:
        >>> signed(-1.394), signed(0.25), signed(-0.001)
        ('−1.39', '+0.25', '0.00')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{value:+.{decimals}f}"
    return text.replace("-", MINUS) if text.strip("+-0.") else text[1:]


def p_text(value: float, level: float = 0.05) -> str:
    """Return what stands after "p": two digits, or a bound, so that rounding hides no result below ``level``.

    Example:
        >>> p_text(0.0028), p_text(0.049999), p_text(0.05), p_text(1e-7)
        ('= 0.0028', '< 0.05', '= 0.05', '< 0.0001')
    """
    if value < LEAST_P:
        return f"< {LEAST_P:f}".rstrip("0")
    text = f"{value:.2g}"
    return f"< {level:g}" if value < level <= float(text) else f"= {text}"


def number(value: float, pattern: str = ".2f") -> str:
    """Return a number in a format, or a dash if it is not finite.

    Example:
        >>> number(1234.5, ",.0f"), number(float("nan"))
        ('1,234', '–')
    """
    return format(value, pattern) if math.isfinite(value) else DASH


def cut(low: float, high: float, least: float = 0.0, most: float = 100.0) -> tuple[float, float]:
    """Return the ends of an interval cut at what there can be, by default percent; NaN where there is none."""
    return (max(low, least), min(high, most)) if math.isfinite(low) else (math.nan, math.nan)


def format_value(value: Any) -> str:
    """Return a value of an axis as it is written.

    Example:
        >>> [format_value(value) for value in (64.0, 0.1 + 0.2, 0.1000001, 2.5e-4, "gn:2")]
        ['64', '0.3', '0.1000001', '2.5e-4', 'gn:2']
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if value and abs(value) < 0.01:
        digits, exponent = f"{value:.9e}".split("e")
        return f"{float(digits):.10g}e{int(exponent)}"
    return f"{value:.12g}"


def seconds_of(text: str) -> float | None:
    """Return the seconds of a time such as "20m" or "1h30m", None for what is none.

    Example:
        >>> seconds_of("90s"), seconds_of("1h30m"), seconds_of("20")
        (90.0, 5400.0, None)
    """
    if not re.fullmatch(r"(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?", text.strip()):
        return None
    parts = re.findall(r"([\d.]+)([hms])", text)
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts) or None


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as in a sentence.

    Example:
        >>> listed(["bn"]), listed(["bn", "gn:2", "ln"]), listed(["bn", "ln"], "or")
        ('bn', 'bn, gn:2 and ln', 'bn or ln')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def is_or_are(words: Sequence[str]) -> str:
    """Return the verb that goes with so many words."""
    return "is" if len(words) == 1 else "are"


def they_are(words: Sequence[str]) -> str:
    """Return words as in a sentence, with the verb that goes with them.

    Example:
        >>> they_are(["bn"]), they_are(["bn", "ln"])
        ('bn is', 'bn and ln are')
    """
    return f"{listed(words)} {is_or_are(words)}"


def ranged(numbers: Iterable[int]) -> str:
    """Return a number, or the least and the largest of several.

    Example:
        >>> ranged([1200, 1200]), ranged([20, 5, 10])
        ('1,200', '5 to 20')
    """
    found = list(numbers)
    low, high = min(found), max(found)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def counted(numbers: Iterable[int], word: str) -> str:
    """Return numbers with their word, in the plural if one of them is more than one.

    Example:
        >>> counted([1], "run"), counted([1200], "run"), counted([1, 3], "seed")
        ('1 run', '1,200 runs', '1 to 3 seeds')
    """
    found = list(numbers)
    return f"{ranged(found)} {word}{'' if max(found) == 1 else 's'}"
