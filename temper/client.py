"""OpenAI's client with what Temper has besides; whatever OpenAI's has stays as it is, environment included.

This folder needs `openai` and the standard library alone: copy it, or install it with `pip install --no-deps`.
"""

from __future__ import annotations

from functools import cached_property

from openai import AsyncOpenAI, OpenAI

from temper._async import (
    AsyncBenchmarks,
    AsyncDatasets,
    AsyncJobs,
    AsyncModelFiles,
    AsyncNotifications,
    AsyncUsage,
)
from temper._sync import Benchmarks, Datasets, Jobs, ModelFiles, Notifications, Usage

__all__ = ["AsyncTemper", "Temper"]


class Temper(OpenAI):
    """A client of Temper."""

    @cached_property
    def datasets(self) -> Datasets:
        """What is made of documents, and where each row comes from."""
        return Datasets(self)

    @cached_property
    def jobs(self) -> Jobs:
        """What `fine_tuning.jobs` has not: plan and estimate, metrics, results, deletion, waiting."""
        return Jobs(self)

    @cached_property
    def benchmarks(self) -> Benchmarks:
        """How good a model is, beside its base."""
        return Benchmarks(self)

    @cached_property
    def model_files(self) -> ModelFiles:
        """A model as files, to take away."""
        return ModelFiles(self)

    @cached_property
    def notifications(self) -> Notifications:
        """Who was told of the ends of jobs."""
        return Notifications(self)

    @cached_property
    def usage(self) -> Usage:
        """What is stored, and how Temper is."""
        return Usage(self)


class AsyncTemper(AsyncOpenAI):
    """An asynchronous client of Temper."""

    @cached_property
    def datasets(self) -> AsyncDatasets:
        """What is made of documents, and where each row comes from."""
        return AsyncDatasets(self)

    @cached_property
    def jobs(self) -> AsyncJobs:
        """What `fine_tuning.jobs` has not: plan and estimate, metrics, results, deletion, waiting."""
        return AsyncJobs(self)

    @cached_property
    def benchmarks(self) -> AsyncBenchmarks:
        """How good a model is, beside its base."""
        return AsyncBenchmarks(self)

    @cached_property
    def model_files(self) -> AsyncModelFiles:
        """A model as files, to take away."""
        return AsyncModelFiles(self)

    @cached_property
    def notifications(self) -> AsyncNotifications:
        """Who was told of the ends of jobs."""
        return AsyncNotifications(self)

    @cached_property
    def usage(self) -> AsyncUsage:
        """What is stored, and how Temper is."""
        return AsyncUsage(self)
