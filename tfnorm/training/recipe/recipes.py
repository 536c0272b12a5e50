"""Recipes: optimizer, schedule and augmentation. Keras is imported only where they are built."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tfnorm.datasets import AUGMENTATIONS
from tfnorm.registry import Registry

#: That of PyTorch, and those of Keras that suit kernels.
Initializer = Literal[
    "torch", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform",
    "random_normal", "random_uniform", "truncated_normal", "orthogonal",
]  # fmt: skip


def known_augmentation(name: str | None) -> str | None:
    """Return ``name``, or raise a DataError if it is no augmentation's."""
    if name is not None:
        AUGMENTATIONS[name]
    return name


class Recipe(BaseModel):
    """A way to train.

    Args:
        name: Its name.
        title: One line for lists.
        optimizer: "sgd", "adam", "adamw" or "muon"; or "own", the optimizer and the loss that a model of yours is
            compiled with. Then the schedule is for a model that is not compiled, and ``learning_rate`` replaces that of
            your optimizer. With `recipe.muon.Muon` the classifier is left to Adam.
        learning_rate: The peak of the schedule. It may be None for "own".
        momentum: Momentum of SGD and Muon.
        nesterov: If `True`, SGD uses Nesterov momentum. Muon always does.
        adam_ratio: Learning rate of what Muon leaves to Adam (gammas, betas, biases, the classifier), divided by that
            of Muon.
        weight_decay: Weight decay of AdamW, and of the kernels that Muon orthogonalizes. It is decoupled from the
            gradient and multiplied by the learning rate.
        schedule: "constant", "step", "one_cycle" or "cosine". "step" multiplies by ``step_factor`` every
            ``step_epochs``. "one_cycle" rises linearly from 1/25 of the peak over the first ``warmup`` of the steps,
            then falls by half a cosine to ``final`` of the peak (after arXiv 1708.07120, without its cycling of
            momentum). "cosine" is the same without the rise.
        step_epochs: Epochs between steps.
        step_factor: Factor at each step.
        warmup: Share of the steps that the rise takes.
        final: Share of the peak at the end.
        augmentation: A name from `tfnorm.datasets.AUGMENTATIONS`.
        plain_epochs: Number of epochs at the end without augmentation, so that the network ends on images like those
            it is tested on (arXiv 2107.08430). If there are no more epochs than that, all are without. A run that
            ``patience`` ends early may not reach them.
        recalibrate: If `True`, the moving statistics of batch norms are estimated again from training images without
            augmentation, after the last epoch and before its evaluation; see `tfnorm.callbacks.BatchNormRecalibration`
            (arXiv 2105.07576). Other norms do not change. A run that ``patience`` ends early is not recalibrated.
        batch_size: Images per step.
        epochs: Passes over the training set.
        drop_remainder: If `True`, the last batch of an epoch is left out if it is not full, because batch statistics of
            a few images are noisy. Each epoch has another order, so that no image is left out for good.
        convention: "keras" or "torch": constants of the norms and initialization, see `tfnorm.build`.
        kernel_initializer: Initializer of the kernels. By default the convention's.
        dropout: Dropout rate. By default the architecture's.
        label_smoothing: Share of the target that is spread evenly over all classes (arXiv 1512.00567), in the loss that
            is minimized and in ``data_loss``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    title: str = ""
    optimizer: Literal["sgd", "adam", "adamw", "muon", "own"] = "sgd"
    learning_rate: float | None = Field(None, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    adam_ratio: float = Field(1.0, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "one_cycle", "cosine"] = "constant"
    step_epochs: int = Field(1, ge=1)
    step_factor: float = Field(0.1, gt=0)
    warmup: float = Field(0.3, ge=0, lt=1)
    final: float = Field(4e-6, ge=0, le=1)
    augmentation: str = "none"
    plain_epochs: int = Field(0, ge=0)
    recalibrate: bool = False
    batch_size: int = Field(64, ge=1)
    epochs: int = Field(20, ge=1)
    drop_remainder: bool = False
    convention: Literal["keras", "torch"] = "keras"
    kernel_initializer: Initializer | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    _augmentation = field_validator("augmentation")(known_augmentation)

    @model_validator(mode="after")
    def _only_what_is_used(self) -> Recipe:
        if self.optimizer != "own" and self.learning_rate is None:
            raise ValueError("learning_rate is needed")
        if self.optimizer not in ("sgd", "own") and self.nesterov:
            raise ValueError(f"nesterov belongs to sgd, not to {self.optimizer}")
        if self.optimizer != "muon" and self.adam_ratio != 1:
            raise ValueError(f"adam_ratio belongs to muon, not to {self.optimizer}")
        if self.optimizer not in ("adamw", "muon") and self.weight_decay:
            raise ValueError("weight_decay belongs to adamw and muon; for a coupled decay add +l2=DECAY/2 to the spec")
        return self

    def make_schedule(self, steps_per_epoch: int, epochs: int) -> Any:
        """Return a Keras learning-rate schedule, or a number where it is constant."""
        from keras.optimizers.schedules import CosineDecay, ExponentialDecay  # start-up

        total = steps_per_epoch * epochs
        rate = self.learning_rate or RECIPES["default"].learning_rate or 0.0
        if self.schedule == "constant":
            return rate
        if self.schedule == "step":
            steps = steps_per_epoch * self.step_epochs
            return ExponentialDecay(rate, steps, self.step_factor, staircase=True)
        rise = int(self.warmup * total) if self.schedule == "one_cycle" else 0
        if not rise:
            return CosineDecay(rate, total, alpha=self.final)
        return CosineDecay(rate / 25, total - rise, alpha=self.final, warmup_target=rate, warmup_steps=rise)

    def make_optimizer(self, steps_per_epoch: int, epochs: int) -> Any:
        """Return a Keras optimizer with the recipe's schedule."""
        from keras import optimizers  # start-up

        rate = self.make_schedule(steps_per_epoch, epochs)
        if self.optimizer in ("sgd", "own"):
            return optimizers.SGD(rate, momentum=self.momentum, nesterov=self.nesterov)
        if self.optimizer == "adam":
            return optimizers.Adam(rate)
        if self.optimizer == "adamw":
            return optimizers.AdamW(rate, weight_decay=self.weight_decay)
        from tfnorm.training.recipe.muon import Muon  # start-up

        return Muon(
            rate, momentum=self.momentum, weight_decay=self.weight_decay or None, adam_weight_decay=None,
            adam_lr_ratio=self.adam_ratio, exclude_layers=["logits"],
        )  # fmt: skip


