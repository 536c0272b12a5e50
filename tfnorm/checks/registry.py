"""The rules of `tfnorm.check` by name. Imports no Keras.

To add a rule, write a function of a `tfnorm.checks.subject.Subject` in a file of `tfnorm/checks/families` that yields
`Found`, and add a row here. `tfnorm list`, docs/checks.md and the contract tests take what they need from the row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfnorm.errors import TfnormError
from tfnorm.registry import Registry


@dataclass(frozen=True)
class Rule:
    """A rule of `tfnorm.check`.

    Args:
        severity: "warning" for what was measured to cost accuracy, "note" for what is worth knowing.
        title: What it finds, in a few words.
        function: The module and the function in `tfnorm.checks.families` that looks for it.
        needs: What it looks at: "graph", "weights", which change in training, or "data".
        paper: arXiv number of the paper that says why, or "".
    """

    severity: str
    title: str
    function: str
    needs: str = "graph"
    paper: str = ""


RULES: Registry[Rule] = Registry("rule", TfnormError)
# fmt: off
RULES.add("norm-before-pooling", Rule(
    "warning", "instance norm whose mean is all that global pooling keeps", "axes.pooled", paper="1607.08022"))
RULES.add("constant-norm", Rule("warning", "a norm of one number at a time, whose output is beta", "axes.constant"))
RULES.add("one-channel-groups", Rule(
    "note", "group norm with one channel a group", "axes.lone_channels", paper="1803.08494"))
RULES.add("layer-norm-axis", Rule(
    "note", "layer norm of each pixel where all else is PyTorch's", "axes.default_axis", paper="1607.06450"))
RULES.add("layer-norm-size", Rule(
    "note", "layer norm with a weight for each pixel", "axes.pixel_weights", paper="1607.06450"))
RULES.add("bias-before-norm", Rule(
    "note", "a bias that the norm after it takes away", "order.bias_before", paper="1502.03167"))
RULES.add("missing-norm", Rule("note", "neither a bias nor a norm, where most layers have one", "order.missing"))
RULES.add("norm-after-norm", Rule("note", "a norm right after a norm", "order.norm_after"))
RULES.add("norm-on-outputs", Rule("warning", "a norm on logits or after softmax", "order.on_outputs"))
RULES.add("dropout-before-norm", Rule(
    "warning", "dropout right before batch norm", "order.dropout_before", paper="1801.05134"))
RULES.add("penalty-on-norms", Rule(
    "note", "a penalty on gammas, betas or biases", "penalties.on_norms", paper="1812.01187"))
RULES.add("l2-with-adam", Rule(
    "note", "L2 in the loss beside Adam or AdamW's decay", "penalties.l2_with_adam", paper="1711.05101"))
RULES.add("l2-scale-free", Rule(
    "note", "L2 on kernels that a norm makes scale-free", "penalties.l2_scale_free", paper="1706.05350"))
RULES.add("penalty-dominates", Rule(
    "warning", "a penalty with larger gradients than the data", "penalties.dominates", "data"))
RULES.add("mixed-constants", Rule("note", "epsilons or momenta that differ from norm to norm", "constants.mixed"))
RULES.add("slow-statistics", Rule(
    "warning", "a momentum too large for the planned steps", "constants.slow", paper="2105.07576"))
RULES.add("small-batch", Rule(
    "warning", "few images a device for batch norm", "constants.few_images", paper="1803.08494"))
RULES.add("float16-epsilon", Rule(
    "note", "an epsilon that float16 does not hold", "constants.float16_epsilon", paper="1710.03740"))
RULES.add("norm-in-frozen-part", Rule(
    "warning", "batch norms that train in a frozen part", "frozen.in_frozen_part"))
RULES.add("frozen-norm-updates", Rule("note", "frozen batch norms whose statistics move", "frozen.updating"))
RULES.add("two-scalings", Rule("warning", "inputs that are scaled twice", "inputs.twice"))
RULES.add("input-scale", Rule("warning", "inputs on another scale than networks learn from", "inputs.scale", "data"))
RULES.add("loss-mismatch", Rule("warning", "a loss that takes outputs for what they are not", "labels.loss"))
RULES.add("labels", Rule("warning", "labels that fit neither outputs nor loss", "labels.labels", "data"))
RULES.add("batch-norm-gap", Rule(
    "warning", "moving statistics that cost accuracy, or are far from the data", "statistics.gap", "data",
    paper="2105.07576"))
RULES.add("small-gammas", Rule("note", "gammas near 0", "statistics.gammas", "weights", paper="1708.06519"))
RULES.add("dead-units", Rule(
    "warning", "channels that are the same for all images, ReLUs that give 0", "activations.look", "data",
    paper="1903.06733"))
RULES.add("float16-overflow", Rule(
    "warning", "activations beyond the range of float16", "activations.overflow", "data", paper="1710.03740"))
# fmt: on


def ignored_of(words: Iterable[str]) -> dict[str, list[str | None]]:
    """Return the patterns of layers that are left out by rule, None for all, or raise a TfnormError.

    Example:
        >>> ignored_of(["labels", "norm-after-norm:block*"])
        {'labels': [None], 'norm-after-norm': ['block*']}
    """
    found: dict[str, list[str | None]] = {}
    for word in words:
        name, _, layer = str(word).partition(":")
        RULES[name]  # raises for one that there is not
        found.setdefault(name, []).append(layer or None)
    return found
