"""A network of one's own under each spec: its norms, its penalties, and what changed."""
