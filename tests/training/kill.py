"""Kills a comparison with -9 at random moments, starts it again each time, and compares it with an undisturbed one.

Run ``python tests/training/kill.py --moments 10``; the test beside it does the same with less to train.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tfnorm.training.runs import outcome


def command(specs: list[str], seeds: int, epochs: int, out: Path) -> list[str]:
    """Return the comparison as a user types it."""
    options = ["--seeds", str(seeds), "--epochs", str(epochs), "--out", str(out)]
    return [sys.executable, "-m", "tfnorm", "compare", *specs, *options]


def outcomes(folder: Path) -> dict[str, str]:
    """Return what must be the same of each run: hashes of its history without clocks and of all its arrays."""
    return {
        f"{result.parent.relative_to(folder)} {part}": value
        for result in sorted(folder.glob("*/*/result.json"))
        for part, value in outcome(result.parent).items()
    }


def killed_at_random(call: list[str], moments: int, longest: float, seed: int) -> list[float]:
    """Start ``call``, kill it after a random time, ``moments`` times, then let it end; return the times in seconds."""
    rng = random.Random(seed)
    times = []
    for _ in range(moments):
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(rng.uniform(0, longest))
        try:
            process.wait(times[-1])
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    return times


def compare(specs: list[str], seeds: int, epochs: int, moments: int, seed: int, folder: Path) -> list[str]:
    """Return the names of what differs between the disturbed and the undisturbed comparison."""
    start = time.perf_counter()
    subprocess.run(command(specs, seeds, epochs, folder / "whole"), check=True, stdout=subprocess.DEVNULL)
    longest = (time.perf_counter() - start) * 0.8
    times = killed_at_random(command(specs, seeds, epochs, folder / "killed"), moments, longest, seed)
    print("killed after", ", ".join(f"{t:.1f}" for t in times), "seconds", flush=True)
    whole, killed = outcomes(folder / "whole"), outcomes(folder / "killed")
    if len([name for name in whole if name.endswith("result")]) != len(specs) * seeds:
        raise AssertionError("The undisturbed comparison did not finish all of its runs.")
    return sorted(name for name in {*whole, *killed} if whole.get(name) != killed.get(name))


def main() -> None:
    """Print what differs; exit 1 if anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("specs", nargs="*", default=["gn:2", "ln", "bn+l1=5e-4"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        differing = compare(chosen.specs, chosen.seeds, chosen.epochs, chosen.moments, chosen.seed, Path(folder))
    print(f"{len(differing)} differences: {differing}" if differing else "bit-identical")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
