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
        "One layer in a compiled graph; forward and backward is the output and the gradients of input and weights. "
        "The forward tables were measured when inference was compiled, too. A graph without gradients now runs plain "
        "operations, which other runtimes can read, and takes about as long as Keras's own layers.",
        "",
        *origin(record),
        "![Keras's time over tfnorm's, a bar a shape](../benchmarks/results/layers.png)",
        "",
        "How many times tfnorm's time the others take, over all layers and shapes below:",
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
        "*Copies* are the layer's time over that of a copy of the same bytes, measured in the same rounds: a "
        "TensorFlow operation that reads the input and writes as much into a new tensor. Forward, a layer has to read "
        "its input and write its output, which is 1 copy. Forward and backward it has to read the input, write the "
        "output, read the input and the output's gradient and write the input's gradient: 5 streams of the same "
        "size, 2.5 copies (dropout's gradient does without the input: 2). *Of the limit* is that least number over "
        "the measured one; above 100 % the layer spares what the copy pays for new memory. Statistics need the whole "
        "input before the first output is written, so that an input larger than the caches is read twice forward and "
        "twice backward, and the limit is out of reach. For small "
        "inputs the cost of a call, the copy's included, weighs most.",
        "",
    ]
    bare = [
        row["times"]["bare copy"]["median_ms"] / row["times"]["copy"]["median_ms"]
        for row in rows
        if "bare copy" in row["times"]
    ]
    if bare:
        text += [
            f"The copy pays for a call and for new memory, as every layer does. A bare copy by PyTorch into memory "
            f"that is there already takes {percent(statistics.median(bare))} of its time in the median "
            f"({percent(min(bare))} to {percent(max(bare))}); of the memory's own bandwidth the layers reach that "
            "much less.",
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
        "One step as `fit` takes it (forward, backward, update, loss and accuracy) on a batch in memory. Keras is the "
        "same model in Keras's own layers (`tfnorm.convert.to_keras`); bfloat16 is mixed precision. PyTorch is the "
        "fastest of its ways, which is named: eager, channels last in memory, or compiled, where it was tried.",
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
    text += ["How many times tfnorm's time the others take:", ""]
    text += table(
        ["network", "norm", "batch", *keys.values()],
        ([*place(row), *(number(row["ratio"].get(key)) for key in keys)] for row in rows),
        left=2,
    )
    return text


def accelerate(record: Record) -> list[str]:
    """Return the section on converted models."""
    return [
        "## Models of others",
        "",
        "A training step of models of Keras's own layers before and after `tfnorm.convert.accelerate`, float32.",
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
        "Inference of models of Keras's own layers before and after `tfnorm.convert.fold_batch_norm`, float32, beside "
        "the same networks in PyTorch, as they are and fused by its own tool.",
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
        "One model of each family of `keras.applications` before and after each conversion of `tfnorm.convert`: how "
        "many norms it has, how many are folded into other layers and replaced by `gn:8`, and the largest difference "
        "of the logits, as a share of the largest distance of a logit from its mean over the images. *Folded* is "
        "`fold_batch_norm`, *accelerated* `accelerate`, *and back* `to_keras` of that, *replaced* `replace_norms` by "
        "tfnorm's norm of the same kind. The weights of all other layers are bit for bit the same, and the "
        "configuration after `to_keras` is that of the model. "
        f"`benchmarks/families.py` fails where a difference reaches {record['settings']['most']:.0e}.",
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
        f"One layer, forward and backward, float32; batch size, channels and image side are each varied alone around "
        f"{shape(record['settings']['base'])}. The exponent is the slope of log time over log elements through the "
        "larger half of the sizes: 1 is time in proportion to the elements, less is a fixed cost that still shows, "
        "more is work that leaves the caches.",
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
        "The most memory that a training step holds at one time beyond what is there between steps (weights, the "
        "optimizer's state, compiled code): activations, gradients, temporary tensors. Each library runs in processes "
        "of its own, float32, SGD with momentum, PyTorch eagerly; Linux's record of the resident size is reset before "
        f"the steps, with the C library told to give freed blocks of {record['settings']['block_bytes'] // 1024} KiB "
        "and more back at once, and TensorFlow to take its memory from the C library. *Process* is the largest size "
        "of the whole process under these settings, with the libraries themselves and what compiling takes once.",
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


def accuracy(record: Record) -> list[str]:
    """Return the section on what the fast arithmetic does to accuracy."""
    rows = record["rows"]
    ways = list(rows[0]["mean"])
    seeds, epochs = record["settings"]["seeds"], record["settings"]["epochs"]
    return [
        f"## Accuracy on {rows[0]['dataset']}",
        "",
        f"Test accuracy of `{rows[0]['arch']}` in percent after {epochs} epochs, mean ± standard deviation over "
        f"{seeds} seeds: with the fast arithmetic, with the generic one that other backends have and Keras's own "
        "dropout, and in bfloat16. Under *within* stands whether the mean differs from the generic one's by no more "
        "than the larger of their standard deviations, which of three seeds are rough themselves.",
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


SECTIONS: dict[str, Callable[[Record], list[str]]] = {
    "layers": layers,
    "training": training,
    "accelerate": accelerate,
    "fold": fold,
    "families": families,
    "scaling": scaling,
    "memory": memory,
    "accuracy": accuracy,
    "accuracy_mnist": accuracy,
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
        "Times and memory of tfnorm beside stock Keras on TensorFlow and beside PyTorch, on CPU, as `make bench` "
        "measured them. Another processor, other versions and other shapes give other numbers.",
        "",
        "## How it is measured",
        "",
        "The libraries take turns in rounds, each doing the same work on the same data, so that whatever else the "
        "machine does falls on all of them. A number is the median over the rounds; after ± stands half the distance "
        "between the quartiles as a share of the median. What is compiled is compiled before. Ratios are of medians of "
        "the same rounds: above 1, tfnorm is faster. Times of different tables do not compare.",
        "",
        "```shell",
        "make bench                                         # measures everything and writes this page anew",
        '.venv/bin/python -m pip install -e ".[bench]"      # before it, to have PyTorch take part',
        "```",
        "",
        "On a machine without a GPU, `--extra-index-url https://download.pytorch.org/whl/cpu` spares the CUDA "
        "libraries. PyTorch's threads wait for each other asleep (`OMP_WAIT_POLICY=passive`): awake, as by default, "
        "one other busy process costs it tens of milliseconds a call. Close what else runs all the same. Each script "
        "in `benchmarks/` takes `--help`; memory is measured on Linux only.",
        "",
    ]
    for name, record in records.items():
        text += SECTIONS[name](record)
    return "\n".join([*text, *shortfalls(records)]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
