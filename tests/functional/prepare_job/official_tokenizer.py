"""A tokenizer as a template's model has one: the demo base's, with the control tokens that stand in the template."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from infra.runtime.bootstrap import DEMO_FOLDER

CONTEXT = 65536
_CONTROL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>\s]{1,40}｜>|<\|[a-z_]{2,20}>|<[a-z_]{2,20}\|>|<(?:start|end)_of_turn>|<SPECIAL_\d+>"
    r"|</?s>|<\[?seed:\w+\]?>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|ARGS)\]"
    r"|\[e~\[|\]~b\]|\]~!b\[|\[gMASK\]|<sop>"
)
_ADDED = re.compile(r"</?(?:think|tool_call|tool_response|arg_key|arg_value|seed:think|seed:tool_call)>|\[/?THINK\]")
ENDS = (
    ("<|return|>", ("<|return|>", "<|call|>")),
    ("<|observation|>", ("<|endoftext|>", "<|user|>", "<|observation|>")),
    ("<|eot_id|>", ("<|eot_id|>", "<|eom_id|>")),
    ("<|im_end|>", ("<|im_end|>",)),
    ("<|eot|>", ("<|eot|>",)),
    ("<|END_OF_TURN_TOKEN|>", ("<|END_OF_TURN_TOKEN|>",)),
    ("<|end_of_text|>", ("<|end_of_text|>",)),
    ("<end_of_turn>", ("<end_of_turn>",)),
    ("<turn|>", ("<turn|>",)),
    ("<seed:eos>", ("<seed:eos>",)),
    ("[e~[", ("[e~[",)),
    ("<｜end▁of▁sentence｜>", ("<｜end▁of▁sentence｜>",)),
    ("<|end|>", ("<|end|>",)),
    ("", ("</s>",)),
)
"""What stands in a template → where its model ends an answer: the first is the tokenizer's eos."""


def ends_of(template: str, foreign: bool) -> tuple[str, ...]:
    """Return the texts of the tokens at which the model stops; a foreign eos stands in no template."""
    return ("<|zz_eos|>",) if foreign else next(ends for mark, ends in ENDS if mark in template)


def save_tokenizer(folder: Path, template: str, foreign: bool = False) -> None:
    """Write the demo base's tokenizer with this template and the control tokens that stand in it."""
    raw = Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json"))
    ends = ends_of(template, foreign)
    begin = next((t for t in ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<bos>") if t in template), "<s>")
    special = dict.fromkeys([*ends, begin, *_CONTROL.findall(template)])
    raw.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    raw.add_tokens([AddedToken(each, normalized=False) for each in dict.fromkeys(_ADDED.findall(template))])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=ends[0], bos_token=begin, pad_token="<|pad|>", model_max_length=CONTEXT
    )
    made.chat_template = template
    made.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"eos_token_id": [raw.token_to_id(each) for each in ends]}))
