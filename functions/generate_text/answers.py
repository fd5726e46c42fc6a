"""Answers to chat and text completion requests: choices started together, told whole or as server-sent events."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from contracts.manifest import ManifestRef
from contracts.wire.completions import Chat, Completion, Sampled
from contracts.wire.errors import ApiError
from functions.generate_text import shapes, structure
from functions.generate_text.core import check_size, check_token_ids, max_new_tokens
from functions.generate_text.engine import Engine, Generation, OverloadedError, Sampling
from functions.generate_text.generation import ConstraintError, failure
from functions.generate_text.models import Models, Rendered, ServedModel
from functions.generate_text.shapes import AnswerPiece, Head
from functions.generate_text.text import Answer
from functions.generate_text.thoughts import AnswerReader

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Choice:
    """One choice on its way: tokens come from `generation`, text leaves through `answer`."""

    index: int
    generation: Generation
    answer: Answer
    model: ServedModel
    logprobs: int | None
    reader: AnswerReader | None = None
    """What takes the answer to a turn apart from its thought and its calls."""
    prefix: str = ""
    """The prompt's text, where it is echoed."""
    called: Literal["tool_calls", "function_call", "stop"] = "tool_calls"
    """How an answer ends that calls: one that was made to call a function by name ends with `stop`, as at OpenAI."""
    old: bool = False
    """Whether a call is told in OpenAI's old form."""
    finish: str = "length"
    pieces: list[AnswerPiece] = field(default_factory=list)
    end_piece: list[AnswerPiece] = field(default_factory=list)
    """The end token, which text completions list among their logprobs."""

    async def told(self) -> AsyncIterator[tuple[str, list[AnswerPiece]]]:
        """Text and the tokens behind it, as they become certain; the last item may be empty."""
        told = 0
        async for tokens in self.generation:
            text = ""
            for token in tokens:
                if token.id in self.generation.sampling.stop_ids:
                    self._keep(token.id, token.logprob, token.top, self.end_piece)
                    continue
                text += self.answer.add(token.id)
                self._keep(token.id, token.logprob, token.top, self.pieces)
                if self.answer.stopped:
                    break
            if self.answer.stopped:
                self.generation.cancel()
            if text:
                yield text, self.pieces[told : self.answer.visible]
                told = self.answer.visible
        text = self.answer.end()
        self.finish = "stop" if self.answer.stopped else self.generation.finish or "length"
        yield text, self.pieces[told : self.answer.visible]

    @property
    def why(self) -> str:
        """Why a chat's answer ends."""
        called = self.reader is not None and self.reader.called
        return self.called if called and self.finish == "stop" else self.finish

    def prompt_pieces(self) -> list[AnswerPiece]:
        """The echoed prompt's tokens; the first has no log-probability."""
        first, *others = self.generation.prompt_logprobs
        assert first is None
        told = [self.model.piece(token.id, token.logprob, token.top) for token in others if token is not None]
        return [self.model.piece(self.generation.prompt[0]), *told]

    def _keep(
        self, token: int, logprob: float | None, top: tuple[tuple[int, float], ...], where: list[AnswerPiece]
    ) -> None:
        if self.logprobs is not None:
            where.append(self.model.piece(token, logprob, top))


class EventStream(StreamingResponse):
    """Server-sent events; when they end or the client is gone, the work stops and the model is let go."""

    def __init__(self, events: AsyncGenerator[bytes, None], choices: "Sequence[Choice]", model: AsyncExitStack) -> None:
        self._events, self._choices, self._model = events, choices, model
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()
            _cancel(self._choices)
            await self._model.aclose()


