"""Published comparisons: what was trained and claimed, and what becomes of it when you train it again."""
