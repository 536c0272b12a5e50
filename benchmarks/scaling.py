"""Time of the norm layers against batch size, channels and image side: stock Keras, tfnorm and, if installed, PyTorch.

Run ``python benchmarks/scaling.py`` from the repository; ``--help`` lists the choices. Output and gradients, float32,
one size varied at a time around (32, 32, 32, 32). The exponent is the slope of log time over log elements through the
larger half of the sizes, where the cost of a call is small beside its work: 1 is time in proportion to the elements.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _measure
import layers
import numpy as np

NORMS = ("bn", "ln", "ln:channel", "gn:4", "in")
BASE = (32, 32, 32, 32)
BATCHES = (8, 16, 32, 64, 128, 256)
CHANNELS = (8, 16, 32, 64, 128, 256)
SIDES = (8, 16, 24, 32, 48, 64)


def shape_of(varied: str, size: int) -> tuple[int, int, int, int]:
    """Return (batch, height, width, channels) with one of them changed."""
    batch, height, width, channels = BASE
    if varied == "side":
        return batch, size, size, channels
    return (size, height, width, channels) if varied == "batch" else (batch, height, width, size)


def exponent(elements: list[int], times: list[float]) -> float:
    """Return the slope of log time over log elements, by least squares over the larger half of the sizes.

    Example:
        >>> round(exponent([1, 2, 4, 8], [9.0, 9.0, 10.0, 40.0]), 6)
        2.0
    """
    kept = np.argsort(elements)[len(elements) // 2 :]
    slope, _ = np.polyfit(np.log(np.take(elements, kept)), np.log(np.take(times, kept)), 1)
    return float(slope)


def compare(name: str, varied: str, sizes: list[int], *, rounds: int, calls: int) -> dict:
    """Return one row: a norm with one of its sizes varied, all sizes and libraries interleaved."""
    rng = np.random.default_rng(0)
    cases = {}
    for size in sizes:
        x = rng.normal(size=shape_of(varied, size)).astype("float32")
        stock, ours = layers.PAIRS[name]
        cases["tfnorm", size] = layers.keras_call(ours, x, "float32", "both")
        cases["keras", size] = layers.keras_call(stock, x, "float32", "both")
        other = layers.torch_call(name, x, "float32", "both")
        if other is not None:
            cases["torch", size] = other
    measured = _measure.interleave(cases, rounds=rounds, calls=calls)
    libraries = list(dict.fromkeys(library for library, _ in cases))
    points = []
    for size in sizes:
        times = {library: _measure.summary(measured[library, size]) for library in libraries}
        points.append(
            {
                "size": size,
                "shape": list(shape_of(varied, size)),
                "elements": int(np.prod(shape_of(varied, size))),
                "times": times,
                "ratio": {case: time["median_ms"] / times["tfnorm"]["median_ms"] for case, time in times.items()},
            }
        )
    elements = [point["elements"] for point in points]
    exponents = {
        library: exponent(elements, [point["times"][library]["median_ms"] for point in points]) for library in libraries
    }
    return {"norm": name, "varied": varied, "points": points, "exponent": exponents}


def lines(row: dict) -> str:
    """Return a row as lines of text."""
    text = []
    for point in row["points"]:
        sizes = "x".join(map(str, point["shape"]))
        parts = [f"{row['norm']:<11}{row['varied']:<9}{sizes:<16}"]
        for case in ("tfnorm", "keras", "torch"):
            time = point["times"].get(case)
            parts.append(f"{time['median_ms']:8.2f} ±{time['spread']:4.0%}" if time else " " * 14)
        parts += [f"{point['ratio'][case]:7.2f}" if case in point["ratio"] else "" for case in ("keras", "torch")]
        text.append(" ".join(parts))
    exponents = ", ".join(f"{case} {value:.2f}" for case, value in row["exponent"].items())
    return "\n".join([*text, f"{'':<11}exponent of the larger half: {exponents}"])


def x_times(row: dict) -> dict[str, tuple[list[int], list[float]]]:
    """Return library to elements and median milliseconds."""
    data: dict[str, tuple[list[int], list[float]]] = {}
    for point in row["points"]:
        for case, time in point["times"].items():
            elements, times = data.setdefault(case, ([], []))
            elements.append(point["elements"])
            times.append(time["median_ms"])
    return data


def plot_times(rows: list[dict], path: Path) -> None:
    """Draw time over elements, a line of panels a norm, a column a varied size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    norms, columns = (list(dict.fromkeys(row[key] for row in rows)) for key in ("norm", "varied"))
    figure, panels = plt.subplots(
        len(norms),
        len(columns),
        figsize=(3.2 * len(columns), 2.4 * len(norms) + 0.8),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for row in rows:
        panel = panels[norms.index(row["norm"]), columns.index(row["varied"])]
        for case, (elements, times) in x_times(row).items():
            label, colour, marker = _measure.STYLES[case]
            panel.plot(elements, times, color=colour, marker=marker, markersize=4, linewidth=1.2, label=label)
        elements, times = x_times(row)["tfnorm"]
        straight = [times[-1] * size / elements[-1] for size in elements]
        panel.plot(elements, straight, color="black", linestyle=":", linewidth=1, label="in proportion to elements")
        sizes = [point["size"] for point in row["points"]]
        panel.set_title(f"{row['norm']}, {row['varied']} {min(sizes)} to {max(sizes)}", fontsize="medium")
        panel.set(xscale="log", yscale="log")
        panel.grid(which="major", linewidth=0.3)
    figure.supxlabel("elements of the input", fontsize="medium")
    figure.supylabel("time of output and gradients (ms)", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--norms", nargs="+", default=list(NORMS), choices=NORMS)
    parser.add_argument("--batches", nargs="*", type=int, default=list(BATCHES))
    parser.add_argument("--channels", nargs="*", type=int, default=list(CHANNELS), help="multiples of 4")
    parser.add_argument("--sides", nargs="*", type=int, default=list(SIDES), help="height and width, pixels")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=3, help="timed calls of a case a round")
    parser.add_argument("--name", default="scaling", help="name of the files under results/")
    chosen = parser.parse_args(arguments)
    _measure.at_least(parser, chosen, "rounds", 2)
    sizes = {"batch": chosen.batches, "channels": chosen.channels, "side": chosen.sides}
    sizes = {varied: sorted(set(given)) for varied, given in sizes.items() if given}
    short = [varied for varied, given in sizes.items() if len(given) < 3]
    if short or not sizes:
        parser.error(f"An exponent needs at least 3 sizes. Received fewer for: {', '.join(short) or 'all'}.")
    titles = [f"{case} ms" for case in ("tfnorm", "keras", "torch")]
    print(" " * 36, *(f"{title:>14}" for title in titles), f"{'keras/':>7} {'torch/':>7}")
    rows = []
    for name in chosen.norms:
        for varied, given in sizes.items():
            rows.append(compare(name, varied, given, rounds=chosen.rounds, calls=chosen.calls))
            print(lines(rows[-1]), flush=True)
    path = _measure.write(chosen.name, rows, rounds=chosen.rounds, calls=chosen.calls, base=list(BASE))
    plot_times(rows, path.with_suffix(".png"))
    print(f"Wrote {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
