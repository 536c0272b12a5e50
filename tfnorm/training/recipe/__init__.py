"""Recipes, and the optimizers and losses that they name."""
