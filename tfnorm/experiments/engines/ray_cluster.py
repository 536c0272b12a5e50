"""Where the runs of a sweep are trained: tasks on a Ray cluster that exists already."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tfnorm.errors import LockedError, TfnormError
from tfnorm.experiments.engines.memory import worker_bytes
from tfnorm.experiments.engines.processes import MOST_TRIES, pass_on, thread_settings
from tfnorm.experiments.engines.worker import Reporter, Worker
from tfnorm.experiments.plan import Plan, PlannedRun
from tfnorm.experiments.progress import SweepProgress
from tfnorm.training.data import fingerprints
from tfnorm.training.lock import run_lock

# A process is replaced after so many runs: TensorFlow keeps a few MB of each kind of graph for good.
MOST_CALLS = 20
SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_FOR_THE_LOCK = 120.0
SECONDS_TO_ANSWER = 10.0
# Settings of the driver that its tasks need too.
PASSED_ON = ("KERAS_BACKEND", "WANDB_", "TF_CPP_MIN_LOG_LEVEL")


def run_ray(
    runs: Iterable[PlannedRun],
    out: str | Path,
    *,
    address: str | None = None,
    jobs: int | None = None,
    threads: int = 1,
    gpus: float = 0.0,
    trackers: Sequence[str] = (),
    progress: SweepProgress | None = None,
    before: Callable[[], None] | None = None,
) -> dict[Path, str]:
    """Train runs as tasks on a Ray cluster.

    Each task asks for ``threads`` CPUs and computes with as many, as `local.run_local` does, so that
    on machines of one kind the results are the same bit for bit. A run whose process or node is lost waits again and
    goes on after its last whole epoch, two times. All nodes must have this version of tfnorm, and see the folder, the
    data and the current directory under the same paths.

    Args:
        runs: What to train; those that are finished are left alone.
        out: The sweep's folder.
        address: Of the cluster, such as "10.0.0.1:6379" or "ray://10.0.0.1:10001"; default the one that runs on this
            machine or that ``RAY_ADDRESS`` names. "local" starts one for the time of the sweep.
        jobs: At most how many runs at the same time; default as many as the cluster has CPUs for.
        threads: How many threads each computes with.
        gpus: How many GPUs each gets; a part such as 0.25 lets several share one.
        trackers: What follows each run, see `tfnorm.training.tracking`.
        progress: Is told what happens.
        before: Is called once all is checked, before the first run.

    Returns:
        Folder to sentence, for each run that failed; the others are finished.

    Raises:
        TfnormError: If Ray is not installed, there is no cluster, no node is large enough, a number is out of range, or
            a folder holds another run or one on other data, before anything starts.
    """
    out, progress = Path(out).resolve(), progress or SweepProgress()
    plan = Plan(
        out, list(runs), engine="ray", jobs=jobs, threads=threads, address=address, gpus=gpus, trackers=trackers
    )
    todo = plan.begin(progress, fingerprints())
    import ray

    joined = not ray.is_initialized()
    if joined:
        _join(address)
    try:
        memory = worker_bytes(run.config for run in todo)
        _check_size(threads, gpus, memory)
        if before is not None:
            before()
        cluster = _Cluster(out, jobs or len(todo), threads, gpus, memory, trackers, progress)
        return cluster.train(todo) if todo else {}
    finally:
        if joined:
            ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray itself warns to choose
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address != "local":
            _knock(address)
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


def _knock(address: str) -> None:
    """Raise an OSError or ValueError if nobody listens at an address, which Ray would try for minutes."""
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
    """Raise a TfnormError if no node could ever take a run, which would wait for good."""
    import ray

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
    """An actor that keeps what tasks tell until the driver takes it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def tell(self, event: dict[str, Any]) -> None:
        """Keep an event."""
        self.events.append(event)

    def take(self) -> list[dict[str, Any]]:
        """Return the events so far, each once."""
        events, self.events = self.events, []
        return events


class _BoardReporter(Reporter):
    """Tells the board what a run does, and keeps what it ends with."""

    def __init__(self) -> None:
        self.board: Any = None
        self.end: dict[str, Any] = {}
        self.task: Any = None
        self._last_step = 0.0

    def send(self, event: str, **values: Any) -> None:
        """Tell an event of the task at work."""
        if event in ("finished", "failed"):
            self.end = {"event": event, **values}
        else:
            self.board.tell.remote({"event": event, "task": self.task, **values})


_reporter = _BoardReporter()
_worker = Worker(_reporter)


