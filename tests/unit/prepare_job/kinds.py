"""Small templates, each of a kind that real ones have; and the prompt and the answer that they make of a question."""

OPENS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content.split('</think>')[-1] }}<|end|>"
    "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
"""Its prompt opens a thought, which history does not show; no switch closes it."""
SWITCHED = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% if loop.last and m.reasoning_content %}"
    "<think>\n{{ m.reasoning_content }}\n</think>\n\n{% elif loop.last %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}{% endif %}"
)
"""`enable_thinking` says whether it thinks; by itself it does."""
ASKED_FOR = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}</think>{% endif %}{{ m.content }}"
    "{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{{ '<think>' if thinking else '</think>' }}{% endif %}"
)
"""By itself it does not think; `thinking` makes it."""
EMPTY = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}<think></think>{% endif %}"
    "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""It writes an empty thought before each answer."""
CHANNELS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if m.thinking and loop.last %}<|assistant|>[analysis]{{ m.thinking }}<|pad|>{% endif %}"
    "<|assistant|>[final]{{ m.content }}{{ '<|end|>' if loop.last else '<|pad|>' }}"
    "{% else %}<|{{ m.role }}|>{{ m.content }}<|pad|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Thought and answer are messages of their own; the last one ends otherwise than those before."""
BEFORE_CALLS = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}{% if m.reasoning_content %}[thought]\n"
    "{{ m.reasoning_content }}[done]{% endif %}{% for c in m.tool_calls %}call:{{ c.function.name }}"
    "{{ c.function.arguments | tojson }}{% endfor %}{% endif %}{{ m.content or '' }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""It shows what was thought before calls, and before no other answer."""
WORDS = (
    "{% for m in messages %}### {{ m.role | capitalize }}:\n{{ m.content | trim }}\n\n### End\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""A turn ends with words, no token of its own."""
OPEN_END = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""It does not end a turn."""
FOLDING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('No system here') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Turns') }}"
    "{% endif %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""It knows neither a system message nor two of the same role."""
PARTS = (
    "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Content is a list of parts."""
LAST = (
    "{% for m in messages %}{% if m.role == 'user' %}[ASK]{% if loop.last and messages[0].role == 'system' %}"
    "{{ messages[0].content }}\n{% endif %}{{ m.content }}[/ASK]{% elif m.role == 'assistant' %}{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}"
)
"""The system message stands in the last question as long as no answer follows; nothing asks for an answer."""
TEXT_CALLS = (
    "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('Nine letters') }}"
    "{% endif %}{{ c.function.name + c.function.arguments + c.id }}{% endfor %}{% elif m.role == 'tool' %}"
    "{{ m.name + ': ' + (m.content | tojson) }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Arguments are text, ids have nine letters, an answer of a tool has its name and is JSON."""
LISTS = (
    "{% set ns = namespace(ids=[]) %}{% for t in tools %}<|system|>{{ t.function | tojson }}<|end|>{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{% for c in m.tool_calls or [] %}"
    "{% set x = ns.ids.append(c.function.name) %}"
    "{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{% if m.role == 'tool' %}{{ ns.ids.pop(0) }}{% endif %}{{ m.content or '' }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""It changes a list of its own, and wants a list where there are no tools."""
VARIABLE = (
    "<|system|>{{ 'Functions: ' + functions + ' Today is ' + datetime + '.' }}<|end|>{% for m in messages %}"
    "<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|end|>"
    "{% endfor %}<|assistant|>"
)
"""Tools are text in a variable of its own, the day is another; it asks for an answer always."""
DATED = "<|system|>{{ strftime_now('%d %b %Y') }}<|end|>" + EMPTY.replace("<think></think>", "")
"""It shows the day."""
