"""Training one network under one recipe, on disk."""
