"""Search a setting within a budget, confirm it against the present one, and say which to take."""
