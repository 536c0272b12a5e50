"""Data that a person's own Python gives: batches in any form, functions, and data sets of other libraries."""
