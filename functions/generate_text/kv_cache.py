"""The keys and values of a running batch whose rows join and leave between steps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

_COLUMNS = 64  # columns a full buffer grows by, so that a step copies nothing


class _Layer(DynamicLayer):
    """One layer's buffers [rows, heads, columns, dim]; `cache` says which part of them is in use."""

    def __init__(self, cache: "BatchCache", keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.cache = cache
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        rows, start, end = self.cache.rows, self.cache.start, self.cache.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_seq_length(self) -> int:
        return self.cache.width


class BatchCache(Cache):
    """Right-aligned rows in buffers that are written in place: columns [start, end) are in use, a step appends one.

    Rows shorter than the width are padded on the left; the padding's content is arbitrary and must be masked.
    Right alignment keeps the distance between columns equal to the distance between positions, which sliding-window
    masks rely on.
    """

    layers: list[DynamicLayer]

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.rows = 0
        self.start = self.end = 0

    @property
    def width(self) -> int:
        """Columns in use: the length of the longest row."""
        return self.end - self.start

    def join(self, prefilled: DynamicCache, picked: Sequence[int], longest: int) -> None:
        """Append the `picked` rows of a prefilled, left-padded cache, the longest of which has `longest` tokens."""
        width = max(self.width, longest)
        if not self.layers:
            self.layers = [
                _Layer(self, layer.keys.new_empty((0, *layer.keys.shape[1:])), layer.values[:0])
                for layer in prefilled.layers
            ]
        self._reserve(self.rows + len(picked), width)
        rows, columns = slice(self.rows, self.rows + len(picked)), slice(self.end - longest, self.end)
        index = torch.tensor(picked, device=self.layers[0].keys.device)
        for mine, theirs in zip(self.layers, prefilled.layers, strict=True):
            # Masked columns are multiplied by zero, and zero times what memory happened to hold may be NaN.
            mine.keys[rows, :, : self.end] = 0
            mine.values[rows, :, : self.end] = 0
            mine.keys[rows, :, columns] = theirs.keys[index][:, :, -longest:]
            mine.values[rows, :, columns] = theirs.values[index][:, :, -longest:]
        self.rows += len(picked)
        self.start = self.end - width

    def leave(self, holes: Sequence[int], longest: int) -> list[tuple[int, int]]:
        """Remove rows; returns the (from, to) moves that filled the holes. `longest` is the longest row left."""
        gone, moves = set(holes), []
        last = self.rows - 1
        for hole in sorted(gone):
            while last in gone:
                last -= 1
            if hole >= last:
                break
            moves.append((last, hole))
            last -= 1
        for layer in self.layers:
            for source, target in moves:
                layer.keys[target, :, self.start : self.end] = layer.keys[source, :, self.start : self.end]
                layer.values[target, :, self.start : self.end] = layer.values[source, :, self.start : self.end]
        self.rows -= len(gone)
        self.start = self.end - longest
        return moves

    def prepare(self) -> None:
        """Make room for the column that the coming forward pass writes."""
        self._reserve(self.rows, self.width)

    def advance(self) -> None:
        """Count the column that the forward pass wrote."""
        self.end += 1

    def _reserve(self, rows: int, width: int) -> None:
        """Have buffers for `rows` rows and `width` columns ending at `end`, and one free column after it."""
        held_rows, columns = self.layers[0].keys.shape[0], self.layers[0].keys.shape[2]
        if rows <= held_rows and width <= self.end < columns:
            return
        if rows > held_rows:
            rows = max(rows, 2 * held_rows)
        columns = width + max(_COLUMNS, width // 4)
        for layer in self.layers:
            layer.keys = self._moved(layer.keys, max(rows, held_rows), columns, width)
            layer.values = self._moved(layer.values, max(rows, held_rows), columns, width)
        self.start, self.end = width - self.width, width

    def _moved(self, old: Tensor, rows: int, columns: int, end: int) -> Tensor:
        new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
        new[: self.rows, :, end - self.width : end] = old[: self.rows, :, self.start : self.end]
        return new
