"""Models that Keras 2 saved with layers of tensorflow-addons or keras-contrib."""
