"""What misses its target, and the reasons, for docs/performance.md."""

from __future__ import annotations

from performance_cells import DIRECTIONS, NAMES, Record, shape, table

# The page lists each ratio of times below its target, and each ratio of memory above it.
TARGETS = {
    "layers": {"keras": 1.0},  # PyTorch wins most single layers forward: the table above says by how much
    "training": {"keras float32": 1.0, "keras bfloat16": 1.0, "torch float32": 1.0, "torch bfloat16": 1.0},
    "accelerate": {"keras": 1.3},
    "scaling": {"keras": 1.0},
    "memory": {"tfnorm over keras": 1.0, "tfnorm over torch": 1.0},
}

# What is known about the reasons, in Markdown; written by hand after profiling, and empty where nothing is.
REASONS = """
TensorFlow's profiler, on the same machine, shows the reasons:

- **Whole steps gain less than layers.** Most of a step is convolutions, and these are the same oneDNN calls in tfnorm
  and in Keras. tfnorm can only speed up norms, ReLU and dropout. At batch 16, some 250 operations in a step have a
  fixed cost that is as large as their work. PyTorch spends less on each of them. On the smallest network with batch and
  group norm, it is almost as fast as tfnorm.
- **Steps in bfloat16 are slower than in float32 here.** This processor has neither AVX512_BF16 nor AMX. Stock Keras and
  PyTorch emulate bfloat16 convolutions, which takes about twice the time of float32. tfnorm converts activations once
  and convolves in float32. So it is faster than both, but with one exception slower than its own float32, because the
  conversions are additional passes over the memory. Processors with these instructions were not measured.
- **PyTorch's native kernels are faster in more than half of the single layers forward.** They keep a group of an image
  in the cache between the statistics and the output. tfnorm's compiled passes read the input three times: for the mean,
  for the variance around it, and for the output. That keeps the statistics exact for a mean of 1e4. Forward and
  backward together, some layers are faster and some slower. In a whole step, tfnorm gains most because the ReLU and the
  dropout are part of the norm's last pass.
- **Small inputs pay a fixed cost.** An input with four times as many elements as the smallest one in the scaling table
  takes any norm at most 1.6 times as long. Starting four compiled passes, at about 0.06 ms each, is a small part of
  this cost.
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
    text = ["## What misses its target, and why", ""]
    if found:
        text += [
            "These are all measured ratios that miss their target. A ratio of times should be at least its target, "
            "and a ratio of memory at most. If a ratio is within one spread of its target, this may be chance.",
            "",
            *table(["measured in", "case", "ratio", "measured", "target"], found, left=3),
        ]
    else:
        text += ["No measured ratio misses its target.", ""]
    return [*text, *(line for line in REASONS.strip().splitlines()), *([""] if REASONS.strip() else [])]
