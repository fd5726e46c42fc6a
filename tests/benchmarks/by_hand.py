"""The stages between documents and a data set, run one after another without log, leases or other processes.

They are the worker's own, with its handlers, child processes and blobs; only what an event leads to is
kept in dictionaries. What the platform adds to them is then the difference.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import ZipUploaded
from infra.adapters.memory import MemoryControls, MemoryDocuments
from infra.children.child import ProcessChild
from infra.runtime.dispatch import placed, subscription
from infra.runtime.functions import of_role
from infra.runtime.hosting import host
from infra.runtime.world import World
from tests.leases import held

TENANT = "by-hand"
FUNCTIONS = ("extract_zip", "extract_text", "chunk_text", "plan_corpus", "synthesize_examples", "assemble_dataset")


async def dataset(archive: str, content: bytes, here: World, scratch: Path) -> tuple[Event, Counter[str]]:
    """Return the last event about an archive (`dataset.assembled`, or why there is none) and the seconds of each stage.

    `archive` is the id that another tenant's file may have, too: everything is then the same byte for byte, and lies
    elsewhere.
    """
    began = time.perf_counter()
    seconds: Counter[str] = Counter()
    blob = await here.blobs.put(f"{TENANT}/{archive}/content", content, "application/zip")
    uploaded = ZipUploaded(blob=blob, filename="archive.zip", purpose="fine-tune")
    waiting = [make(uploaded, subject=archive, tenant=TENANT, id=derived_id(archive, "file.uploaded"))]
    seconds["upload"] = time.perf_counter() - began
    documents, controls = MemoryDocuments(), MemoryControls()
    kept: Any = {"documents": documents, "controls": controls}
    there = host(replace(here, **kept), of_role("worker", FUNCTIONS), ProcessChild(), scratch)
    stages = {each.stage.name: each for function in there.functions for each in placed(function)}
    listening = [subscription(function, there.give_up) for function in there.functions]
    while True:
        event = waiting.pop(0)
        await documents.apply(event)
        for group in listening:
            if event.type in group.topics:
                await group.handle(event)
        for subject, control in controls.controls.items():
            if not control.ended:
                began = time.perf_counter()
                waiting += await stages[control.stage].work(
                    held(subject, control.tenant, control.stage, control.inputs, controls)
                )
                seconds[control.stage] += time.perf_counter() - began
                controls.controls[subject] = replace(control, ended=True)
        if not waiting:
            return event, seconds
