"""One comparison: its runs, its tables, its pictures and its page."""
