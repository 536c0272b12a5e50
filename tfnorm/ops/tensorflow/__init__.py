"""What TensorFlow computes faster than generic operations do."""
