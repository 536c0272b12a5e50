"""Sweeps on a real Ray cluster of two nodes on this machine: the same bits, also when a node is lost."""

import importlib.util
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import own_networks
import pandas as pd
import pytest
import ray
from facts import says
from networks import SOON_OVER
from ray.cluster_utils import Cluster

from tfnorm import sweep
from tfnorm.errors import LockedError, TfnormError
from tfnorm.experiments.comparison.run import compare
from tfnorm.experiments.engines.ray_cluster import _wait_for_lock
from tfnorm.experiments.progress import SweepProgress
from tfnorm.models.sources import source_of
from tfnorm.training.runs import outcome

GRID = {"settings": SOON_OVER, "grid": {"norm": ["bn+l1=1e-4"], "seeds": 2}}  # the second half of `swept`
MEMORY = 4 * 2**30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a cluster whose first node, which has no part in the work, is joined by two that have one CPU each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": MEMORY})
    made.workers = [made.add_node(num_cpus=1, memory=MEMORY) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


class NodeKiller(SweepProgress):
    """Kills, once, the node of a run that has just begun to train and has its graph to build before it can end."""

    def __init__(self, cluster):
        self.cluster, self.pids, self.killed, self.interrupted_runs, self.tries = cluster, {}, None, [], {}

    def sent(self, run, pid):
        self.pids[run] = pid
        self.tries[run] = self.tries.get(run, 0) + 1

    def started(self, run, epochs, steps):
        if self.killed is None:
            self.killed = run
            after_name = Path(f"/proc/{self.pids[run]}/stat").read_text().rpartition(")")[2]
            parent = int(after_name.split()[1])
            raylets = {node.all_processes["raylet"][0].process.pid: node for node in self.cluster.workers}
            self.cluster.workers.remove(raylets[parent])
            self.cluster.remove_node(raylets[parent], allow_graceful=False)
            os.kill(self.pids[run], signal.SIGKILL)  # it would train on, alone, on a machine that still runs

    def interrupted(self, run, sentence):
        self.interrupted_runs.append((run, sentence))


def test_a_lost_node_changes_no_bit(swept, cluster, tmp_path):
    killer = NodeKiller(cluster)
    again = sweep(GRID, out=tmp_path, engine="ray", address=cluster.address, progress=killer)
    assert again.failures == {}
    for run in swept.planned[2:]:
        assert outcome(tmp_path / run.folder) == outcome(swept.path / run.folder), run.folder
    clocks, half = ["seconds", "images_per_second"], swept.table[1:].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.table.drop(columns=clocks), half.drop(columns=clocks), check_exact=True)
    ((lost, sentence),) = killer.interrupted_runs
    says(sentence, "node was lost", "goes on")
    assert lost == killer.killed and killer.tries[lost] == 2


def test_a_run_waits_for_a_process_that_does_not_know_yet_that_its_node_was_lost(tmp_path, monkeypatch):
    tries = []

    def locked_twice(folder):
        tries.append(folder)
        if len(tries) < 3:
            raise LockedError("Another process trains it.")
        return nullcontext()

    monkeypatch.setattr("tfnorm.experiments.engines.ray_cluster.run_lock", locked_twice)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _wait_for_lock(tmp_path)
    assert tries == [tmp_path] * 3


def test_what_the_cluster_cannot_do_is_told_before_anything_starts(cluster, tmp_path):
    for options, facts in (
        ({"jobs": 0}, ("at least 1", "jobs=0")),
        ({"address": "127.0.0.1:1"}, ("'127.0.0.1:1'", "Connection refused")),
        ({"address": "here"}, ("'here'", "HOST:PORT", "ray://HOST:PORT")),
        (
            {"address": cluster.address, "threads": 64, "gpus": 2},
            ("64 CPUs", "2 GPUs"),
        ),
    ):
        with pytest.raises(TfnormError) as caught:
            sweep(GRID, out=tmp_path / "out", engine="ray", **options)
        says(caught, *facts)
    assert not (tmp_path / "out").exists()


def test_engines_are_checked(tmp_path, monkeypatch):
    for options, facts in (
        ({"engine": "rey"}, ("'rey'", "'ray'", "local, ray")),
        (
            {"address": "10.0.0.1:6379"},
            ("address", "GPUs", "'ray'", "engine='local'"),
        ),
    ):
        for call in (lambda **options: sweep(GRID, **options), lambda **options: compare("bn", **options)):
            with pytest.raises(TfnormError) as caught:
                call(out=tmp_path / "out", **options)
            says(caught, *facts)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    with pytest.raises(TfnormError) as caught:
        compare("bn", out=tmp_path / "out", engine="ray")
    says(caught, "ray", "pip install 'tfnorm[ray]'", "'local'")
    assert not (tmp_path / "out").exists()


@pytest.mark.matrix
def test_seeds_are_added_on_a_cluster_as_in_processes(cluster, tmp_path):
    how = {**SOON_OVER, "seeds": "auto", "margin": 8.0, "max_runs": 14}
    local = compare(["gn:2", "bn"], out=tmp_path / "local", jobs=1, **how)
    remote = compare(["gn:2", "bn"], out=tmp_path / "ray", engine="ray", address=cluster.address, **how)
    clocks = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(remote.table.drop(columns=clocks), local.table.drop(columns=clocks), check_exact=True)
    assert remote.pairs == local.pairs and len(remote.runs) > 6


@pytest.mark.matrix
def test_nodes_import_the_file_of_a_model(cluster, tmp_path):
    model, rates = f"{own_networks.__file__}:plain", {"keep": 0.05, "gn:4": 0.02}
    found = compare(
        list(rates), model=model, image_size=8, learning_rate=rates, seeds=1, out=tmp_path, engine="ray",
        address=cluster.address, epochs=1, batch_size=16,
    )  # fmt: skip
    for run in found.runs:
        asked = run.config["asked"]
        assert asked["arch"] == "own_networks.py:plain" and asked["learning_rate"] == rates[run.label]
        assert run.config["network"]["spec"] == run.label
    [mark] = {run.config["asked"]["model_hash"] for run in found.runs}
    assert mark == source_of(model).fingerprint and not found.differing
