"""What tokenising and timing need, imported: what a process does before it forks tokenisers.

transformers imports a family of models, and with it most of itself, when the first of its models is made: three
seconds, for each job anew. All families share all but their own few layers, so two stand for all.
"""

from transformers.models.llama import modeling_llama
from transformers.models.qwen2 import modeling_qwen2

from functions.prepare_job import measure, render, tokenise

__all__ = ["measure", "modeling_llama", "modeling_qwen2", "render", "tokenise"]
