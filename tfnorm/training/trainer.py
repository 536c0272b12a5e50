"""Train one run: load, build, train, write."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Unpack

from tfnorm import _keras  # noqa: F401 - says what is missing before Keras fails for it

# isort: split
import keras
import numpy as np

from tfnorm.callbacks import HistoryRecorder
from tfnorm.convert.recalibrate import batch_norms
from tfnorm.datasets import Batches, Dataset, augmentation
from tfnorm.datasets.given.epochs import random_state_kept
from tfnorm.datasets.given.pipeline import not_as_without_a_break
from tfnorm.datasets.memory import available_memory, size_text
from tfnorm.errors import RunError, TfnormError, first_line, is_memory_error
from tfnorm.files import results_come_first, whole_file, write_whole
from tfnorm.keras_settings import BACKENDS, standard_settings, unknown_backend
from tfnorm.metrics.known import metric_record
from tfnorm.metrics.scores import is_score
from tfnorm.mistakes import draw_misclassified, find_misclassified
from tfnorm.ops import graphs_let_go, use_deterministic_operations, without_retracing_warnings
from tfnorm.spec import NormSpec
from tfnorm.training.checkpoint import best_epoch
from tfnorm.training.config import RunPlan, RunSettings, TrainConfig, plan_run, with_settings
from tfnorm.training.data import load_data
from tfnorm.training.folder import CONFIG, RunFolder
from tfnorm.training.lock import run_lock
from tfnorm.training.network.devices import check_batches, check_devices, on_devices, on_own_device, record_of, spread
from tfnorm.training.network.network import Network, check_networks, make_network
from tfnorm.training.predict import EVALUATION_BATCH, evaluation_batch, predict_logits
from tfnorm.training.progress import Progress
from tfnorm.training.provenance import check_same_place, describe, python_call
from tfnorm.training.records import write_json
from tfnorm.training.runs import Run, evaluated_on
from tfnorm.training.tracking import TRACKERS, catch_up
from tfnorm.training.watcher import LastEpochRecalibration, Score, Trained, Watcher, arrays_of, assign, no_better_for

STEPS_AT_ONCE = 8

# Models of the last runs with their graphs, by configuration, the newest last. Runs that take turns are traced
# only once each. The number and the size are limited, so that memory does not grow.
MOST_GRAPHS = 8
MOST_BYTES_OF_GRAPHS = 256 * 2**20
_graphs: dict[str, Trained] = {}


@with_settings
def train(
    config: TrainConfig | Mapping[str, Any] | NormSpec | str | None = None,
    *,
    out: str | Path | None = None,
    data: Dataset | None = None,
    progress: Progress | None = None,
    trackers: str | Sequence[str] = (),
    **settings: Unpack[RunSettings],
) -> Run:
    """Train one network under one recipe, and write everything about it to a folder.

    A run that was broken off goes on after its last whole epoch. A finished run is returned as it is. TensorFlow is
    told to compute with operations that give the same bits each time, for the rest of the process.

    Args:
        config: A norm spec such as "gn:4", a `TrainConfig`, or a mapping of its settings.
        out: The folder. Defaults to ``runs/ARCH-DATASET/NORM/seed-SEED``.
        data: The whole data if they are in memory already; ``holdout`` takes its part of them.
        progress: Receives progress events.
        trackers: Names from `tfnorm.training.tracking.TRACKERS`, "tensorboard" or "wandb", which follow the run.
        **settings: Settings of the run, in place of those in ``config``.

    Returns:
        The finished `Run`.

    Raises:
        TfnormError: If the configuration, the data or the folder cannot be used, before anything is trained.

    Example:
        >>> run = train(norm="gn:2", dataset="digits", epochs=1, augmentation="none", out=folder)
        >>> run.status
        'finished'
    """
    call = python_call("tfnorm.train", config, out=out, data=data, trackers=trackers or None, **settings)
    plan = plan_run(config, out=out, data=data, trackers=trackers, call=call, **settings)
    return train_planned(plan, progress=progress)


def train_planned(plan: RunPlan, *, progress: Progress | None = None) -> Run:
    """Train a planned run, or go on with it; see `train`."""
    finished = RunFolder(plan.folder).finished
    if not finished:
        check_devices(plan.config.devices)
    data = load_data(plan.config, plan.data)
    (progress or Progress()).read(data.sentences)
    if not finished:
        check_networks([plan.config], data)
    return train_on(data, plan.config, plan.folder, progress=progress, trackers=plan.trackers)


def train_on(
    data: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    progress: Progress | None = None,
    trackers: Sequence[str] = (),
) -> Run:
    """Do as `train` with a resolved configuration and the data that `load_data` returned for it."""
    config = config.settled(data)
    folder, asked, progress = RunFolder(out), config.asked(), progress or Progress()
    if not folder.finished and keras.backend.backend() not in BACKENDS:  # such as "numpy", which is for inference
        raise TfnormError(unknown_backend(keras.backend.backend()))
    with nullcontext() if folder.finished else run_lock(folder.path):
        # Another process may have begun or finished the run since it was planned.
        folder.check(asked, data.fingerprint, data.class_names)
        if not folder.finished:
            if folder.config_path.exists():
                data = data.as_begun(folder.read_config(CONFIG)["data"])
            memory = memory_in_words(config, data, folder.path)
            with (
                standard_settings(), random_state_kept(), without_retracing_warnings(), graphs_let_go(), memory,
                on_devices(config.devices),
            ):  # fmt: skip
                trainer = _Trainer(config, folder, data, progress, trackers)
                with failures_told(trainer.batches):
                    return trainer.run(asked)
    catch_up(folder.path, trackers)
    progress.skipped(folder.path, config.epochs or 0)
    return Run(folder.path)


def forget_graph() -> None:
    """Let go of the models that wait for another seed."""
    _graphs.clear()


class _Trainer:
    """Trains one run, step by step."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, data: Dataset, progress: Progress, trackers: Sequence[str]
    ) -> None:
        self.config, self.folder, self.data, self.progress = config, folder, data, progress
        self.trackers = trackers
        whole = config.recipe.drop_remainder and len(data.x_train) >= config.batch_size
        self.batches = data.batches(config.batch_size, seed=config.seed, drop_remainder=whole)

    def run(self, asked: dict[str, Any]) -> Run:
        config, data, batches = self.config, self.data, self.batches
        self.folder.tidy()
        keras.utils.set_random_seed(config.seed)
        use_deterministic_operations()
        network = make_network(config, data)
        self.network, self.head, self.metric = network.model, network.head, network.metric
        check_batches(batches, len(data.x_test), config.devices)
        trained = self.with_augmentation(network)
        description = {
            "asked": asked, **describe(self.network, data, config), **network.record(),
            **record_of(self.network, config), "metric": metric_record(self.metric),
        }  # fmt: skip
        if network.compiled:  # a file without the state of its optimizer opens with a warning
            self.network.optimizer.build(self.network.trainable_variables)
        else:  # then the saved model can be evaluated; this optimizer has no state to save
            loss, _ = self.head.losses()
            self.network.compile("sgd", loss=loss, metrics=self.head.accuracy())
        earlier, state = self.earlier()
        done = self.done = len(earlier)
        if done:  # a run that goes on keeps the record of its start
            there = self.folder.read_config(CONFIG)
            check_same_place(self.folder.path, there, description)
            if data.shuffles:  # so that it does not end with the bits of a run without a break
                write_json(self.folder.config_path, {**there, "went_on": [*there.get("went_on", []), done]})
                self.progress.read([not_as_without_a_break(done)])
        else:
            write_json(self.folder.config_path, description)
        self.progress.skipped(self.folder.path, done)
        self.progress.started(self.folder.path, config.epochs, len(batches))
        tested = evaluation_batch(len(data.x_test), math.prod(data.input_shape[:2]), config.devices)
        recorder = HistoryRecorder(self.folder.history_path, initial_epoch=done, images_per_epoch=batches.images)
        trackers = [TRACKERS[name](self.folder.path, description, earlier) for name in self.trackers]
        watcher = Watcher(config, self.folder, batches, recorder, self.progress, trackers, self.metric)
        callbacks: list[keras.callbacks.Callback] = [recorder, watcher]
        if is_score(name := self.metric.key.removeprefix("val_")):
            callbacks.insert(0, Score(name, self.logits, data.y_test))
        last = None
        if config.recipe.recalibrate and batch_norms(self.network):
            last = LastEpochRecalibration(
                data.for_statistics(config.seed), batch_size=EVALUATION_BATCH, every=config.epochs, seed=config.seed
            )
        over = no_better_for(config.patience, earlier, self.metric, config.freeze_epochs)
        at_work, begin, ends = trained, 0, ends_of_stages(config)
        for end in ends:
            if end >= done:
                self.prepare(trained, network, len(batches), end - begin, last=end == ends[-1])
                if state:
                    self.restore(trained, state)
                    state = {}
                at_work = self.with_graph(trained, asked)
                at_work.fit(
                    spread(batches.stream(), config.devices),
                    epochs=done if over else end,
                    initial_epoch=max(begin, done),
                    validation_data=spread(
                        Batches(data.x_test, data.y_test, tested, weights=data.w_test).stream(), config.devices
                    ),
                    callbacks=[*callbacks, *([last] if last is not None and end == ends[-1] else [])],
                    shuffle=False,
                    verbose=0,
                )
                if over or at_work.stop_training:
                    break
            begin = end
        if at_work is not trained:
            assign(trained.state, arrays_of(at_work.state))
        return self.finish(trained, at_work, watcher)

    def with_graph(self, trained: Trained, asked: Mapping[str, Any]) -> Trained:
        """Return a model in the state of ``trained`` whose graph is traced already, or ``trained`` if there is none.

        Runs that differ only in their seed share a graph, because everything that the seed decides is in the state.
        Tracing takes as long as several epochs on a small data set.
        """
        if self.config.model is not None:
            return trained  # what its function does with the seed is not known
        kind = repr(({**asked, "seed": None}, self.data.fingerprint, self.data.num_classes))
        at_work = _graphs.pop(kind, trained)
        if at_work is not trained:
            assign(at_work.state, arrays_of(trained.state))
        _graphs[kind] = at_work
        sizes = {name: 4 * sum(math.prod(v.shape) for v in model.state) for name, model in _graphs.items()}  # in bytes
        while len(_graphs) > 1 and (len(_graphs) > MOST_GRAPHS or sum(sizes.values()) > MOST_BYTES_OF_GRAPHS):
            oldest = next(iter(_graphs))
            del _graphs[oldest], sizes[oldest]
        return at_work

    def with_augmentation(self, network: Network) -> Trained:
        """Return the network behind its augmentation."""
        config = self.config
        switch = config.recipe.plain_epochs > 0
        shape = self.data.input_shape
        augment = augmentation(
            config.augmentation, seed=config.seed, mean=self.data.mean, switch=switch, size=shape[:2]
        )
        # The size of the images, which a network of any size does not say; open where training images are larger.
        cut = self.data.x_train.shape[1:] != shape
        image = keras.Input((None, None, shape[2]) if cut else shape, name="raw_image")
        images = on_own_device(image, config.devices)
        if augment is not None:
            images = on_own_device(augment(images), config.devices)
        (outputs,) = keras.tree.flatten(self.network(images))
        return Trained(image, outputs, name="training")

    def prepare(self, trained: Trained, network: Network, steps: int, epochs: int, *, last: bool) -> None:
        """Freeze or thaw layers for a stage of so many epochs, and compile for it, with a schedule of its own.

        An optimizer that has seen some layers alone has no momentum for the others, and Adam would begin with steps of
        three times their size.
        """
        if network.frozen is not None and self.config.freeze_epochs is not None:
            network.frozen.thaw() if last else network.frozen.freeze()
        # Keras spends a millisecond or more between two steps, as long as a small network needs for one. Its loop of
        # several steps cannot be divided among devices.
        several = keras.backend.backend() == "tensorflow" and self.config.devices == 1
        trained.compile(
            **network.training(self.config, steps, epochs, weighted=self.data.has_weights),
            steps_per_execution=min(STEPS_AT_ONCE, steps) if several else 1,
        )
        trained.optimizer.build(trained.trainable_variables)

    def earlier(self) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
        """Return the records of the epochs that were done, and the state after them, of the newest checkpoint."""
        records = self.folder.read_history()
        done, state, self.best = self.folder.checkpoints.load(records, self.metric) or (0, {}, None)
        self.folder.checkpoints.forget_after(done)
        return records[:done], state

    def restore(self, trained: Trained, state: Mapping[str, np.ndarray]) -> None:
        """Give a model the state of a checkpoint."""
        present = [(value.shape, value.dtype) for value in arrays_of(trained.state).values()]
        if [(value.shape, value.dtype) for value in state.values()] != present:
            raise RunError(
                f"The checkpoint in {self.folder.path} was written by another version of tfnorm or Keras, or in "
                "another precision. Choose another output folder."
            )
        assign(trained.state, state)

    def logits(self, model: keras.Model) -> np.ndarray:
        """Return the logits of the test images."""
        return self.head.to_logits(predict_logits(model, self.data.x_test))

    def save_network(self, name: str) -> None:
        with whole_file(self.folder.path / f"{name}.keras") as temporary:
            self.network.save(temporary)

    def finish(self, trained: Trained, at_work: Trained, watcher: Watcher) -> Run:
        """Write the models, the predictions and the result.

        ``at_work``, in the state of ``trained``, has the compiled graph that it was evaluated with.
        """
        folder, data = self.folder, self.data
        self.save_network("model")
        records = watcher.recorder.records
        best = best_epoch(records, self.metric)
        weights = self.best if best is None or best < self.done else folder.checkpoints.load_best(best + 1)
        if weights is not None:
            last = arrays_of(trained.variables)
            assign(trained.variables, weights)
            self.save_network("best")
            assign(trained.variables, last)
        logits = self.logits(at_work)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, logits=logits, y_true=data.y_test)
        write_whole(folder.predictions_path, buffer.getvalue())
        epoch, step = watcher.diverged_at
        finite = bool(np.isfinite(logits).all())
        if epoch is None and not finite:  # the last step made the weights useless
            epoch, step = len(records) - 1, -1 - int(keras.ops.convert_to_numpy(trained.first_bad_step))
        wrong = None
        if finite and not data.multi_label:
            found = find_misclassified(data.y_test, logits, class_names=data.class_names, from_logits=True)
            wrong = found.total
            title = found.title(self.config.norm, evaluated_on(self.config.holdout))
            with results_come_first("the picture misclassified.png"):
                draw_misclassified(data.x_test, found, title=title, path=folder.path / "misclassified.png")
        value = records[-1].get(self.metric.key, math.nan)
        result = {
            "status": "finished" if epoch is None else "diverged", "epochs": len(records), "best_epoch": best,
            "diverged_at_epoch": epoch, "diverged_at_step": step, "misclassified": wrong,
            "metric": {**metric_record(self.metric), "value": value if math.isfinite(value) else None},
        }  # fmt: skip
        for tracker in watcher.trackers:
            tracker.finish(result)
        write_json(folder.result_path, result)
        self.progress.finished(folder.path, {**result, self.metric.key: value})
        return Run(folder.path)


