"""Shapes as they go over the wire."""
