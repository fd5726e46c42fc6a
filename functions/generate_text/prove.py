"""The proof before a job may succeed: the stored model loads here, reads the same token ids, is finite, answers."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from contracts.ports import BlobNotFoundError
from contracts.wire.completions import ProofRequest
from contracts.wire.errors import ApiError
from functions.generate_text.engine import Engine, Sampling
from functions.generate_text.models import ModelError, Models, Rendered, ServedModel
from functions.generate_text.text import Answer

ANSWER_TOKENS = 32


async def prove(engine: Engine, models: Models, asked: ProofRequest) -> dict[str, Any]:
    """Prove a stored model; ApiError 422 with the code of what is wrong."""
    try:
        async with models.use(asked.manifest) as model:
            prompt = _rendered(model, asked)
            ids = prompt.ids
            await asyncio.to_thread(_check_finite, engine, model, ids)
            room = min(ANSWER_TOKENS, model.context - len(ids))
            sampling = Sampling(max_tokens=max(room, 0), temperature=0.0, stop_ids=model.stops.ids)
            tokens = await engine.submit(model.base, model.adapter, ids, sampling, stream=False).all()
            said = Answer(model.decode, model.stops.texts)
            text = "".join([*(said.add(token.id) for token in tokens), said.end()])
            answer = replace(prompt, calls=None).reader(None).whole(text).content  # as it was written
            return {"ok": True, "prompt_ids": ids, "answer": answer}
    except ModelError as error:
        raise ApiError(str(error), code=error.code, status=422) from error
    except BlobNotFoundError as error:
        message = f"the manifest {asked.manifest.key} is not stored"
        raise ApiError(message, code="manifest_mismatch", status=422) from error


def _rendered(model: ServedModel, asked: ProofRequest) -> Rendered:
    """Return the prompt as each endpoint renders it that the model may be asked at; raises ModelError."""
    chat, expected = asked.chat(), list(asked.expected_ids)
    try:
        prompts = [model.render(chat, asked.known_tools(), asked.chat_template_kwargs)] if model.template else []
        if model.row_shape == "prompt_completion" and len(chat) == 1:
            prompts.append(model.prompt(chat[0]["content"]))
    except ApiError as error:
        raise ModelError("template_mismatch", f"the messages do not render here: {error}") from error
    if not prompts:
        raise ModelError("template_mismatch", "the model has no chat template to render the messages with")
    for prompt in prompts:
        _check_ids(prompt.ids, expected)
    return prompts[0]


def _check_ids(ids: list[int], expected: list[int]) -> None:
    if ids != expected:
        pairs = zip(ids, expected, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(expected)))
        raise ModelError(
            "template_mismatch",
            f"the messages render to {len(ids)} tokens here and to {len(expected)} in training; "
            f"they differ from token {at} on: {json.dumps(ids[at : at + 3])} and {json.dumps(expected[at : at + 3])}",
        )


def _check_finite(engine: Engine, model: ServedModel, ids: list[int]) -> None:
    for name in filter(None, (model.adapter, model.base)):
        bad = engine.nonfinite(name)
        if bad is not None:
            raise ModelError("not_finite", f"{bad} holds NaN or infinity")
    if not bool(engine.logits(model.base, model.adapter, ids).isfinite().all()):
        raise ModelError("not_finite", "a forward pass over the prompt gives NaN or infinity")
