"""Ask an exported model: `python -m functions.export_model.check spec.json`.

The spec names `format`, `folder`, `base` (a folder), `switches` of the template, `questions`: `messages`, `tools`,
`max_tokens` and, where they are known, `prompt_ids` of each. Loads the folder with plain PEFT, transformers or its GGUF
reader and prints what it says, greedily: {"refused": null or a sentence, "said": [text, …]}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from functions._shared.chat_template import ChatTemplate
from functions._shared.child import answer
from functions._shared.model_files import stop_ids
from functions.export_model.convert import GGUF


def load(spec: dict[str, Any]) -> Any:
    """Return the model as whoever takes it away loads it."""
    folder, base = spec["folder"], spec["base"]
    if spec["format"] == "adapter":
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
        return PeftModel.from_pretrained(model, folder).eval()
    if spec["format"] == "gguf":
        config = AutoConfig.from_pretrained(base, local_files_only=True)  # its reader knows of no biases
        return AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, config=config, dtype=torch.float32).eval()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def check(spec: dict[str, Any]) -> dict[str, Any]:
    """Answer the questions."""
    folder = Path(spec["base"] if spec["format"] == "gguf" else spec["folder"])
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    chat, model, said = ChatTemplate(tokenizer, stop_ids(Path(spec["base"]), tokenizer)), load(spec), []
    stops = sorted(chat.stops.ids) or [tokenizer.eos_token_id]
    for question in spec["questions"]:
        ids = question.get("prompt_ids")
        if chat.source:
            text = chat.prompt(question["messages"], question.get("tools"), spec["switches"])
            ids, known = tokenizer(text, add_special_tokens=False)["input_ids"], ids
            if known not in (None, ids):
                refused = "Its tokenizer and template render a prompt to other tokens than training."
                return {"refused": refused, "said": []}
        prompt = torch.tensor([ids])
        with torch.no_grad():
            made = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, eos_token_id=stops,
                pad_token_id=stops[0], max_new_tokens=question["max_tokens"], num_beams=1, repetition_penalty=1.0,
            )  # fmt: skip
        text = tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for stop in chat.stops.texts:
            text = text.partition(stop)[0]
        said.append(text.removeprefix(chat.lead(spec["switches"]) if chat.source else ""))
    return {"refused": None, "said": said}


if __name__ == "__main__":
    sys.exit(answer(check))
