"""Convolutional networks as data, and the builder that reads them."""
