"""A person's own Python: which functions files define, and importing and calling them. Imports no Keras."""
