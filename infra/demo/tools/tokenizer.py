"""The demo base's tokenizer: byte-level BPE of 1,024 tokens, one token per digit, trained on the synthetic chats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from infra.demo import text

VOCABULARY = 1024
PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

# A space joins the lower-case word or mark after it, but stands alone before capitals and digits. So a name, a number
# or a sentence has the same tokens in the middle of a context as at the start of an answer, and copying stays easy.
_PIECES = r"\p{Lu}+\p{Ll}*| ?\p{Ll}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+| ?\p{L}+"

# There is no `tools` in it: the base cannot call any, so rows with tools are refused instead of trained without them.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}
{%- elif message['role'] == 'user' -%}
{{- '<|user|>' + message['content'] + '<|end|>' -}}
{%- elif message['role'] in ('system', 'developer') -%}
{{- '<|system|>' + message['content'] + '<|end|>' -}}
{%- else -%}
{{- raise_exception('This model knows the roles system, user and assistant, not ' + message['role'] + '.') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"""


def _sample(chats: int) -> Iterator[str]:
    rng = Random(0)
    yield "\n".join(text.words())
    for _ in range(chats):
        yield "\n".join(message["content"] for message in text.reading_chat(rng, 5, 2))


def build_tokenizer(chats: int = 4000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `chats` synthetic chats; the same text always gives the same tokenizer."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        _sample(chats),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load a tokenizer that was saved to `folder`."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer
