"""Says in a sentence what is missing or too old when it is imported, which is before Keras, whose import would fail."""

from tfnorm.keras_settings import check_keras_settings

check_keras_settings()
