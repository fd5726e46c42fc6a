"""Runs evals: rows answered and graded under a lease."""
