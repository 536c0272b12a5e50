"""What misses its target, and the reasons, for docs/performance.md."""

from __future__ import annotations

from performance_cells import DIRECTIONS, NAMES, Record, shape, table

# A ratio of times below its target, or of memory above, is listed under "What falls short".
TARGETS = {
    "layers": {"keras": 1.0},  # PyTorch wins most single layers forward: the table above says by how much
    "training": {"keras float32": 1.0, "keras bfloat16": 1.0, "torch float32": 1.0, "torch bfloat16": 1.0},
    "accelerate": {"keras": 1.3},
    "scaling": {"keras": 1.0},
    "memory": {"tfnorm over keras": 1.0, "tfnorm over torch": 1.0},
}

# What is known about the reasons, in Markdown; written by hand after profiling, and empty where nothing is.
REASONS = """
What profiles of these cases show (TensorFlow's profiler, the same machine):

- **Whole steps gain less than layers.** Convolutions are the same oneDNN calls on both sides and take most of a step;
  norms, ReLU and dropout are what is left to gain from. At batch 16 the fixed cost of some 250 operations a step weighs
  as much as their work, and PyTorch, which spends less on each, all but draws level on the smallest network with batch
  and group norm.
- **Steps in bfloat16 are slower than in float32 here.** This processor has neither AVX512_BF16 nor AMX. Stock Keras
  and PyTorch convolve in emulated bfloat16, which takes about twice the time of float32; tfnorm widens activations once
  and convolves in float32, so that it beats both, but with one exception not its own float32: the casts are passes over
  memory that float32 does not have. Processors with the instructions were not measured.
- **PyTorch's native kernels win more than half of the single layers forward**, as the tables above show. They keep a
  group of a sample in the cache between the statistics and the output. The compiled passes here read the input three
  times, for the mean, for the variance around it, and for the output, which is what keeps a mean of 1e4 exact. Forward
  and backward together some layers win and some lose; what decides a whole step is the ReLU and the dropout that join
  the last pass.
- **Small inputs pay a fixed cost.** Four times as many elements as the smallest input of the scaling table take no norm
  more than 1.6 times as long. Starting four compiled passes, forward and backward, at about 0.06 ms each, is a small
  part of it.
"""


def case_of(name: str, row: Record) -> str:
    """Return the words that name a row."""
    if name == "layers":
        return f"`{row['norm']}`, {shape(row['shape'])}, {row['dtype']}, {DIRECTIONS[row['direction']]}"
    if name == "scaling":
        return f"`{row['norm']}`, {shape(row['shape'])}, float32, forward and backward"
    if name == "accelerate":
        return f"`{row['model']}`, {shape(row['input'])}, batch {row['batch']}"
    return f"`{row['arch']}`, `{row['norm']}`, batch {row['batch']}"


def behind(records: dict[str, Record]) -> list[list[str]]:
    """Return a table row for each measured ratio that misses its target."""
    found = []
    for name, targets in TARGETS.items():
        rows = records.get(name, {"rows": []})["rows"]
        if name == "scaling":
            rows = [{"norm": row["norm"], **point} for row in rows for point in row["points"]]
        for row in rows:
            for key, target in targets.items():
                value = row["ratio"].get(key)
                missed = value is not None and (value > target if name == "memory" else value < target)
                if missed:
                    library, _, dtype = key.removeprefix("tfnorm over ").partition(" ")
                    words = f"tfnorm / {NAMES[library]}" if name == "memory" else f"{NAMES[library]} / tfnorm"
                    words = f"{words}, {dtype}" if dtype else words
                    found.append([name, case_of(name, row), words, f"{value:.2f}", f"{target:.2f}"])
    return found


def shortfalls(records: dict[str, Record]) -> list[str]:
    """Return the section on what misses its target, and on the reasons."""
    found = behind(records)
    text = ["## What falls short, and why", ""]
    if found:
        text += [
            "Every measured ratio that misses its target: times of the others below tfnorm's, memory above. One within "
            "a spread of the target may be chance.",
            "",
            *table(["measured in", "case", "ratio", "measured", "target"], found, left=3),
        ]
    else:
        text += ["Beside stock Keras no measured ratio is below 1, and beside PyTorch none of a training step.", ""]
    return [*text, *(line for line in REASONS.strip().splitlines()), *([""] if REASONS.strip() else [])]