RECIPES: Registry[Recipe] = Registry("recipe")


def _add(name: str, title: str, **settings: Any) -> None:
    RECIPES.add(name, Recipe(name=name, title=title, **settings))


_add(
    "default", "one-cycle SGD, gentle shifts, robust on every data set here",
    learning_rate=0.1, nesterov=True, schedule="one_cycle", augmentation="shift", batch_size=32, drop_remainder=True,
    convention="torch", kernel_initializer="he_normal",
)  # fmt: skip
_add(
    "own", "the optimizer and the loss that your model is compiled with; if it is not compiled, those of default",
    optimizer="own", nesterov=True, schedule="one_cycle", batch_size=32, drop_remainder=True,
)  # fmt: skip
_add(
    "finetune", "for trained networks: AdamW, a short rise to 0.0003, half a cosine down, 10 epochs",
    optimizer="adamw", learning_rate=0.0003, weight_decay=0.01, schedule="one_cycle", warmup=0.1, batch_size=32,
    epochs=10,
)  # fmt: skip
_add(
    "A", "of the network mnist_7k: SGD 0.1, x0.1 every 2 epochs, rotation and shear 5 degrees",
    learning_rate=0.1, schedule="step", step_epochs=2, step_factor=0.1, augmentation="A", convention="torch",
)  # fmt: skip
_add(
    "B", "of the network cifar_plain: Adam, one-cycle to 0.01, flip, shift, cutout, gray",
    optimizer="adam", learning_rate=0.01, schedule="one_cycle", augmentation="B", convention="torch",
)  # fmt: skip
_add(
    "C", "for the network cifar_dilated: SGD, one-cycle to 0.1, flip, shift, cutout",
    learning_rate=0.1, nesterov=True, schedule="one_cycle", augmentation="C", convention="torch",
)  # fmt: skip
_add(
    "D", "of the network mnist_layered: SGD 0.04104, x0.09 every 2 epochs, rotation 7 degrees, 25 epochs",
    learning_rate=0.04104, schedule="step", step_epochs=2, step_factor=0.09, augmentation="D", batch_size=128,
    epochs=25, convention="torch",
)  # fmt: skip
_add(
    "E", "of the network cifar_residual: SGD 0.01, x0.1 every 8 epochs, RandAugment on a quarter of the images",
    learning_rate=0.01, schedule="step", step_epochs=8, step_factor=0.1, augmentation="E", convention="torch",
)  # fmt: skip
# Chosen among a few by benchmarks/recipes.py on a tenth of the training images, which were held out; the numbers are
# in benchmarks/results/recipes_*.json.
_MUON: dict[str, Any] = {
    "optimizer": "muon", "learning_rate": 0.02, "momentum": 0.95, "schedule": "one_cycle", "convention": "torch",
    "dropout": 0.0,
}  # fmt: skip
_add(
    "A+",
    "for the network mnist_7k: Muon, one cycle to 0.02, smoothed targets, gentle shifts, no dropout, recalibrated",
    **_MUON, augmentation="shift", label_smoothing=0.1, recalibrate=True,
)  # fmt: skip
_add(
    "B+", "for the network cifar_plain: Muon, one cycle to 0.02, smoothed targets, flip and small shifts, no dropout",
    **_MUON, augmentation="flip_nudge", label_smoothing=0.1,
)  # fmt: skip
_add(
    "C+",
    "for the network cifar_dilated: Muon, one cycle to 0.005, smoothed targets, flip and small shifts, no dropout",
    **{**_MUON, "learning_rate": 0.005}, augmentation="flip_nudge", label_smoothing=0.1,
)  # fmt: skip
_add(
    "D+", "for the network mnist_layered: Muon, one cycle to 0.02, smoothed targets, gentle shifts, no dropout, "
    "recalibrated, 25 epochs",
    **_MUON, augmentation="shift", label_smoothing=0.1, recalibrate=True, batch_size=64, epochs=25,
)  # fmt: skip
_add(
    "E+", "for the network cifar_residual: Muon, one cycle to 0.02, flip and small shifts, no dropout",
    **_MUON, augmentation="flip_nudge",
)  # fmt: skip
