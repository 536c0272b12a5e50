"""The norms, one a file."""
