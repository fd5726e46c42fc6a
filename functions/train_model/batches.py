"""Rows of tokens as batches for a device, and the loss over their labels."""

from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from functions.train_model import core
from functions.train_model.core import RecipeError

Batch = dict[str, Any]


class Rows:
    """Rows of a tokens file, memory-mapped: ids, label marks, where each begins, which are variants of each other."""

    def __init__(self, path: str, vocabulary: int) -> None:
        tensors = load_file(path)
        self.ids, self.marks = tensors["input_ids"], tensors["labels_mask"]
        self.offsets = tensors["offsets"].numpy()
        if problem := core.token_file_error(len(self.ids), len(self.marks), self.offsets):
            raise RecipeError("invalid_tokens", problem)
        self.groups = tensors["groups"].numpy() if "groups" in tensors else np.arange(len(self.offsets) - 1)
        self.per_epoch = len(np.unique(self.groups))
        if len(self.groups) != len(self.offsets) - 1 or int(self.groups.max()) + 1 != self.per_epoch:
            raise RecipeError(
                "invalid_tokens", "The tokens file does not say of each row which rows it is a variant of."
            )
        if int(self.ids.max()) >= vocabulary or int(self.ids.min()) < 0:
            raise RecipeError("invalid_tokens", f"A token id of {path} is outside the model's {vocabulary} embeddings.")
        self.lengths = np.diff(self.offsets)
        # A row's first token is predicted from nothing, so a mark on it trains nothing.
        counts = np.add.reduceat(self.marks.numpy(), self.offsets[:-1], dtype=np.int64)
        self.labels = counts - self.marks.numpy()[self.offsets[:-1]]
        if (self.labels == 0).any():
            raise RecipeError("no_labels", f"Row {int(np.argmin(self.labels))} has no token to train on.")

    def __len__(self) -> int:
        return len(self.lengths)

    def collate(self, rows: list[int]) -> Batch:
        """One forward pass: `input_ids` [rows, longest], `positions` [labels] (flat) that predict, `targets` [labels].

        Padding is on the right, where a causal model never looks back at it: no attention mask is needed.
        An empty list of rows gives a pass without labels, for a process that has to keep step with others.
        """
        picked = rows or [0]
        width = int(self.lengths[picked].max())
        ids = torch.zeros((len(picked), width), dtype=torch.int64)
        marks = torch.zeros((len(picked), width), dtype=torch.uint8)
        for i, row in enumerate(picked):
            begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
            ids[i, : end - begin] = self.ids[begin:end]
            if rows:
                marks[i, : end - begin] = self.marks[begin:end]
        marks[:, 0] = 0
        predicted = marks.flatten().nonzero().squeeze(1)
        tokens = int(self.lengths[rows].sum()) if rows else 0
        return {"input_ids": ids, "positions": predicted - 1, "targets": ids.flatten()[predicted], "tokens": tokens}


class LabelLoss:
    """Cross-entropy summed over labels alone: the output layer sees only the positions that predict one.

    A hook on the output layer drops the other positions, so whatever the model does to its logits
    (scale, soft cap) stays as the model defines it, and DDP or PEFT around it need not know.
    """

    def __init__(self, model: Any) -> None:
        self.positions: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def _select(self, _module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor] | None:
        return None if self.positions is None else (args[0].flatten(0, 1).index_select(0, self.positions),)

    def __call__(self, model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss summed over the labels of `batch`, and how many of them the model ranks first."""
        self.positions = batch["positions"]
        try:
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits
        finally:
            self.positions = None
        loss = cross_entropy(logits.float(), batch["targets"], reduction="sum")
        return loss, (logits.detach().argmax(-1) == batch["targets"]).sum()
