"""The running batch gives every request what it would get alone, and no one waits for another's end."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from functions.generate_text import batch
from functions.generate_text.engine import AdapterError, BatchLimits, Engine, EngineError, OverloadedError, Sampling
from functions.generate_text.kv_cache import BatchCache
from tests.unit.generate_text.tiny import build_adapter, build_base, plain

GREEDY = Sampling(max_tokens=24, temperature=0.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    base = build_base(root / "base")
    narrow: dict[str, Any] = {"target_modules": ["q_proj", "down_proj"], "r": 2, "use_rslora": True}
    return {
        "base": base,
        "a": build_adapter(root / "a", base, 1),
        "b": build_adapter(root / "b", base, 2, r=8),
        "narrow": build_adapter(root / "narrow", base, 3, **narrow),
    }


@contextlib.contextmanager
def running(folders: dict[str, Path], limits: BatchLimits | None = None) -> Iterator[Engine]:
    engine = Engine("cpu", limits, threads=1)
    engine.load_base("base", folders["base"])
    for name in ("a", "b", "narrow"):
        engine.load_adapter(name, "base", folders[name])
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def engine(folders: dict[str, Path]) -> Iterator[Engine]:
    with running(folders) as engine:
        yield engine


def prompts(count: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 60, (count,), generator=generator).tolist()
    return [torch.randint(6, 300, (length,), generator=generator).tolist() for length in lengths]


async def answer(engine: Engine, adapter: str | None, prompt: list[int], sampling: Sampling) -> list[int]:
    return [token.id for token in await engine.submit("base", adapter, prompt, sampling, stream=False).all()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("adapter", [None, "a", "b", "narrow"])
async def test_greedy_answers_are_those_of_transformers_generate(
    engine: Engine, folders: dict[str, Path], adapter: str | None
) -> None:
    model = plain(folders["base"], folders.get(adapter or ""))
    for prompt in prompts(5, seed=7):
        with torch.inference_mode():
            made = model.generate(
                input_ids=torch.tensor([prompt]),
                max_new_tokens=24,
                do_sample=False,
                min_new_tokens=24,
                eos_token_id=299,
            )
        banned = replace(GREEDY, logit_bias={299: -100.0})
        assert await answer(engine, adapter, prompt, banned) == made[0, len(prompt) :].tolist()


@pytest.mark.parametrize("temperature", [0.0, 0.9])
async def test_fifty_concurrent_answers_equal_the_sequential_ones_with_mixed_adapters(
    engine: Engine, temperature: float
) -> None:
    names = [None, "a", "b", "narrow"]
    sampled = [replace(GREEDY, temperature=temperature, seed=i, top_p=(1.0, 0.8)[i % 2]) for i in range(50)]
    alone = [await answer(engine, names[i % 4], p, sampled[i]) for i, p in enumerate(prompts(50))]
    mixed, largest = engine.state()["mixed_steps"], engine.state()["largest_batch"]
    together = await asyncio.gather(*(answer(engine, names[i % 4], p, sampled[i]) for i, p in enumerate(prompts(50))))
    assert together == alone
    assert len({tuple(a) for a in alone}) > 25, "answers that are all the same would prove nothing"
    assert engine.state()["mixed_steps"] > mixed
    assert engine.state()["largest_batch"] > 1
    assert largest <= 50


async def test_near_ties_do_not_flip_with_the_batch(folders: dict[str, Path], tmp_path: Path) -> None:
    # Each token has a twin whose logit differs by less than what a batch's rounding does.
    model = AutoModelForCausalLM.from_pretrained(folders["base"], dtype=torch.float32)
    with torch.no_grad():
        twin = model.lm_head.weight.clone()
        generator = torch.Generator().manual_seed(1)
        twin[1::2] = twin[0::2] + 1e-7 * torch.randn(twin[0::2].shape, generator=generator)
        model.lm_head.weight = torch.nn.Parameter(twin)
        model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    engine = Engine("cpu", threads=1)
    try:
        engine.load_base("base", tmp_path)
        sampled = [replace(GREEDY, temperature=(0.0, 0.7)[i % 2], seed=i) for i in range(32)]
        alone = [await answer(engine, None, p, s) for p, s in zip(prompts(32), sampled, strict=True)]
        together = await asyncio.gather(
            *(answer(engine, None, p, s) for p, s in zip(prompts(32), sampled, strict=True))
        )
        assert together == alone
        assert engine.statistics.decided_alone > 100
    finally:
        engine.close()


@pytest.mark.parametrize("adapter", [None, "b"])
async def test_logprobs_equal_a_plain_forward(engine: Engine, folders: dict[str, Path], adapter: str | None) -> None:
    sampling = Sampling(max_tokens=8, temperature=0.7, seed=5, logprobs=3, prompt_logprobs=True)
    prompt = prompts(3, seed=2)[2]
    others = [engine.submit("base", "a", p, GREEDY) for p in prompts(5)]
    generation = engine.submit("base", adapter, prompt, sampling)
    tokens = await generation.all()
    for other in others:
        await other.all()
    ids = prompt + [token.id for token in tokens]
    with torch.inference_mode():
        table = torch.log_softmax(
            plain(folders["base"], folders.get(adapter or ""))(input_ids=torch.tensor([ids])).logits[0], dim=-1
        )
    told = [*generation.prompt_logprobs[1:], *tokens]
    assert generation.prompt_logprobs[0] is None
    assert len(told) == len(ids) - 1
    for row, token in enumerate(told):
        assert token is not None
        assert token.logprob == pytest.approx(float(table[row, token.id]), abs=1e-4)
        values, top = table[row].topk(3)
        assert [i for i, _ in token.top] == top.tolist()
        assert [v for _, v in token.top] == pytest.approx(values.tolist(), abs=1e-4)


async def test_a_seed_repeats_and_another_seed_differs(engine: Engine) -> None:
    prompt = prompts(1)[0]
    hot = Sampling(max_tokens=16, temperature=1.5, seed=1)
    first = await answer(engine, "a", prompt, hot)
    assert await answer(engine, "a", prompt, hot) == first
    assert await answer(engine, "a", prompt, replace(hot, seed=2)) != first


async def test_sampling_follows_the_distribution(engine: Engine, folders: dict[str, Path]) -> None:
    prompt = prompts(1)[0]
    with torch.inference_mode():
        logits = plain(folders["base"], None)(input_ids=torch.tensor([prompt])).logits[0, -1]
    p = torch.softmax(logits / 2.0, dim=-1)
    draws = await asyncio.gather(
        *(answer(engine, None, prompt, Sampling(max_tokens=1, temperature=2.0, seed=i)) for i in range(600))
    )
    top = int(p.argmax())
    share = sum(draw == [top] for draw in draws) / 600
    assert abs(share - float(p[top])) < 4 * (float(p[top]) * (1 - float(p[top])) / 600) ** 0.5
    kept = {i for i, (_, before) in enumerate(_nucleus(p, 0.5)) if before}
    nucleus = await asyncio.gather(
        *(answer(engine, None, prompt, Sampling(max_tokens=1, temperature=2.0, top_p=0.5, seed=i)) for i in range(200))
    )
    assert {draw[0] for draw in nucleus} <= kept


def _nucleus(p: torch.Tensor, top_p: float) -> list[tuple[int, bool]]:
    """For each token whether it is in the smallest set of likeliest tokens that reaches top_p."""
    order = p.argsort(descending=True).tolist()
    kept, mass = set(), 0.0
    for token in order:
        if mass >= top_p:
            break
        kept.add(token)
        mass += float(p[token])
    return [(token, token in kept) for token in range(len(p))]


async def test_penalties_bias_and_minimum_change_the_answer(engine: Engine) -> None:
    prompt = prompts(1)[0]
    free = await answer(engine, None, prompt, GREEDY)
    assert await answer(engine, None, prompt, replace(GREEDY, logit_bias={42: 100.0})) == [42] * 24
    banned = await answer(engine, None, prompt, replace(GREEDY, logit_bias={free[0]: -100.0}))
    assert free[0] not in banned
    varied = await answer(engine, None, prompt, replace(GREEDY, logit_bias={42: 10.0, 43: 9.0}, frequency_penalty=2.0))
    assert 43 in varied
    assert 42 in varied
    stop = replace(GREEDY, stop_ids=frozenset({free[2]}))
    assert (await answer(engine, None, prompt, stop))[-1] == free[2]
    held = await answer(engine, None, prompt, replace(stop, min_tokens=10))
    assert len(held) > 10 or free[2] not in held[:10]
    assert free[2] not in held[:10]


async def test_tokens_are_handed_out_before_the_last_is_made(engine: Engine) -> None:
    generation = engine.submit("base", "a", prompts(1)[0], Sampling(max_tokens=400, temperature=0.0))
    async for tokens in generation:
        assert len(tokens) < 400
        assert generation.finish is None
        break
    generation.cancel()
    await until(lambda: engine.state()["running"] == 0)


async def test_a_cancelled_request_leaves_the_batch_and_the_others_go_on(engine: Engine) -> None:
    before = engine.state()["cancelled"]
    gone = engine.submit("base", "a", prompts(1)[0], Sampling(max_tokens=440, temperature=0.0))
    stays = engine.submit("base", "b", prompts(2)[1], Sampling(max_tokens=100, temperature=0.0))
    async for _ in gone:
        gone.cancel()
        break
    expected = await answer(engine, "b", prompts(2)[1], Sampling(max_tokens=100, temperature=0.0))
    assert [token.id for token in await stays.all()] == expected
    await until(lambda: engine.state()["running"] == 0)
    assert len(gone.tokens) < 440
    assert engine.state()["cancelled"] == before + 1


async def test_a_cancelled_request_that_waits_is_never_computed(folders: dict[str, Path]) -> None:
    with running(folders, BatchLimits(rows=1)) as engine:
        first = engine.submit("base", None, prompts(1)[0], Sampling(max_tokens=100, temperature=0.0))
        second = engine.submit("base", None, prompts(1)[0], GREEDY)
        second.cancel()
        await first.all()
        await until(lambda: engine.state()["queue"] == 0)
        assert second.tokens == []


async def test_a_full_queue_refuses_and_rows_are_bounded(folders: dict[str, Path]) -> None:
    with running(folders, BatchLimits(rows=2, queue=3)) as engine:
        slow = Sampling(max_tokens=60, temperature=0.0)
        work = [engine.submit("base", None, prompts(1)[0], slow)]
        await until(lambda: engine.state()["running"] == 1)
        while engine.state()["queue"] < 3:
            work.append(engine.submit("base", None, prompts(1)[0], slow))
        with pytest.raises(OverloadedError):
            engine.submit("base", None, prompts(1)[0], slow)
        for generation in work:
            assert len(await generation.all()) == 60
        assert engine.state()["largest_batch"] <= 2


async def test_the_kv_budget_bounds_rows(folders: dict[str, Path]) -> None:
    with running(folders, BatchLimits(kv_tokens=200)) as engine:
        prompt = prompts(1)[0][:10]
        work = [engine.submit("base", None, prompt, Sampling(max_tokens=40, temperature=0.0)) for _ in range(12)]
        answers = [[token.id for token in await generation.all()] for generation in work]
        assert all(a == answers[0] for a in answers)
        assert engine.state()["largest_batch"] <= 4


async def test_sliding_window_models_answer_as_alone(tmp_path: Path) -> None:
    window: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    folder = build_base(tmp_path / "sliding", **window)
    engine = Engine("cpu", threads=1)
    try:
        engine.load_base("base", folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        assert "sliding_attention" in model.config.layer_types
        together = await asyncio.gather(*(answer(engine, None, p, GREEDY) for p in prompts(8)))
        for prompt, made in zip(prompts(8), together, strict=True):
            ids = torch.tensor([prompt + made])
            with torch.inference_mode():
                want = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].argmax(-1)
            assert made == want.tolist()
    finally:
        engine.close()


async def test_what_cannot_be_served_is_refused(engine: Engine, folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="vocabulary"):
        engine.submit("base", None, [300], GREEDY)
    with pytest.raises(EngineError, match="at least one token"):
        engine.submit("base", None, [], GREEDY)
    dora = build_adapter(tmp_path / "dora", folders["base"], 4, use_dora=True)
    with pytest.raises(AdapterError, match="use_dora"):
        engine.load_adapter("dora", "base", dora)
    other = build_base(tmp_path / "other", hidden_size=48, num_attention_heads=4)
    foreign = build_adapter(tmp_path / "foreign", other, 5)
    with pytest.raises(AdapterError, match="layer"):
        engine.load_adapter("foreign", "base", foreign)


async def test_infinite_weights_are_found(engine: Engine, folders: dict[str, Path], tmp_path: Path) -> None:
    assert engine.nonfinite("base") is None
    assert engine.nonfinite("a") is None
    model = AutoModelForCausalLM.from_pretrained(folders["base"], dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = torch.nan
    model.save_pretrained(tmp_path)
    engine.load_base("broken", tmp_path)
    try:
        assert engine.nonfinite("broken") == "model.layers.0.mlp.up_proj.weight"
    finally:
        engine.unload("broken")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError("no memory left"), OverloadedError),
        (torch.OutOfMemoryError("no memory left"), OverloadedError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OverloadedError),
        (ValueError("/a/path"), EngineError),
    ],
)
@pytest.mark.parametrize("where", ["forward", "join", "take", "prepare", "leave"])
async def test_an_error_anywhere_ends_the_requests_concerned_and_the_loop_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, told: type[Exception]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    place = {
        "forward": (batch.Base, "forward"),
        "join": (BatchCache, "join"),
        "take": (batch, "choose"),
        "prepare": (BatchCache, "prepare"),
        "leave": (BatchCache, "leave"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(*place, broken)
        async with asyncio.timeout(20):
            ended = await asyncio.gather(
                *(answer(engine, None, [7], replace(GREEDY, max_tokens=n)) for n in (3, 5, 5)), return_exceptions=True
            )
    failures = [each for each in ended if not isinstance(each, list)]
    assert failures
    assert {type(each) for each in failures} == {told}
    assert not any(part in str(each) for each in failures for part in ("path", "tried", "left"))
    assert len(await answer(engine, None, [7], GREEDY)) == 24
    await until(lambda: engine.state()["running"] == 0)


class _EndError(BaseException):
    """What no loop catches."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_loop_that_dies_leaves_nobody_waiting(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise _EndError

    with running(folders, BatchLimits(rows=1)) as engine:
        runs = engine.submit("base", None, [7], Sampling(max_tokens=400, temperature=0.0))
        waits = engine.submit("base", None, [7], GREEDY)
        await until(lambda: engine.state()["running"] == 1)
        monkeypatch.setattr(batch.Base, "step", dies)
        async with asyncio.timeout(20):
            for generation in (runs, waits):
                with pytest.raises(EngineError, match="closed"):
                    await generation.all()
            with pytest.raises(EngineError, match="closed"):
                await asyncio.to_thread(engine.logits, "base", None, [7])
        with pytest.raises(EngineError, match="closed"):
            engine.submit("base", None, [7], GREEDY)
        await until(lambda: engine.state()["alive"] is False)


async def test_closing_ends_what_runs(folders: dict[str, Path]) -> None:
    with running(folders) as engine:
        generation = engine.submit("base", None, [7], Sampling(max_tokens=500, temperature=0.0))
        await asyncio.to_thread(engine.close)
        with pytest.raises(EngineError, match="closed"):
            await generation.all()
        with pytest.raises(EngineError, match="closed"):
            engine.submit("base", None, [7], GREEDY)
