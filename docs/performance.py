"""Write docs/performance.md from the results that `make bench` left in benchmarks/results.

Usage: python docs/performance.py
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from performance_cells import DIRECTIONS, NAMES, Record, number, origin, percent, place, shape, spans, table, time
from performance_shortfalls import shortfalls

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PAGE = DOCS / "performance.md"

# The fewest bytes that a layer can move, as copies of its input; dropout's gradient does not need the input.
LIMITS = {"forward": 1.0, "both": 2.5}
DROPOUT_LIMITS = {"forward": 1.0, "both": 2.0}


def limit(row: Record) -> float:
    """Return the fewest copies that a layer can take."""
    return (DROPOUT_LIMITS if row["norm"] == "dropout" else LIMITS)[row["direction"]]


def layers(record: Record) -> list[str]:
    """Return the section on single layers."""
    rows = record["rows"]
    text = [
        "## Layers",
        "",
        "One layer in a compiled graph. *Forward and backward* computes the output and the gradients of input and "
        "weights. The forward tables are from a time when inference was compiled, too. Now a graph without gradients "
        "runs plain operations, which other runtimes can read, and takes about as long as Keras's own layers.",
        "",
        *origin(record),
        "![Keras's time over tfnorm's, a bar a shape](../benchmarks/results/layers.png)",
        "",
        "The time of the others, divided by tfnorm's, over all layers and shapes below:",
        "",
    ]
    kinds = list(dict.fromkeys((row["dtype"], row["direction"]) for row in rows))

    def ratios(kind, case):
        return [row["ratio"][case] for row in rows if (row["dtype"], row["direction"]) == kind and case in row["ratio"]]

    text += table(
        ["", *(f"{NAMES[case]}, {word}" for case in ("keras", "torch") for word in ("least", "median", "most"))],
        (
            [f"{dtype}, {DIRECTIONS[direction]}"]
            + [cell for case in ("keras", "torch") for cell in spans(ratios((dtype, direction), case))]
            for dtype, direction in kinds
        ),
    )
    text += [
        "*Copies* is the time of the layer divided by the time of a copy of the same bytes in the same rounds. The "
        "copy is a TensorFlow operation that reads the input and writes it into a new tensor.",
        "",
        "*Of the limit* compares this with the smallest possible number:",
        "",
        "- Forward, a layer reads its input and writes its output: 1 copy.",
        "- Forward and backward, it reads the input, writes the output, reads the input and the gradient of the "
        "output, and writes the gradient of the input: 5 streams, 2.5 copies. The gradient of dropout doesn't need "
        "the input: 2 copies.",
        "",
        "A norm can't reach the limit if its input is larger than the caches. It needs the statistics of the whole "
        "input before it writes the first output, so it reads the input twice forward and twice backward. For small "
        "inputs, the cost of a call matters most; the copy has it, too. More than 100 % is possible, because the "
        "copy pays for new memory.",
        "",
    ]
    bare = [
        row["times"]["bare copy"]["median_ms"] / row["times"]["copy"]["median_ms"]
        for row in rows
        if "bare copy" in row["times"]
    ]
    if bare:
        text += [
            f"A bare copy by PyTorch into existing memory takes {percent(statistics.median(bare))} of the time of "
            f"this copy in the median ({percent(min(bare))} to {percent(max(bare))}), because it pays for no call and "
            "no new memory. So the layers are further from the bandwidth of the memory than from this limit.",
            "",
        ]
    for dtype, direction in kinds:
        text += [f"### {dtype}, {DIRECTIONS[direction]}", ""]
        text += table(
            ["layer", "shape", "tfnorm, ms", "Keras, ms", "PyTorch, ms"]
            + ["Keras / tfnorm", "PyTorch / tfnorm", "copies", "of the limit"],
            (
                [f"`{row['norm']}`", shape(row["shape"])]
                + [time(row["times"], case) for case in ("tfnorm", "keras", "torch")]
                + [number(row["ratio"].get(case)) for case in ("keras", "torch")]
                + [number(row["copies"]), percent(limit(row) / row["copies"])]
                for row in rows
                if (row["dtype"], row["direction"]) == (dtype, direction)
            ),
            left=2,
        )
    return text


def best_torch(row: Record, dtype: str) -> str | None:
    """Return the fastest of PyTorch's ways, or None."""
    ways = [case for case in row["times"] if case.startswith(f"torch {dtype}")]
    return min(ways, key=lambda case: row["times"][case]["median_ms"]) if ways else None


