"""A study of a person's own training loop: what is open, what was recorded, and the comparison of it."""
