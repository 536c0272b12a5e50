"""The network of a run, and what its outputs mean."""
