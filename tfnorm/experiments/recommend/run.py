"""Search a setting within a budget and confirm it: ``print(tfnorm.recommend(dataset="digits").sentence)``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

from tfnorm.datasets import Dataset
from tfnorm.experiments.recommend.confirm import Contest, confirm, names_of, score_on_test
from tfnorm.experiments.recommend.page import recommendation_page
from tfnorm.experiments.recommend.plan import Baseline, RecommendPlan, plan_recommendation
from tfnorm.experiments.recommend.result import Recommendation
from tfnorm.experiments.recommend.search import search
from tfnorm.experiments.recommend.space import Bounds, Values
from tfnorm.experiments.recommend.state import RecommendProgress, State
from tfnorm.files import PAGE, results_come_first, write_text
from tfnorm.spec import NormSpec
from tfnorm.training.config import SearchSettings, with_settings
from tfnorm.training.data import load_data
from tfnorm.training.lock import run_lock


@with_settings
def recommend(
    norms: Iterable[str | NormSpec] | str | None = None,
    *,
    baseline: Baseline = None,
    budget: str | None = None,
    runs: int | None = None,
    margin: float | None = None,
    learning_rate: Bounds | None = None,
    batch_size: Values | None = None,
    dropout: Bounds | None = None,
    l1: Values | None = None,
    l2: Values | None = None,
    ws: bool | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    data: Dataset | None = None,
    progress: RecommendProgress | None = None,
    **settings: Unpack[SearchSettings],
) -> Recommendation:
    """Search a setting of norm, penalties, learning rate, batch size and dropout, and confirm it against yours.

    The training images are divided into three: one part is trained on; a second scores the runs of the search, with one
    seed; a third scores the confirmation, with other seeds. In the confirmation, the best three settings that differ in
    their spec race against yours, see `tfnorm.experiments.sequential.race`. At the end, what you are told to take and
    yours are trained on all training images, with three seeds each, and scored on the test images, which nothing has
    seen before. What the search found looks better on its own images than it is, because it is the best of many; on
    images and seeds that it never saw, it does not.

    ``holdout`` is the share of the training images in each of the two parts that are not trained on, by default 0.2.
    A call that was interrupted goes on. Needs Optuna: ``pip install 'tfnorm[search]'``.

    Args:
        norms: Norm specs to choose from, without penalties; "gn" stands for 2, 4, 8, 16 and 32 groups, as far as they
            divide the channels. Default: bn, gn, ln, ln:channel, in, none, and for a model of yours keep, as far as
            they fit.
        baseline: Your present setting: a norm spec, a mapping of settings such as
            ``{"norm": "none", "learning_rate": 3}``, a `TrainConfig`, or a TOML file of settings. Default: bn, for a
            model of yours keep, with the settings of the recipe.
        budget: Time for all of it, such as "20m" or "1h30m", of which the search takes at most half. The first look of
            the confirmation and the test take place in any case. Default: 20 minutes, unless ``runs`` is given.
        runs: Number of runs in all, at least 23, half of them to search.
        margin: The largest difference that does not matter to you, see `tfnorm.compare`.
        learning_rate: Bounds of the peak learning rate, or one that is fixed. Default: from 1/30 of the recipe's to 10
            times that.
        batch_size: Batch sizes to choose from, or one. Default: 16, 32, 64 and 128.
        dropout: Bounds of the dropout rate, or one. Default: 0 to 0.3; a model of yours keeps its own.
        l1: Factors of the L1 penalty to choose from, or one. Default: 0, 1e-5, 1e-4 and 1e-3.
        l2: The same of the L2 penalty.
        ws: Whether to standardize weights. By default it is tried both ways.
        out: The folder. Default: in ``runs/``, with a mark of the arguments that are not the default.
        jobs: Runs of the confirmation and the test at the same time, each in a process of one thread. The search trains
            one run after another, since each depends on those before it. Default: all in this process.
        data: The data if they are in memory already.
        progress: Receives progress events.
        **settings: Settings that all runs share, see `tfnorm.training.config.TrainConfig`.

    Returns:
        The `Recommendation`.

    Raises:
        TfnormError: If an argument, the data or the folder cannot be used, before anything is trained; or if no run of
            the search ended with a value.
    """
    plan = plan_recommendation(
        norms, baseline=baseline, budget=budget, runs=runs, margin=margin, learning_rate=learning_rate,
        batch_size=batch_size, dropout=dropout, l1=l1, l2=l2, ws=ws, out=out, jobs=jobs, data=data, **settings,
    )  # fmt: skip
    return run_recommendation(plan, progress)


def run_recommendation(plan: RecommendPlan, progress: RecommendProgress | None = None) -> Recommendation:
    """Carry out what of a plan is not done yet, and write the files; see `recommend`."""
    progress = progress or RecommendProgress()
    with run_lock(plan.folder):
        state = State(plan)
        data = load_data(plan.config(plan.baseline, "search"), plan.data)
        progress.read(data.sentences)
        state.check_data(data.fingerprint)
        plan = plan.fitted(data)
        if state.candidates is None:
            state.candidates = search(plan, state, data, progress)
            state.save()
        del data  # the confirmation has other images
        contest = Contest(plan, names_of(state.candidates, plan.baseline))
        if not state.confirmed:
            confirm(contest, state, progress)
            state.confirmed = True  # from here on the test images are seen, and nothing is decided any more
            state.save()
        found = Recommendation(plan, state)
        score_on_test(found.test, state, progress)
        state.save()
        found.save()
        with results_come_first(f"the page {PAGE}"):
            write_text(plan.folder / PAGE, recommendation_page(found))
        return found
