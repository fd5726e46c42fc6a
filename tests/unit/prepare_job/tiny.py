"""A tokenizer of 256 bytes and a model of a few thousand random parameters, made on the spot."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"

PLAIN = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKED = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think></think>' }}{% endif %}{{ m.content + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOOLS = (
    "{% if tools %}{{ '<|system|>' + (tools | tojson) + '<|end|>' }}{% endif %}"
    "{% for m in messages %}{{ '<|' + ('user' if m.role == 'tool' else m.role) + '|>' + (m.content or '') }}"
    "{% for c in m.tool_calls or [] %}{{ 'call ' + c.function.name + ' ' + (c.function.arguments | tojson) }}"
    "{% endfor %}{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FORGETFUL = "{% if tools %}{{ '<|system|>' + (tools[0] | tojson) + '<|end|>' }}{% endif %}" + PLAIN
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
DEAF = (
    "{% for m in messages if m.role != 'system' %}{{ '<|' + m.role + '|>' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ENDLESS = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STRICT = "{{ raise_exception('Not today') }}" + PLAIN
UPPER = PLAIN.replace("m.content", "(m.content | upper)")
BACKWARDS = "{% for m in messages | reverse %}{{ m.content }}{% endfor %}"
OPENING = PLAIN.replace("%}<|assistant|>{%", "%}<|assistant|><think>{%")


def tokenizer(template: str = PLAIN, merge: str = "", **more: Any) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer: one token per byte, but for the two letters of `merge`."""
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    if merge:
        vocabulary[merge] = len(vocabulary)
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[(merge[0], merge[1])] if merge else []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([PAD, END, USER, ASSISTANT, SYSTEM])
    made = PreTrainedTokenizerFast(
        **{"tokenizer_object": raw, "pad_token": PAD, "eos_token": END, **more},
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
    )
    made.chat_template = template
    return made


def save_model(folder: Path, template: str = PLAIN, context: int = 512, hidden: int = 32, **more: Any) -> Path:
    """Write a complete Hugging Face directory."""
    import torch  # here, because most tests need no model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=264,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
    )
    config.eos_token_id = config.bos_token_id = None
    Qwen2ForCausalLM(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer(template, **more).save_pretrained(folder)
    return folder
