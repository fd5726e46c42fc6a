"""Processes that a role starts for one piece of work."""
