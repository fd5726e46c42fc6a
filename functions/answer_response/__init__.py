"""Answers responses in the background under a lease."""
