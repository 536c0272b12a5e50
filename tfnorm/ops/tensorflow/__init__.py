"""Norm functions that are faster on TensorFlow than the generic ones."""
