"""Runs as tasks on a Ray cluster that exists already."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tfnorm.errors import LockedError, TfnormError
from tfnorm.experiments.engines.attempts import Attempts
from tfnorm.experiments.engines.memory import worker_bytes
from tfnorm.experiments.engines.processes import thread_settings
from tfnorm.experiments.engines.worker import Reporter, Worker
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.ops import start_quietly
from tfnorm.training.data import fingerprints
from tfnorm.training.lock import run_lock

# A process is replaced after this many runs: TensorFlow never frees a few MB of each kind of graph.
MOST_CALLS = 20
SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_FOR_THE_LOCK = 120.0
SECONDS_TO_ANSWER = 10.0
# Environment variables of this process that the tasks need too, or their beginnings.
PASSED_ON = ("KERAS_BACKEND", "WANDB_", "TF_CPP_MIN_LOG_LEVEL")


def run_ray(
    plan: Plan, *, progress: SweepProgress | None = None, before: Callable[[], None] | None = None
) -> dict[Path, str]:
    """Train runs as tasks on a Ray cluster.

    Each task asks for ``plan.threads`` CPUs and computes with as many threads. On machines of one kind the results are
    the same bit for bit as those of `local.run_local`, which has the same arguments and errors. If the process or the
    node of a run is lost, the run goes on after its last whole epoch, at most two times. All nodes must have this
    version of tfnorm, and see the folder, the data and the current directory under the same paths.

    ``plan.address`` is the address of the cluster, such as "10.0.0.1:6379" or "ray://10.0.0.1:10001". It defaults to
    the cluster that ``RAY_ADDRESS`` names or that runs on this machine. "local" starts one for the time of the sweep.
    ``plan.jobs`` is the largest number of runs at the same time, by default as many as the cluster has CPUs for.
    ``plan.gpus`` is the number of GPUs of each run. With a part such as 0.25, several runs share one.

    Raises:
        TfnormError: If there is no cluster, or no node is large enough, before anything starts.
    """
    attempts = Attempts(plan, progress or SweepProgress())
    todo = plan.begin(attempts.progress, fingerprints())
    joined = not ray.is_initialized()
    if joined:
        _join(plan.address)
    try:
        cluster = _Cluster(plan, todo, attempts)
        if before is not None:
            before()
        cluster.train()
    finally:
        if joined:
            ray.shutdown()
    return attempts.failures


def _join(address: str | None) -> None:
    """Connect to a cluster, or raise a TfnormError."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns unless this is chosen
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address != "local":
            _check_answer(address)
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False,
            include_dashboard=False if address == "local" else None,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise TfnormError(
            f"There is no Ray cluster at {address!r} ({first}). Start one with `ray start --head`, give "
            "the address of another, or 'local' for one on this machine."
        ) from None


def _check_answer(address: str) -> None:
    """Raise an OSError or ValueError if nobody answers at an address. Ray would try for minutes."""
    if address == "auto":
        noted = Path(tempfile.gettempdir(), "ray", "ray_current_cluster")
        if not noted.exists():
            return  # Ray says so at once
        address = noted.read_text(encoding="utf-8").strip()
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("an address is HOST:PORT or ray://HOST:PORT")
    socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def _check_size(threads: int, gpus: float, memory: float) -> None:
    """Raise a TfnormError if no node can ever take a run. Ray would wait forever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    asked = {"CPU": threads, "GPU": gpus, "memory": memory}
    if not any(all(node.get(kind, 0) >= least for kind, least in asked.items()) for node in nodes):
        raise TfnormError(
            f"No node of the Ray cluster has the {_size(asked)} that each run asks for. "
            f"Received: nodes with {'; '.join(map(_size, nodes))}. Use fewer threads or GPUs, or larger nodes."
        )


def _size(node: Mapping[str, float]) -> str:
    memory = node.get("memory", 0) / 2**30
    return f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs and {memory:.1f} GiB"


class _Board:
    """An actor that keeps the events of tasks until this process takes them, each once."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def take(self) -> list[dict[str, Any]]:
        events, self.events = self.events, []
        return events


