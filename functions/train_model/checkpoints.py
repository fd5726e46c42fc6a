"""Checkpoints of a training run: weights that others can load, and the state that continues it, without a pickle."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

RESUME_TENSORS, RESUME_STATE, TRAINER_STATE = "resume.safetensors", "resume.json", "trainer_state.json"
TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.jinja")


class Folder:
    """A checkpoint folder being written: files beside its place, renamed into it once all are on disk."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.partial = final.with_name(f".{final.name}.partial")
        self.roles: dict[str, str] = {}
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)

    def place(self, name: str, role: str) -> Path:
        """Where to write the file `name`, which serves as `role` (weights, config, tokenizer, resume)."""
        self.roles[name] = role
        return self.partial / name

    def commit(self) -> list[dict[str, Any]]:
        """Sync and rename; returns path, bytes, sha256 and role of each file."""
        files = [_describe(self.partial / name, role) for name, role in sorted(self.roles.items())]
        _sync_folder(self.partial)
        shutil.rmtree(self.final, ignore_errors=True)  # left by a run that was resumed from an earlier step
        self.partial.rename(self.final)
        _sync_folder(self.final.parent)
        return files


def write_adapter(folder: Folder, model: Any) -> None:
    """The adapter as PEFT reads it, without this machine's paths: same weights, same bytes."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(tensors, folder.place("adapter_model.safetensors", "weights"), metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    config |= {"base_model_name_or_path": None, "inference_mode": True}
    _write_json(folder.place("adapter_config.json", "config"), config)


def write_model(folder: Folder, model: Any, base_dir: Path) -> None:
    """The whole model as transformers reads it, with the tokenizer of its base."""
    model.save_pretrained(folder.partial)
    for path in folder.partial.iterdir():
        folder.place(path.name, "weights" if path.suffix == ".safetensors" else "config")
    for pattern in TOKENIZER_PATTERNS:
        for path in base_dir.glob(pattern):
            shutil.copyfile(path, folder.place(path.name, "tokenizer"))


def write_resume_state(folder: Folder, optimizer: Any, scheduler: Any, progress: dict[str, Any]) -> None:
    """Optimizer moments as tensors; learning rates and `progress` as JSON."""
    state = optimizer.state_dict()
    tensors = {f"{i}.{name}": t.cpu().contiguous() for i, each in state["state"].items() for name, t in each.items()}
    save_file(tensors, folder.place(RESUME_TENSORS, "resume"))
    rates = {name: value for name, value in scheduler.state_dict().items() if name != "lr_lambdas"}
    saved = {**progress, "param_groups": state["param_groups"], "scheduler": rates}
    _write_json(folder.place(RESUME_STATE, "resume"), saved)


def read_progress(folder: str) -> dict[str, Any]:
    """What write_resume_state was given as `progress`, with the learning rates."""
    saved: dict[str, Any] = json.loads((Path(folder) / RESUME_STATE).read_text())
    return saved


def load_resume_state(folder: str, optimizer: Any, scheduler: Any) -> None:
    """Put the moments and rates of a checkpoint into `optimizer` and `scheduler`."""
    saved = read_progress(folder)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(Path(folder) / RESUME_TENSORS).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    scheduler.load_state_dict({**saved["scheduler"], "lr_lambdas": [None] * len(saved["param_groups"])})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def _describe(path: Path, role: str) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": digest, "role": role}


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