def ends_of_stages(config: TrainConfig) -> list[int]:
    """Return the epochs after which something else is trained, or the run ends.

    Example:
        >>> config = TrainConfig(norm="bn", epochs=5)
        >>> ends_of_stages(config), ends_of_stages(config.model_copy(update={"freeze_epochs": 2}))
        ([5], [2, 5])
    """
    epochs, frozen = config.epochs or 0, config.freeze_epochs or 0
    return [frozen, epochs] if 0 < frozen < epochs else [epochs]


@contextmanager
def failures_told(batches: Any) -> Iterator[None]:
    """Raise what stopped the stream of batches, in place of TensorFlow's error about it."""
    try:
        yield
    except Exception:
        if batches.failure is not None:
            raise batches.failure from None
        raise


@contextmanager
def memory_in_words(config: TrainConfig, data: Dataset, path: Path) -> Iterator[None]:
    """Turn an error about memory into a RunError that says what was asked for and what needs less."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TfnormError) or not is_memory_error(error):
            raise
        free = available_memory()
        room = "" if free is None else f" {size_text(free)} are free now."
        raise RunError(
            f"Out of memory in {path}: {config.arch} with {config.norm} was trained on batches of {config.batch_size} "
            f"images of {'x'.join(map(str, data.input_shape))} ({first_line(error)[:200]}).{room} "
            "Use a smaller batch_size (--batch-size) or image_size (--image-size) and another output folder, or free "
            "some memory and repeat the command: it goes on after the last whole epoch."
        ) from error
