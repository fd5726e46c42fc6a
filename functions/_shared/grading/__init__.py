"""Grading of samples, as graders of fine-tuning and criteria of evals ask it."""