class _BoardReporter(Reporter):
    """Puts the events of a run on the board. The last one is kept, and is the result of the task."""

    def __init__(self) -> None:
        self.board: Any = None
        self.task = ""
        self.end: dict[str, Any] = {}
        self._last_step = 0.0

    def send(self, event: str, *values: Any) -> None:
        if event in ("finished", "failed"):
            self.end = {"event": event, "values": values}
        else:
            self.board.put.remote({"event": event, "values": values, "task": self.task})


_reporter = _BoardReporter()
_worker = Worker(_reporter)


def _train(task: Mapping[str, Any], board: Any, directory: str) -> dict[str, Any]:
    """Train one run in a process of Ray, and return its last event."""
    start_quietly()
    with suppress(OSError):
        os.chdir(directory)
    _reporter.board, _reporter.end, _reporter.task = board, {}, task["task"]
    _reporter.send("sent", os.getpid())
    _wait_for_lock(Path(task["folder"]))
    _worker.do(task)
    return _reporter.end


def _wait_for_lock(folder: Path) -> None:
    """Wait for a process that lost its node and does not know it yet."""
    until = time.monotonic() + SECONDS_FOR_THE_LOCK
    while time.monotonic() < until:
        try:
            with run_lock(folder):
                return
        except LockedError:
            time.sleep(1)
        except OSError:  # the run itself reports it better
            return


class _Cluster:
    """Submits runs to Ray and collects their events."""

    def __init__(self, plan: Plan, runs: Sequence[PlannedRun], attempts: Attempts) -> None:
        self.runs, self.jobs, self.attempts = runs, plan.jobs or len(plan.runs), attempts
        threads, memory = plan.threads or 1, worker_bytes(run.config for run in runs)
        _check_size(threads, plan.gpus, memory)
        passed = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        # On the node of this process: on another one it could be lost with its node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.board: Any = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self.remote: Any = ray.remote(max_calls=MOST_CALLS)(_train).options(
            num_cpus=threads,
            num_gpus=plan.gpus,
            memory=memory,
            max_retries=0,  # `Attempts` counts them
            runtime_env={"env_vars": {**passed, **thread_settings(threads)}},
        )
        self.sent: set[str] = set()

    def train(self) -> None:
        waiting = deque(sorted(self.runs, key=lambda run: str(run.folder.parent)))
        running: dict[Any, PlannedRun] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    run = waiting.popleft()
                    running[self.submit(run)] = run
                ready, _ = ray.wait(list(running), num_returns=len(running), timeout=SECONDS_BETWEEN_LOOKS)
                self.take_events({self.name(run): run for run in running.values()})
                for task in ready:
                    run = running.pop(task)
                    if self.lost(run, task):
                        waiting.append(run)
                if not waiting and not running:
                    waiting.extend(self.attempts.more())
        finally:
            for task in running:
                ray.cancel(task, force=True)

    def name(self, run: PlannedRun) -> str:
        """Return the name of the current try of a run in events."""
        return f"{self.attempts.counts[run.folder]} {run.folder}"

    def submit(self, run: PlannedRun) -> Any:
        """Give the cluster a run. Its paths are absolute there."""
        task = self.attempts.next_task(run)
        task["folder"] = str(Path(task["folder"]).resolve())
        if run.config.data_dir is not None:
            task["config"]["data_dir"] = str(run.config.data_dir.resolve())
        return self.remote.remote({**task, "task": self.name(run)}, self.board, os.getcwd())

    def take_events(self, running: Mapping[str, PlannedRun]) -> None:
        """Pass on the events of the runs that have not ended."""
        for event in ray.get(self.board.take.remote()):
            run = running.get(event["task"])
            if run is None:
                continue  # it came after its run had ended
            if event["event"] == "sent":
                self.sent.add(event["task"])
            self.attempts.receive(run, event)

    def lost(self, run: PlannedRun, task: Any) -> bool:
        """Pass on how a run ended, and return whether it was lost and waits again."""
        if self.name(run) not in self.sent:
            self.attempts.receive(run, {"event": "sent", "values": [0]})
        try:
            end = ray.get(task)
        except RayTaskError as error:
            first = str(error.cause).strip().splitlines()[0]
            sentence = f"{type(error.cause).__name__}: {first}. Every node needs the same tfnorm as this machine."
            end = {"event": "failed", "values": [sentence]}
        except RayError as error:
            return self.attempts.retry(run, f"Its process or node was lost ({type(error).__name__})")
        self.attempts.receive(run, end)
        return False
