"""One fixed colour for each family of normalizations, told apart by colour-blind readers too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

# Okabe and Ito's colours (jfly.uni-koeln.de/color), sky blue and orange darkened to show as thin lines on white.
FAMILIES = {
    "none": "#5F5F5F",
    "bn": "#0072B2",
    "ln": "#D55E00",
    "gn": "#009E73",
    "in": "#B8508F",
    "rms": "#35A0DA",
    "frn": "#D08F00",
}
OTHERS = ("#6A3D9A", "#8C5A3C", "#1F3A5F", "#7A8B00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
# How far a family's first, second, ... label is blended towards black (negative) or white (positive).
SHADES = (0.0, -0.45, 0.35, -0.8, 0.52, -0.22, 0.17, -0.63)


@dataclass(frozen=True)
class Style:
    """How the curves of one label are drawn: a colour "#RRGGBB" and a Matplotlib marker."""

    colour: str
    marker: str


def colour(label: str, shade: int = 0) -> str:
    """Return the colour of a label, "#RRGGBB".

    Args:
        label: A norm specification such as ``"gn:2"``; other names get one of a few further colours.
        shade: 0 for the family's own colour; 1, 2, ... for shades of it.

    Example:
        >>> colour("bn+l1=5e-4"), colour("bn")
        ('#0072B2', '#0072B2')
    """
    name = re.split(r"[:+\s]", label.strip(), maxsplit=1)[0].lower()
    base = FAMILIES.get(name) or OTHERS[sum(name.encode()) % len(OTHERS)]
    amount = SHADES[shade % len(SHADES)]
    target = 255 if amount > 0 else 0
    channels = [int(base[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (target - c) * abs(amount)):02X}" for c in channels)


def styles(labels: Iterable[str]) -> dict[str, Style]:
    """Return a style for each label: labels of one family differ in shade, and all neighbours in marker.

    Example:
        >>> [style.colour for style in styles(["bn", "bn+l1=5e-4", "ln"]).values()]
        ['#0072B2', '#003F62', '#D55E00']
    """
    seen: Counter[str] = Counter()
    result = {}
    for position, label in enumerate(dict.fromkeys(labels)):
        base = colour(label)
        result[label] = Style(colour(label, seen[base]), MARKERS[position % len(MARKERS)])
        seen[base] += 1
    return result
