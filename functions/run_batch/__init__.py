"""Answers the requests of a file under a lease."""