def training(record: Record) -> list[str]:
    """Return the section on training steps."""
    rows = record["rows"]
    dtypes = [d for d in ("float32", "bfloat16") if any(f"tfnorm {d}" in row["times"] for row in rows)]
    text = [
        "## Training",
        "",
        "One step of `fit` (forward, backward, update, loss and accuracy) on a batch in memory. *Keras* is the same "
        "model in Keras's own layers (`tfnorm.convert.to_keras`). *bfloat16* is mixed precision. *PyTorch* is the "
        "fastest of its modes that were tried, which is named: eager, channels last in memory, or compiled.",
        "",
        *origin(record),
        "![Images a second of each library, by network and norm](../benchmarks/results/training.png)",
        "",
        "Milliseconds a step:",
        "",
    ]

    def times_of(row, dtype):
        torch = best_torch(row, dtype)
        way = f" ({torch.removeprefix(f'torch {dtype} ')})" if torch else ""
        return [
            *(time(row["times"], f"{case} {dtype}") for case in ("tfnorm", "keras")),
            time(row["times"], torch) + way,
        ]

    text += table(
        ["network", "norm", "batch", *(f"{name}, {d}" for d in dtypes for name in ("tfnorm", "Keras", "PyTorch"))],
        ([*place(row), *(cell for dtype in dtypes for cell in times_of(row, dtype))] for row in rows),
        left=2,
    )
    keys = {
        "keras float32": "Keras float32 / tfnorm float32",
        "keras bfloat16": "Keras bfloat16 / tfnorm bfloat16",
        "bfloat16 over keras float32": "Keras float32 / tfnorm bfloat16",
        "torch float32": "PyTorch float32 / tfnorm float32",
        "torch bfloat16": "PyTorch bfloat16 / tfnorm bfloat16",
    }
    keys = {key: title for key, title in keys.items() if any(key in row["ratio"] for row in rows)}
    text += ["The time of the others, divided by tfnorm's:", ""]
    text += table(
        ["network", "norm", "batch", *keys.values()],
        ([*place(row), *(number(row["ratio"].get(key)) for key in keys)] for row in rows),
        left=2,
    )
    return text


def accelerate(record: Record) -> list[str]:
    """Return the section on converted models."""
    return [
        "## Accelerated models",
        "",
        "A training step of models of Keras's own layers, before and after `tfnorm.convert.accelerate`, in float32.",
        "",
        *origin(record),
        "![Speed of training of each model beside stock Keras](../benchmarks/results/accelerate.png)",
        "",
        *table(
            ["model", "input", "batch", "tfnorm, ms", "Keras, ms", "Keras / tfnorm"],
            (
                [f"`{row['model']}`", shape(row["input"]), str(row["batch"])]
                + [time(row["times"], case) for case in ("tfnorm", "keras")]
                + [number(row["ratio"]["keras"])]
                for row in record["rows"]
            ),
            left=2,
        ),
    ]


def fold(record: Record) -> list[str]:
    """Return the section on folded models."""
    cases = ["keras", "folded", *(case for case in ("torch", "torch fused") if case in record["rows"][0]["times"])]
    names = {"folded": "Keras, folded", "torch fused": "PyTorch, fused", **NAMES}
    return [
        "## Folded batch norms",
        "",
        "Inference of models of Keras's own layers, before and after `tfnorm.convert.fold_batch_norm`, in float32. For "
        "comparison: the same networks in PyTorch, as they are and fused by PyTorch's own tool.",
        "",
        *origin(record),
        "![Speed of inference of each model beside stock Keras](../benchmarks/results/fold.png)",
        "",
        *table(
            ["model", "input", "batch", "norms folded, kept", *(f"{names[case]}, ms" for case in cases)]
            + ["Keras / folded", "largest relative difference of logits"],
            (
                [f"`{row['model']}`", shape(row["input"]), str(row["batch"])]
                + [f"{row['norms']['folded']}, {row['norms']['kept']}"]
                + [time(row["times"], case) for case in cases]
                + [number(row["ratio"]["folded"]), f"{row['difference']['folded']:.0e}"]
                for row in record["rows"]
            ),
            left=2,
        ),
    ]


def families(record: Record) -> list[str]:
    """Return the section on the outputs of converted models."""

    def share(value):
        return "–" if value is None else f"{value:.0e}"

    conversions = {"fold": "folded", "accelerate": "accelerated", "to_keras": "and back", "replace": "replaced"}
    return [
        "## Conversions of keras.applications",
        "",
        "One model of each family of `keras.applications`, before and after each conversion of `tfnorm.convert`. The "
        "table says how many norms the model has, how many of them are folded into other layers, and how many are "
        "replaced by `gn:8`. The differences are the largest difference of a logit, divided by the largest distance of "
        "a logit from its mean over the images:",
        "",
        "- *folded*: after `fold_batch_norm`,",
        "- *accelerated*: after `accelerate`,",
        "- *and back*: after `accelerate` and `to_keras`,",
        "- *replaced*: after `replace_norms` with tfnorm's norm of the same kind.",
        "",
        "The weights of all other layers are bit for bit the same, and `to_keras` gives back the configuration of the "
        f"model. `benchmarks/families.py` fails if a difference reaches {record['settings']['most']:.0e}.",
        "",
        *origin(record),
        *table(
            ["family", "model", "input", "norms", "folded", "replaced"]
            + [f"difference {words}" for words in conversions.values()],
            (
                [row["family"], f"`{row['model']}`", shape(row["input"])]
                + [str(row[key]) for key in ("norms", "folded", "replaced")]
                + [share(row["difference"][key]) for key in conversions]
                for row in record["rows"]
            ),
            left=3,
        ),
    ]


