"""Rules on what comes before and after a norm."""

from __future__ import annotations

from collections.abc import Iterator

from keras import layers

from tfnorm._keras import NN
from tfnorm.analysis.outputs import CLASS_FUNCTIONS
from tfnorm.checks.finding import Found, several
from tfnorm.checks.subject import Norm, Subject, has_kernel, idle, norm_of, size, where
from tfnorm.convert.graph import Call
from tfnorm.convert.insert import HIDDEN
from tfnorm.layers.normalization.batch_normalization import takes_batch_statistics
from tfnorm.text import counted

_DROPOUTS = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
_RESHAPES = (layers.Flatten, layers.Reshape)


def bias_before(subject: Subject) -> Iterator[Found]:
    """Find biases that the mean of the norm after them takes away."""
    names: list[str] = []
    count = 0
    for norm, before in subject.normed:
        bias = getattr(before.operation, "bias", None)
        if bias is not None and norm.centers and norm.per_channel:
            names.append(before.name)
            count += size(bias)
    if names:
        yield Found(
            names,
            f"The bias of {several(names, 'layer')} is subtracted again, with the mean, by the norm that follows: "
            f"{counted([count], 'parameter')} without effect.",
            "keras.layers.Conv2D(..., use_bias=False)",
            {"layers": len(names), "parameters": count},
        )


def missing(subject: Subject) -> Iterator[Found]:
    """Find layers without a bias and without a norm in networks where most have one."""
    kernels = {call.name: (call, _after(subject, call)) for call in subject.calls if has_kernel(call) and call.first}
    normed = [name for name, (_, after) in kernels.items() if any(norm_of(each) for each in after)]
    bent = {name: after for name, (_, after) in kernels.items() if after and all(_bends(each) for each in after)}
    if len(bent) > len(normed):
        return
    for name, after in bent.items():
        if getattr(kernels[name][0].operation, "bias", None) is None and subject.counts(name):
            yield Found(
                [name],
                f"{name!r} has no bias, and no norm is between it and {after[0].name!r}. A norm follows "
                f"{several(normed, 'other layer')} with a kernel.",
                f"model = tfnorm.convert.insert_norms(model, 'bn', where={where([name])})",
                {"with_norm": len(normed), "without": len(bent)},
            )


def _after(subject: Subject, call: Call) -> list[Call]:
    """Return the calls that take the output of one, without layers that do nothing at inference."""
    readers = subject.readers(call)
    return [found for each in readers for found in (_after(subject, each) if idle(each.operation) else [each])]


def _bends(call: Call) -> bool:
    """Return whether a call is the activation of hidden layers."""
    operation = call.operation
    name = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__)
    return not getattr(operation, "weights", None) and name.lower().replace("_", "") in HIDDEN


def norm_after(subject: Subject) -> Iterator[Found]:
    """Find norms of what a norm has just normalized."""
    for norm in subject.norms:
        before = subject.before(norm.call)
        first = None if before is None else norm_of(before)
        if first is not None and subject.alone(first.call, norm.call):
            yield Found(
                [norm.name],
                f"{norm.name!r} normalizes what {first.name!r} has just normalized, with nothing between them.",
                f"model = tfnorm.convert.replace_norms(model, 'none', where={where([norm.name])})",
                {"before": first.name},
            )


def on_outputs(subject: Subject) -> Iterator[Found]:
    """Find norms whose output is what the model answers: logits, or after a softmax."""
    for norm in subject.norms:
        before = subject.before(norm.call)
        squashed = before is not None and _squashes(before)
        path = _path_out(subject, norm.call)
        ends = path is not None and (any(map(_squashes, path)) or _classifies(subject))
        if path is None or not (squashed or ends):
            continue
        what = "probabilities, which then are none any more" if squashed else "the logits"
        yield Found(
            [norm.name],
            f"{norm.name!r} normalizes {what}: how sure the network is of a class {_lost(norm)}.",
            f"model = tfnorm.convert.replace_norms(model, 'none', where={where([norm.name])})",
            {"after_softmax": squashed, "over_batch": norm.over_batch},
            "" if squashed else "note",
        )


def _lost(norm: Norm) -> str:
    if norm.over_batch:
        return "then depends on the other images of the batch in training, and on moving statistics at inference"
    return "no longer depends on the image"


def _squashes(call: Call) -> bool:
    activation = getattr(getattr(call.operation, "activation", None), "__name__", "")
    return activation in ("softmax", "sigmoid") or isinstance(call.operation, (layers.Softmax, NN.Softmax, NN.Sigmoid))


def _classifies(subject: Subject) -> bool:
    """Return whether the compiled loss is a cross-entropy of the outputs."""
    loss = getattr(subject.model, "loss", None)
    name = getattr(loss, "name", None) or getattr(loss, "__name__", loss)
    return loss in CLASS_FUNCTIONS or (isinstance(name, str) and "crossentropy" in name)


def _path_out(subject: Subject, call: Call) -> list[Call] | None:
    """Return the calls from one to an output, if none of them has weights or changes what the numbers mean."""
    if subject.gives_out(call):
        return []
    for reader in subject.readers(call):
        if idle(reader.operation) or isinstance(reader.operation, _RESHAPES) or _squashes(reader):
            rest = None if getattr(reader.operation, "weights", None) else _path_out(subject, reader)
            if rest is not None:
                return [reader, *rest]
    return None


def dropout_before(subject: Subject) -> Iterator[Found]:
    """Find dropout right before batch norms, whose variance in training is not that at inference."""
    for norm in subject.norms:
        source = norm.call.inputs[0]
        if not isinstance(source, Call) or not isinstance(source.operation, _DROPOUTS):
            continue
        rate = source.operation.rate
        if rate and takes_batch_statistics(norm.layer):
            yield Found(
                [source.name, norm.name],
                f"{source.name!r} drops {rate:.0%} of what {norm.name!r} normalizes: in training the variance is up to "
                f"{1 / (1 - rate):.2f} times that at inference, and the moving variance is that of training.",
                "x = keras.layers.Dropout(rate)(keras.layers.BatchNormalization()(x))",
                {"rate": float(rate), "variance_ratio": 1 / (1 - rate)},
            )
