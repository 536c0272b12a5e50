"""What a comparison is about."""
