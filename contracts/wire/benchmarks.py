"""Benchmarks as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.wire.answers import Benchmark
from contracts.wire.openai import iso, seconds


def benchmark(view: Mapping[str, Any]) -> Benchmark:
    """Return a benchmark: what was asked for, how far it is, what was found; scores are in 0..1."""
    requested, completed, failed = view["requested"], view["completed"], view["failed"]
    id = view["id"]
    return {
        "id": id,
        "object": "benchmark",
        "created_at": view["created_at"] // 1000,
        "created_at_iso": iso(view["created_at"]) or "",
        "finished_at": seconds(view["finished_at"]),
        "status": view["status"],
        "delay": None,
        "fine_tuning_job_id": requested["job"],
        "file": requested["file"],
        "generalization_file": requested.get("generalization"),
        "forgetting_file": requested.get("forgetting"),
        "rescores": requested.get("rescores"),
        "models": {side: model["name"] for side, model in requested["models"].items()},
        "suite": requested["suite"],
        "progress": {"answered": view["done"], "total": view["total"]},
        "verdict": completed["verdict"] if completed else None,
        "sentence": completed["sentence"] if completed else None,
        "scores": completed["scores"] if completed else [],
        "report_url": f"/v1/benchmarks/{id}/report" if completed else None,
        "result_url": f"/v1/benchmarks/{id}/result" if completed else None,
        "items_url": f"/v1/benchmarks/{id}/items" if completed else None,
        "error": {"code": failed["code"], "message": failed["message"]} if failed else None,
    }
