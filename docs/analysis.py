"""Draw the pictures of docs/analysis.md: ``python docs/analysis.py``."""

from pathlib import Path

import keras
import numpy as np

import tfnorm
from tfnorm.callbacks import ActivationStatistics
from tfnorm.reporting import plot_activations, plot_receptive_field

FOLDER = Path(__file__).parent / "results" / "analysis"


def main() -> None:
    """Draw the receptive fields of VGG-16, and activations of a network with batch normalization over training."""
    vgg = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    plot_receptive_field(vgg, path=FOLDER / "receptive-field.png")
    digits = tfnorm.datasets.load("digits").resize(32)
    images, others = (np.repeat(part, 3, axis=-1) for part in (digits.x_train, digits.x_test))
    model = tfnorm.build("cifar_residual", norm="bn", seed=0)
    watch = ActivationStatistics(others[:256])
    model.fit(images, digits.y_train, epochs=10, batch_size=64, callbacks=[watch])
    plot_activations(watch.records, path=FOLDER / "activations.png")


if __name__ == "__main__":
    main()