def scaling(record: Record) -> list[str]:
    """Return the section on growth with size."""

    def ends(row, case):
        ratios = [point["ratio"].get(case) for point in (row["points"][0], row["points"][-1])]
        return "–" if None in ratios else " … ".join(map(number, ratios))

    return [
        "## Growth with size",
        "",
        "One layer, forward and backward, in float32. Batch size, channels and image side vary one at a time, "
        f"starting from {shape(record['settings']['base'])}. The exponent is the slope of log time against log "
        "elements in the larger half of the sizes. At 1, time grows in proportion to the elements. Below 1, a fixed "
        "cost still shows. Above 1, the data no longer fit into the caches.",
        "",
        *origin(record),
        "![Time over elements of each library, by norm and varied size](../benchmarks/results/scaling.png)",
        "",
        *table(
            ["norm", "varied", "from … to", "exponent of tfnorm", "of Keras", "of PyTorch"]
            + ["Keras / tfnorm, smallest … largest", "PyTorch / tfnorm"],
            (
                [f"`{row['norm']}`", row["varied"], f"{row['points'][0]['size']} … {row['points'][-1]['size']}"]
                + [number(row["exponent"].get(case)) for case in ("tfnorm", "keras", "torch")]
                + [ends(row, case) for case in ("keras", "torch")]
                for row in record["rows"]
            ),
            left=3,
        ),
    ]


def memory(record: Record) -> list[str]:
    """Return the section on memory."""

    def size(row, case, what):
        found = row["memory"].get(case)
        if found is None:
            return "–"
        spread = f" ± {found[what]['spread']:.0%}" if what == "step" else ""
        return number(found[what]["median_mib"]) + spread

    cases = ("tfnorm", "keras", "torch")
    return [
        "## Memory",
        "",
        "The largest amount of memory that a training step needs at one time: activations, gradients and temporary "
        "tensors. It doesn't include what stays between steps: weights, the state of the optimizer, compiled code. "
        "*Process* is the largest size of the whole process, including the libraries and what compiling needs once.",
        "",
        "Each library runs in its own processes, in float32, with SGD with momentum, and PyTorch runs eagerly. Linux's "
        "record of the resident size is reset before the steps. The C library returns freed blocks of "
        f"{record['settings']['block_bytes'] // 1024} KiB and more at once, and TensorFlow takes its memory from the C "
        "library.",
        "",
        *origin(record),
        "![Peak memory of a step of each library, by network, norm and batch](../benchmarks/results/memory.png)",
        "",
        *table(
            ["network", "norm", "batch", *(f"{NAMES[case]}, MiB" for case in cases)]
            + ["tfnorm / Keras", "tfnorm / PyTorch", *(f"process of {NAMES[case]}, MiB" for case in cases)],
            (
                place(row)
                + [size(row, case, "step") for case in cases]
                + [number(row["ratio"].get(f"tfnorm over {case}")) for case in ("keras", "torch")]
                + [size(row, case, "process") for case in cases]
                for row in record["rows"]
            ),
            left=2,
        ),
    ]


def streaming(record: Record) -> list[str]:
    """Return the section on pictures that are decoded when they are needed."""

    def speed(row, case):
        return f"{number(row['images_per_second'][case])} ± {row['times'][case]['spread']:.0%}"

    settings = record["settings"]
    return [
        "## Pictures from files",
        "",
        "Training on a folder of pictures that are decoded when they are needed, and on the same pictures in memory: "
        f"JPEGs of {settings['side']} pixels, in images a second. *Reading* goes through the batches without a "
        "network. Where the network takes most of the time, files should reach at least 0.90 of memory.",
        "",
        *origin(record),
        *table(
            ["network", "norm", "batch", "from memory", "from files", "files / memory", "reading files"],
            (
                [*place(row), speed(row, "memory"), speed(row, "streamed")]
                + [number(row["ratio"]["streamed over memory"]), speed(row, "reading, streamed")]
                for row in record["rows"]
            ),
            left=2,
        ),
    ]