async def chat(engine: Engine, models: Models, ref: ManifestRef, wanted: Chat, request: Request) -> Response:
    """Answer POST /v1/chat/completions."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(models.use(ref))
        prompt = await asyncio.to_thread(model.render, wanted.chat(), wanted.known_tools(), wanted.chat_template_kwargs)
        ids = prompt.ids
        room = max_new_tokens(len(ids), wanted.room, model.context, "messages")
        _check_bias(engine, model, wanted)
        held = await structure.held(model, engine.vocabulary(model.base), prompt, wanted, _tenant(request))
        choices = _start(engine, model, wanted, [ids], room, _tenant(request), prompt=prompt, held=held)
        head = _head("chatcmpl-", wanted, model)
        if wanted.stream:
            return EventStream(_chat_events(head, wanted, choices), choices, stack.pop_all())
        objects = await _unless_gone(request, choices, lambda: _gather(choices, _whole_chat_choice))
        return JSONResponse(shapes.chat(head, objects, _usage(choices, [ids])))


async def completions(
    engine: Engine, models: Models, ref: ManifestRef, wanted: Completion, request: Request
) -> Response:
    """Answer POST /v1/completions."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(models.use(ref))
        rendered = await asyncio.to_thread(_prompts, engine, model, wanted)
        prompts = [each.ids for each in rendered]
        for ids in prompts:
            max_new_tokens(len(ids), wanted.max_tokens, model.context, "prompt")
        _check_bias(engine, model, wanted)
        turn = rendered[0] if model.completes_turns and not wanted.echo else None
        choices = _start(engine, model, wanted, prompts, wanted.max_tokens, _tenant(request), turn, wanted.echo)
        if wanted.echo:
            for choice in choices:
                prompt = wanted.prompt[choice.index // wanted.n]
                choice.prefix = prompt if isinstance(prompt, str) else model.tokenizer.decode(list(prompt))
        head = _head("cmpl-", wanted, model)
        if wanted.stream:
            return EventStream(_completion_events(head, wanted, choices, prompts), choices, stack.pop_all())
        objects = await _unless_gone(request, choices, lambda: _gather(choices, _whole_completion_choice))
        return JSONResponse(shapes.completion(head, objects, _usage(choices, prompts)))


def _start(
    engine: Engine,
    model: ServedModel,
    wanted: Chat | Completion,
    prompts: Sequence[list[int]],
    room: int,
    tenant: str,
    prompt: Rendered | None = None,
    echo: bool = False,
    held: structure.Held = None,
) -> list[Choice]:
    """Queue every choice of every prompt; all or none."""
    limits, count = engine.limits, len(prompts) * wanted.n
    most = max(limits.request_tokens, model.context)
    check_size(sum(map(len, prompts)), count, room, limits.queue, most, "n" if wanted.n > 1 else "prompt")
    seed = wanted.seed if wanted.seed is not None else secrets.token_hex(8)
    choices: list[Choice] = []
    try:
        for index in range(count):
            sampling = Sampling(
                max_tokens=room,
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                seed=f"{seed}:{index % wanted.n}",
                presence_penalty=wanted.presence_penalty,
                frequency_penalty=wanted.frequency_penalty,
                logit_bias=wanted.logit_bias,
                stop_ids=model.stops.ids if prompt else model.stops.ids | model.chat.eos,
                logprobs=wanted.alternatives,
                prompt_logprobs=echo and wanted.alternatives is not None,
                constraint=held() if held else None,
            )
            # Without a stream or a stop sequence nobody looks before the end, and not telling saves a tenth of a step.
            stops = wanted.stop + (model.stops.texts if prompt else ())
            watch = wanted.stream or bool(stops)
            ids = prompts[index // wanted.n]
            generation = engine.submit(model.base, model.adapter, ids, sampling, stream=watch, tenant=tenant)
            most_calls = wanted.most_calls if isinstance(wanted, Chat) else None
            reader = prompt.reader(most_calls) if prompt else None
            answer = Answer(partial(model.decode, calls=bool(prompt and prompt.calls)), stops)
            choice = Choice(index, generation, answer, model, wanted.alternatives, reader)
            if isinstance(wanted, Chat):
                choice.old = wanted.is_old
                choice.called = "stop" if wanted.choice.named else "function_call" if choice.old else "tool_calls"
            choices.append(choice)
    except BaseException:
        _cancel(choices)
        raise
    return choices


def _tenant(request: Request) -> str:
    """Whose request it is: the edge says so."""
    return request.headers.get("x-temper-tenant", "")


def _prompts(engine: Engine, model: ServedModel, wanted: Completion) -> list[Rendered]:
    """The prompts; one that is echoed is a text to be rated, not to be answered, and stays as it is."""
    whole = [model.prompt(p) if isinstance(p, str) and not wanted.echo else model.untouched(p) for p in wanted.prompt]
    for each in whole:
        check_token_ids(each.ids, engine.vocabulary(model.base), "prompt")
        if not each.ids:
            raise ApiError("This model cannot begin from an empty prompt.", param="prompt", code="invalid_value")
    return whole


def _check_bias(engine: Engine, model: ServedModel, wanted: Sampled) -> None:
    check_token_ids(list(wanted.logit_bias), engine.vocabulary(model.base), "logit_bias")


async def _whole_chat_choice(choice: Choice) -> dict[str, Any]:
    assert choice.reader is not None
    told = choice.reader.whole("".join([text async for text, _ in choice.told()]))
    pieces = choice.pieces[: choice.answer.visible] if choice.logprobs is not None else None
    calls = shapes.tool_calls(told.calls)
    return shapes.chat_choice(choice.index, told.content, choice.why, pieces, told.thought, calls, choice.old)


async def _whole_completion_choice(choice: Choice) -> dict[str, Any]:
    text = "".join([text async for text, _ in choice.told()])
    text = choice.prefix + (choice.reader.whole(text).content if choice.reader else text)
    return shapes.completion_choice(choice.index, text, choice.finish, _completion_logprobs(choice))


def _completion_logprobs(choice: Choice) -> dict[str, Any] | None:
    if choice.logprobs is None:
        return None
    before = choice.prompt_pieces() if choice.generation.sampling.prompt_logprobs else []
    after = choice.pieces[: choice.answer.visible] + ([] if choice.answer.stopped else choice.end_piece)
    return shapes.completion_logprobs(before + after, choice.logprobs)


async def _gather(choices: Sequence[Choice], tell: Callable[[Choice], Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*(tell(choice) for choice in choices)))


async def _unless_gone(request: Request, choices: Sequence[Choice], work: Callable[[], Awaitable[T]]) -> T:
    """The work's result; ClientDisconnect, and the work stopped, when the client closes first."""
    working = asyncio.ensure_future(work())
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()
        _cancel(choices)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _cancel(choices: Sequence[Choice]) -> None:
    for choice in choices:
        if choice.generation.finish is None:
            choice.generation.cancel()


async def _merged(choices: Sequence[Choice]) -> AsyncIterator[tuple[Choice, str, list[AnswerPiece], bool]]:
    """What all choices tell, as it comes: (choice, text, tokens, whether it is the choice's last)."""
    queue: asyncio.Queue[tuple[Choice, str, list[AnswerPiece], bool] | Exception] = asyncio.Queue()

    async def pump(choice: Choice) -> None:
        try:
            async for text, pieces in choice.told():
                await queue.put((choice, text, pieces, False))
            await queue.put((choice, "", [], True))
        except Exception as error:  # noqa: BLE001  it is raised where the queue is read, which would wait for ever
            await queue.put(error)

    tasks = [asyncio.create_task(pump(choice)) for choice in choices]
    try:
        left = len(choices)
        while left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            left -= item[3]
            yield item
    finally:
        for task in tasks:
            task.cancel()
        _cancel(choices)


async def _chat_events(head: Head, wanted: Chat, choices: Sequence[Choice]) -> AsyncGenerator[bytes, None]:
    logprobs, with_usage = wanted.logprobs, wanted.include_usage

    def chunk(choice: Choice, delta: dict[str, Any], finish: str | None, pieces: list[AnswerPiece] | None) -> bytes:
        shown = pieces if logprobs else None
        return _event(shapes.chat_chunk(head, choice.index, delta, finish, shown, with_usage))

    try:
        for choice in choices:
            yield chunk(choice, {"role": "assistant", "content": "", "refusal": None}, None, None)
        async for choice, text, pieces, last in _merged(choices):
            assert choice.reader is not None
            index = choice.reader.called
            told = choice.reader.end() if last else choice.reader.add(text)
            if told.thought:
                yield chunk(choice, {"reasoning_content": told.thought}, None, None if told.content else pieces)
            if told.content or (pieces and not told.thought):
                yield chunk(choice, {"content": told.content}, None, pieces)
            for delta in shapes.tool_call_deltas(told.calls, index):
                old = {"function_call": delta["function"]}
                yield chunk(choice, old if choice.old else {"tool_calls": [delta]}, None, None)
            if last:
                yield chunk(choice, {}, choice.why, None)
        if with_usage:
            prompts = [choices[0].generation.prompt]
            yield _event(shapes.usage_chunk(head, "chat.completion.chunk", _usage(choices, prompts)))
        yield b"data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001  the head is sent: only the stream itself can say it
        yield _broken(error)


async def _completion_events(
    head: Head, wanted: Completion, choices: Sequence[Choice], prompts: list[list[int]]
) -> AsyncGenerator[bytes, None]:
    ends: dict[int, int] = {}  # characters told of each choice
    alternatives, with_usage = wanted.logprobs, wanted.include_usage

    def chunk(choice: Choice, text: str, finish: str | None, pieces: list[AnswerPiece]) -> bytes:
        start = ends.get(choice.index, 0)
        ends[choice.index] = start + sum(len(piece.token) for piece in pieces)
        shown = pieces if alternatives is not None else None
        logprobs = shapes.completion_logprobs(shown, alternatives or 0, start)
        return _event(
            shapes.completion_chunk(head, shapes.completion_choice(choice.index, text, finish, logprobs), with_usage)
        )

    try:
        async for choice, text, pieces, last in _merged(choices):
            if choice.prefix and choice.index not in ends:
                before = choice.prompt_pieces() if choice.generation.sampling.prompt_logprobs else []
                yield chunk(choice, choice.prefix, None, before)
            if choice.reader:
                text = (choice.reader.end() if last else choice.reader.add(text)).content
            if text or pieces:
                yield chunk(choice, text, None, pieces)
            if last:
                yield chunk(choice, "", choice.finish, [] if choice.answer.stopped else choice.end_piece)
        if with_usage:
            yield _event(shapes.usage_chunk(head, "text_completion", _usage(choices, prompts)))
        yield b"data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001  the head is sent: only the stream itself can say it
        yield _broken(error)


def _broken(error: Exception) -> bytes:
    """The event that ends a stream which cannot go on."""
    log.error("a streamed answer broke off: %r", error)
    told = failure(error)
    if isinstance(told, ConstraintError):
        return _event(ApiError(f"{told}.", code="not_enforceable").body())
    code = "overloaded" if isinstance(told, OverloadedError) else "generation_failed"
    return _event(ApiError(f"{told}.", code=code, status=503 if code == "overloaded" else 500).body())


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _head(prefix: str, wanted: Sampled, model: ServedModel) -> Head:
    return Head(prefix + secrets.token_hex(12), int(time.time()), wanted.model, model.fingerprint)


def _usage(choices: Sequence[Choice], prompts: Sequence[list[int]]) -> dict[str, Any]:
    return shapes.usage(sum(map(len, prompts)), sum(choice.answer.visible for choice in choices))
