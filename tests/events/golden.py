"""Golden events: what was once published is read for ever, and a view changes only together with its version.

`TOPIC.vN.json` is one record of each topic and version; none is ever edited. `log.jsonl` is a fixed log, and
`views.json` is what the read models make of it. `python -m tests.events.golden` writes `views.json`; it refuses while a
view differs and its version does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts import envelope
from contracts.canonical import compact, sha256
from contracts.documents import READ_MODELS, Stored, fold, touched
from contracts.envelope import Event, Record

HERE = Path(__file__).parent
LOG, VIEWS = HERE / "log.jsonl", HERE / "views.json"
KEY = b"the signing key of the golden events"
WRITE = "run `python -m tests.events.golden` and read what changed in views.json"


def read(golden: Mapping[str, Any]) -> Event:
    """Return the event in a golden record, as every function reads it; raises PoisonError."""
    headers = {name: value.encode() for name, value in golden["headers"].items()}
    record = Record(
        topic=golden["headers"]["ce_type"],
        key=headers["ce_subject"],
        headers=tuple(headers.items()),
        value=compact(golden["value"]),
        at=golden.get("at", 1),
    )
    return envelope.read(record, KEY, None)


def views() -> dict[str, Any]:
    """Return what the code makes of the fixed log: its hash, and each read model's version and views."""
    content = LOG.read_bytes()
    documents: dict[str, dict[str, Stored]] = {name: {} for name in READ_MODELS}
    for line in content.splitlines():
        event = read(json.loads(line))
        for model, id in touched(event):
            new = fold(model, id, documents[model.name].get(id), event)
            if new is not None:
                documents[model.name][id] = new
    models = {
        name: {
            "version": READ_MODELS[name].version,
            "views": {id: json.loads(compact(stored.view)) for id, stored in by_id.items()},
        }
        for name, by_id in documents.items()
    }
    return {"log": sha256(content), "models": models}


def enlarged(value: Any, number: int) -> Any:
    """Return a view in which every integer is `number`."""
    if isinstance(value, dict):
        return {name: enlarged(each, number) for name, each in value.items()}
    if isinstance(value, list):
        return [enlarged(each, number) for each in value]
    return number if type(value) is int else value


def forbidden(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each view that changed without a new version; another log is no comparison."""
    if now["log"] != then["log"]:
        return []
    problems = []
    for name, model in now["models"].items():
        before = then["models"].get(name)
        if before is None or before["version"] != model["version"] or before["views"] == model["views"]:
            continue
        ids = sorted(before["views"].keys() | model["views"].keys())
        first = next(id for id in ids if before["views"].get(id, ...) != model["views"].get(id, ...))
        problems.append(
            f"The view of `{name}` changed (first in {first}) and its version is still {model['version']}: documents "
            f"that are stored already would keep the old view. Raise `version` of the read model `{name}` in "
            f"contracts/documents, then {WRITE}."
        )
    return problems


def problems(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the stored views, in sentences that say what to do; none when all is well."""
    if found := forbidden(now, then):
        return found
    return [] if now == then else [f"The fixed log or a read model's version changed: {WRITE}."]


def main() -> int:
    """Write views.json unless that would hide a change without a new version; returns the exit status."""
    now = views()
    if VIEWS.exists() and (found := forbidden(now, json.loads(VIEWS.read_text()))):
        print(*found, sep="\n", file=sys.stderr)
        return 1
    VIEWS.write_text(json.dumps(now, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
