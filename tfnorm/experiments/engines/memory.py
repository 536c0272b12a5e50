"""An estimate of the memory of a process that trains runs, before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tfnorm.datasets.given.own import OwnData
from tfnorm.datasets.memory import bytes_of, memory_for_images
from tfnorm.datasets.sources import find_source, stored_shape
from tfnorm.errors import TfnormError
from tfnorm.models.planner import plan
from tfnorm.spec import parse
from tfnorm.training.config import TrainConfig

# The activations of a model whose own are not known: those of ResNet50 for an image of 128 pixels.
BYTES_OF_ACTIVATIONS = 32_000_000
# Python, the backend and its graphs, measured with TensorFlow 2.21 and the digits: 1.0 to 1.2 GiB.
BYTES_OF_A_PROCESS = 1.2 * 2**30
COPIES_OF_THE_IMAGES = 2  # as they are read, and as they are kept
COPIES_OF_ACTIVATIONS = 3  # the activation, its gradient, and room to compute


def worker_bytes(configs: Iterable[TrainConfig]) -> float:
    r"""Return about how many bytes a process needs for the largest of some runs.

    .. math:: 1.2 \cdot 2^{30} + 2 D + 3 B A

    with D the pixels of all images, a byte each, B the batch size, and A the bytes of the activations of the network
    for one image. Pictures that are streamed, and data that cannot be read, count as none.
    """
    needs = {
        (str(c.dataset), c.data_dir, c.image_size, c.resize, c.arch, c.batch_size): c
        for c in map(TrainConfig.resolved, configs)
    }
    return BYTES_OF_A_PROCESS + max(map(_bytes_of_run, needs.values()), default=0.0)


def _bytes_of_run(config: TrainConfig) -> float:
    network, images, in_files = config.plan(), 0, False
    shape = (1, 1, 1) if network is None else network.input_shape
    try:
        own = isinstance(config.dataset, OwnData)  # whose size is not known before they are read
        place = None if own else find_source(config.dataset, config.data_dir)
        in_files = place is not None and place.is_dir()
        found = None if own else stored_shape(config.dataset, data_dir=config.data_dir)
        if found is not None:
            images, stored = found[0], (found[1], found[2], found[3])
            side = config.image_size
            if side is not None:
                shape = (side, side, stored[2])
            elif config.dataset != "digits" or network is None:  # those are resized to the network's input
                shape = stored
            network = network and plan(config.arch, parse("none"), input_shape=shape)
    except (TfnormError, OSError):
        pass  # loading them raises the error again
    kept = BYTES_OF_ACTIVATIONS
    if network is not None:
        kept = 4 * sum(math.prod(layer.shape) for layer in network.layers)
    elif config.model is not None and images:
        from tfnorm.training.network.network import activation_bytes  # start-up

        kept = activation_bytes(config.model, shape) or kept
    pixels = images * math.prod(shape if config.resize is None else (config.resize, config.resize, shape[2]))
    of_images = COPIES_OF_THE_IMAGES * pixels
    if pixels > memory_for_images(None if config.memory is None else bytes_of(config.memory)) and in_files:
        of_images = 0  # they are streamed
    return of_images + COPIES_OF_ACTIVATIONS * (config.batch_size or config.recipe.batch_size) * float(kept)