def _train(task: Mapping[str, Any], board: Any, directory: str) -> dict[str, Any]:
    """Train one run in a process of Ray; return how it ended."""
    from tfnorm.ops import start_quietly

    start_quietly()
    with suppress(OSError):
        os.chdir(directory)
    _reporter.board, _reporter.end, _reporter.task = board, {}, task["task"]
    _reporter.send("sent", pid=os.getpid())
    _wait_for_lock(Path(task["folder"]))
    _worker.do(task)
    return _reporter.end


def _wait_for_lock(folder: Path) -> None:
    """Wait a while for a process that does not know yet that it has lost its node."""
    until = time.monotonic() + SECONDS_FOR_THE_LOCK
    while time.monotonic() < until:
        try:
            with run_lock(folder):
                return
        except LockedError:
            time.sleep(1)
        except OSError:  # the run itself says it better
            return


class _Cluster:
    """Runs that wait, and tasks that train them."""

    def __init__(
        self,
        out: Path,
        jobs: int,
        threads: int,
        gpus: float,
        memory: float,
        trackers: Sequence[str],
        progress: SweepProgress,
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.out, self.jobs, self.trackers, self.progress = out, jobs, list(trackers), progress
        passed = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        # On the node of this process: what another one kept would be lost with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.board: Any = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self.remote: Any = ray.remote(max_calls=MOST_CALLS)(_train).options(
            num_cpus=threads,
            num_gpus=gpus,
            memory=memory,
            max_retries=0,  # counted here, so that the watcher is told
            runtime_env={"env_vars": {**passed, **thread_settings(threads)}},
        )
        self.tries: dict[Path, int] = {}
        self.failures: dict[Path, str] = {}
        self.sent: set[str] = set()

    def train(self, runs: Sequence[PlannedRun]) -> dict[Path, str]:
        """Train all runs; return the sentences of those that failed."""
        import ray

        waiting = deque(sorted(runs, key=lambda run: str(run.folder.parent)))
        self.runs = {str(run.folder): run for run in runs}
        at_work: dict[Any, PlannedRun] = {}
        try:
            while waiting or at_work:
                while waiting and len(at_work) < self.jobs:
                    run = waiting.popleft()
                    at_work[self.submit(run)] = run
                ready, _ = ray.wait(list(at_work), num_returns=len(at_work), timeout=SECONDS_BETWEEN_LOOKS)
                self.look({self.name(run) for run in at_work.values()})
                for task in ready:
                    run = at_work.pop(task)
                    if self.lost(run, task):
                        waiting.append(run)
        finally:
            for task in at_work:
                ray.cancel(task, force=True)
        return self.failures

    def name(self, run: PlannedRun) -> str:
        """Return what a try of a run is called in events."""
        return f"{self.tries[run.folder]} {run.folder}"

    def submit(self, run: PlannedRun) -> Any:
        """Give the cluster a run."""
        self.tries[run.folder] = self.tries.get(run.folder, 0) + 1
        config = run.config
        if config.data_dir is not None:
            config = config.model_copy(update={"data_dir": config.data_dir.resolve()})
        task = {
            "kind": "train",
            "task": self.name(run),
            "config": config.model_dump(mode="json"),
            "folder": str(self.out / run.folder),
            "trackers": self.trackers,
        }
        return self.remote.remote(task, self.board, os.getcwd())

    def look(self, at_work: set[str]) -> None:
        """Pass on what the tasks at work told."""
        import ray

        for event in ray.get(self.board.take.remote()):
            if event["task"] not in at_work:
                continue  # it came after its task had ended
            place = self.out / event["task"].split(" ", 1)[1]
            if event["event"] == "sent":
                self.sent.add(event["task"])
                self.progress.sent(place, event["pid"])
            else:
                pass_on(self.progress, place, event)

    def lost(self, run: PlannedRun, task: Any) -> bool:
        """See to a task that ended; return whether its run must wait again."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        place = self.out / run.folder
        if self.name(run) not in self.sent:
            self.progress.sent(place, 0)
        try:
            end = ray.get(task)
        except RayTaskError as error:
            first = str(error.cause).strip().splitlines()[0]
            self.fail(run, f"{type(error.cause).__name__}: {first}. Every node needs the same tfnorm as this machine.")
        except RayError as error:
            how = f"Its process or node was lost ({type(error).__name__})"
            if self.tries[run.folder] < MOST_TRIES:
                self.progress.interrupted(place, f"{how}; it goes on in another one.")
                return True
            self.fail(run, f"{how}, in the last of {MOST_TRIES} tries.")
        else:
            if end["event"] == "failed":
                self.fail(run, end["sentence"])
            else:
                self.progress.finished(place, end["result"])
        return False

    def fail(self, run: PlannedRun, sentence: str) -> None:
        """Note that a run failed."""
        self.failures[run.folder] = sentence
        self.progress.failed(self.out / run.folder, sentence)