def accuracy(record: Record) -> list[str]:
    """Return the section on what the fast arithmetic does to accuracy."""
    rows = record["rows"]
    ways = list(rows[0]["mean"])
    seeds, epochs = record["settings"]["seeds"], record["settings"]["epochs"]
    return [
        f"## Accuracy on {rows[0]['dataset']}",
        "",
        f"Test accuracy of `{rows[0]['arch']}` in percent after {epochs} epochs, mean ± standard deviation over "
        f"{seeds} seeds. *Fast* is tfnorm's fast arithmetic, also in bfloat16. *Generic* is the arithmetic of the "
        "other backends with Keras's own dropout. *Within* says whether the mean differs from the generic one by at "
        f"most the larger of the two standard deviations. With {seeds} seeds, these are rough estimates.",
        "",
        *origin(record),
        f"![Test accuracy of each seed, by norm and arithmetic](../benchmarks/results/{record['benchmark']}.png)",
        "",
        *table(
            ["norm", *ways, *(f"{way} within" for way in rows[0]["within_one_std"])],
            (
                [f"`{row['norm']}`"]
                + [f"{row['mean'][way]:.2f} ± {row['std'][way]:.2f}" for way in ways]
                + ["yes" if within else "no" for within in row["within_one_std"].values()]
                for row in rows
            ),
        ),
    ]


def summary(records: dict[str, Record]) -> list[str]:
    """Return the main results as a list: times of a step and of inference, and memory."""
    lines = []

    def between(name: str, key: str) -> str | None:
        found = [row["ratio"][key] for row in records.get(name, {"rows": []})["rows"] if key in row["ratio"]]
        return f"{number(min(found))} to {number(max(found))}" if found else None

    if spread := between("training", "keras float32"):
        beside = between("training", "torch float32")
        lines.append(
            f"- A training step in float32 takes stock Keras {spread} times as long as tfnorm"
            + (f", and PyTorch {beside} times as long." if beside else ".")
        )
    if spread := between("memory", "tfnorm over keras"):
        beside = between("memory", "tfnorm over torch")
        lines.append(
            f"- The memory of a step is {spread} times that of stock Keras"
            + (f", and {beside} times that of PyTorch." if beside else ".")
        )
    if spread := between("accelerate", "keras"):
        lines.append(f"- `tfnorm.convert.accelerate` makes a training step of Keras models {spread} times as fast.")
    if spread := between("fold", "folded"):
        lines.append(f"- `tfnorm.convert.fold_batch_norm` makes inference of Keras models {spread} times as fast.")
    return [*lines, ""] if lines else []


SECTIONS: dict[str, Callable[[Record], list[str]]] = {
    "training": training,
    "accelerate": accelerate,
    "fold": fold,
    "memory": memory,
    "streaming": streaming,
    "accuracy": accuracy,
    "accuracy_mnist": accuracy,
    "families": families,
    "scaling": scaling,
    "layers": layers,
}


def page(results: Path = RESULTS) -> str:
    """Return the whole page from the files that are in ``results``; a missing file has no section."""
    paths = {name: results / f"{name}.json" for name in SECTIONS}
    records = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    text = [
        "<!-- Written by docs/performance.py from benchmarks/results; change that instead. -->",
        "",
        "# Performance",
        "",
        "Times and memory of tfnorm, stock Keras on TensorFlow, and PyTorch, on a CPU. `make bench` measures them. "
        "Other processors, versions and shapes give other numbers.",
        "",
        *summary(records),
        "## How it is measured",
        "",
        "- The libraries take turns in rounds, with the same work on the same data. So anything else that the machine "
        "does affects all of them.",
        "- A number is the median over the rounds. The number after ± is half the distance between the quartiles, as a "
        "share of the median.",
        "- Compiling is done before the measurement.",
        "- Ratios compare medians of the same rounds. Above 1, tfnorm is faster. You can't compare times of different "
        "tables.",
        "",
        "```shell",
        "make bench                                         # measures, and writes this page",
        '.venv/bin/python -m pip install -e ".[bench]"      # before, to include PyTorch',
        "```",
        "",
        "If you have no GPU, add `--extra-index-url https://download.pytorch.org/whl/cpu` to leave out the CUDA "
        "libraries. Close other programs before you measure. PyTorch's threads sleep while they wait for each other "
        "(`OMP_WAIT_POLICY=passive`); by default they stay awake, and then one other busy process costs PyTorch tens "
        "of milliseconds in each call. Each script in `benchmarks/` has a `--help`. Memory is measured on Linux only.",
        "",
    ]
    for name, record in records.items():
        text += SECTIONS[name](record)
    return "\n".join([*text, *shortfalls(records)]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
