"""A sweep: its grid, its runs, its tables and its page."""
