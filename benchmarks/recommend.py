"""Whether `tfnorm recommend` finds a better setting than a bad one, and keeps a good one.

Run ``python benchmarks/recommend.py`` from the repository; ``--help`` lists the choices. It begins several times from a
setting without any norm and thirty times the learning rate, which is to be beaten each time, and from one that was
tuned, which is to be kept. Each repetition is a command of its own. In one of the first kind it is killed with
SIGKILL again and again, and goes on. Repetitions differ in their batches of candidates, because ``--holdout`` differs a
little, and with it the images of search and confirmation.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BAD = 'norm = "none"\nlearning_rate = 3\n'
TUNED = 'norm = "bn"\nlearning_rate = 0.1\n'
BASELINES = {"bad": BAD, "tuned": TUNED}
RESULTS = Path(__file__).parent / "results" / "recommend.json"


def command(folder: Path, budget: str, share: float, jobs: int | None) -> list[str]:
    """Return the call of one repetition."""
    words = [sys.executable, "-m", "tfnorm", "recommend", "--dataset", "digits", "--budget", budget]
    words += ["--baseline", str(folder / "baseline.toml"), "--out", str(folder / "out"), "--holdout", f"{share:g}"]
    return words + (["--jobs", str(jobs)] if jobs else [])


def repeat(baseline: str, number: int, budget: str, jobs: int | None, kills: int) -> dict[str, Any]:
    """Return what one repetition ended with, killed so many times on its way."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "baseline.toml").write_text(BASELINES[baseline])
        words = command(folder, budget, round(0.2 + 0.005 * number, 4), jobs)
        began = time.monotonic()
        for kill in range(kills):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(40 + 20 * kill)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        record = json.loads((folder / "out" / "recommendation.json").read_text())
    found = {key: record[key] for key in ("sentence", "on_test", "better", "words", "images", "margin", "seconds")}
    found |= {"confirmation": record["confirmation"]["values"], "test": record["test"]["values"]}
    found |= {"search": record["search"]["states"]}
    return {"baseline": baseline, "budget": budget, "kills": kills, "wall": round(time.monotonic() - began), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="20m", help="of each repetition")
    parser.add_argument("--repetitions", type=int, default=5, help="of each baseline")
    parser.add_argument("--baselines", nargs="+", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--jobs", type=int, help="as of tfnorm recommend")
    parser.add_argument("--kills", type=int, default=2, help="in the first repetition")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    earlier = json.loads(options.out.read_text())["repetitions"] if options.out.exists() else []
    found = [each for each in earlier if each["budget"] != options.budget or each["baseline"] not in options.baselines]
    for baseline in options.baselines:
        for number in range(options.repetitions):
            kills = options.kills if number == 0 else 0
            found.append(repeat(baseline, number, options.budget, options.jobs, kills))
            print(f"{baseline} {number}: {found[-1]['sentence']} {found[-1]['on_test']}", flush=True)
            options.out.write_text(json.dumps({"repetitions": found}, indent=1) + "\n")
    for baseline in options.baselines:
        of = [each["better"] for each in found if (each["baseline"], each["budget"]) == (baseline, options.budget)]
        print(f"{baseline}: better in {sum(of)} of {len(of)}")


if __name__ == "__main__":
    main()
