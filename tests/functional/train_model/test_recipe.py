"""The recipe trains tiny random models: what it says, what it writes, how it stops and goes on."""

import hashlib
import json
import shutil
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from functions.train_model.core import RecipeError
from functions.train_model.parent import read_plan
from functions.train_model.recipe import describe_failure, train
from tests.functional.train_model.child import Launcher, tokens_file, whole, write_plan

# PEFT asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

one_loop = pytest.mark.asyncio(loop_scope="module")

STEPS = 18
Messages = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _restore_torch() -> Any:
    yield
    torch.use_deterministic_algorithms(False)


def trained(plan: Path, pause_at: int | None = None) -> Messages:
    """The messages of a run in this process, asked to pause once step `pause_at` is reported."""
    messages: Messages = []
    pause = threading.Event()

    def emit(message: dict[str, Any]) -> None:
        messages.append(json.loads(json.dumps(message)))
        if message["type"] == "progressed" and message["step"] == pause_at:
            pause.set()

    train(read_plan(["recipe", str(plan)]), emit, pause)
    return messages


def of(messages: Messages, kind: str) -> Messages:
    return [m for m in messages if m["type"] == kind]


def steps(messages: Messages) -> list[int]:
    return [m["step"] for m in of(messages, "progressed")]


def numbers(message: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in message.items() if name != "type"}


def hashes(folder: Path) -> dict[str, str]:
    """A hash of each tensor in a checkpoint, optimizer moments included."""
    return {
        f"{path.name}:{name}": hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launcher() -> AsyncIterator[Launcher]:
    launcher = Launcher()
    yield launcher
    await launcher.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Path:
    """A model, its tokens, and an unbroken run of a real child in `run/`, whose messages are in `messages.json`."""
    folder = tmp_path_factory.mktemp("recipe")
    valid = str(tokens_file(folder / "valid.safetensors", rows=7, seed=9))
    messages = await whole(await launcher.fork(write_plan(folder, valid=valid, eval_every=5)))
    (folder / "messages.json").write_text(json.dumps(messages))
    return folder


@pytest.fixture(scope="module")
def unbroken(base: Path) -> Messages:
    messages: Messages = json.loads((base / "messages.json").read_text())
    return messages


def test_a_run_says_what_it_does_from_start_to_end(unbroken: Messages) -> None:
    started, finished = unbroken[0], unbroken[-1]
    assert {k: started[k] for k in ("type", "from_step", "total_steps", "device")} == {
        "type": "started", "from_step": 0, "total_steps": STEPS, "device": "cpu",
    }  # fmt: skip
    assert 0 < started["trainable_parameters"] < started["parameters"]
    assert steps(unbroken) == list(range(1, STEPS + 1))
    assert [(m["step"], m["epoch_end"]) for m in of(unbroken, "checkpointed")] == [
        (4, False), (6, True), (8, False), (12, True), (16, False), (18, True),
    ]  # fmt: skip
    tokens = 3 * int(load_file(str(Path(unbroken[-2]["dir"]).parents[1] / "train.safetensors"))["offsets"][-1])
    assert finished == {"type": "finished", "step": STEPS, "trained_tokens": tokens}


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        changes = {"dtype": dtype, "deterministic": False, "method": {"kind": "lora", "r": 4, "alpha": 8}}
        said = of(trained(write_plan(tmp_path, dtype, **changes)), "progressed")
        losses[dtype] = [each["train_loss"] for each in said]
    whole, half = losses["float32"], losses["bfloat16"]
    assert whole != half
    assert half == pytest.approx(whole, rel=0.01)
    apart = max(abs(one - other) for one, other in zip(whole, half, strict=True))
    assert apart < whole[0] - whole[-1], "what is learnt is more than what the precision changes"


def test_steps_carry_their_metrics_and_epoch_ends_the_full_validation(unbroken: Messages) -> None:
    for m in of(unbroken, "progressed"):
        assert m["train_loss"] > 0
        assert 0 <= m["train_mean_token_accuracy"] <= 1
        assert m["grad_norm"] > 0
        assert m["epoch"] == pytest.approx(m["step"] / 6, abs=1e-6)
    progress = {m["step"]: m for m in of(unbroken, "progressed")}
    assert [s for s, m in progress.items() if "full_valid_loss" in m] == [6, 12, 18]
    assert [s for s, m in progress.items() if "valid_loss" in m] == [5, 10, 15]
    assert progress[18]["full_valid_mean_token_accuracy"] >= 0
    assert of(unbroken, "checkpointed")[-1]["metrics"].items() <= progress[18].items()


def test_the_reported_validation_loss_is_the_checkpoints_own(base: Path, unbroken: Messages) -> None:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base / "model"), base / "run/step-18")
    tensors = load_file(base / "valid.safetensors")
    total, count = 0.0, 0
    for begin, end in zip(tensors["offsets"][:-1].tolist(), tensors["offsets"][1:].tolist(), strict=True):
        ids = tensors["input_ids"][begin:end].long()
        labels = torch.where(tensors["labels_mask"][begin:end].bool(), ids, -100)
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, labels[1:], reduction="sum").item()
        count += int((labels[1:] != -100).sum())
    assert of(unbroken, "progressed")[-1]["full_valid_loss"] == pytest.approx(total / count, rel=1e-4)


def test_checkpointed_files_are_on_disk_as_described_and_hold_no_pickle(unbroken: Messages) -> None:
    for message in of(unbroken, "checkpointed"):
        folder = Path(message["dir"])
        assert {f["path"]: f["role"] for f in message["files"]} == {
            "adapter_config.json": "config", "adapter_model.safetensors": "weights",
            "resume.json": "resume", "resume.safetensors": "resume", "trainer_state.json": "resume",
        }  # fmt: skip
        assert {p.name for p in folder.iterdir()} == {f["path"] for f in message["files"]}
        for file in message["files"]:
            content = (folder / file["path"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
            if file["path"].endswith(".json"):
                json.loads(content)
                assert str(folder.parent) not in content.decode()


@pytest.mark.slow
@one_loop
async def test_a_killed_run_resumed_in_a_new_process_ends_bit_equal(
    base: Path, unbroken: Messages, launcher: Launcher
) -> None:
    child = await launcher.fork(write_plan(base, "killed"))
    seen = await child.until(type="progressed", step=10)
    assert await child.kill() == -signal.SIGKILL
    newest = of(seen, "checkpointed")[-1]
    assert newest["step"] == 8

    messages = await whole(await launcher.fork(write_plan(base, "resumed", resume_dir=newest["dir"])))
    assert (messages[0]["from_step"], messages[0]["total_steps"]) == (8, STEPS)
    assert steps(messages) == list(range(9, STEPS + 1))  # the remaining steps and no others
    assert messages[-1] == unbroken[-1]
    assert hashes(base / "resumed/step-18") == hashes(base / "run/step-18")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (base / "resumed/step-18" / name).read_bytes() == (base / "run/step-18" / name).read_bytes()


@pytest.mark.parametrize("step", [4, 6, 12, 16])
def test_a_resume_from_any_checkpoint_ends_bit_equal(base: Path, unbroken: Messages, step: int) -> None:
    name = f"from-{step}"
    valid = str(base / "valid.safetensors")
    plan = write_plan(base, name, resume_dir=str(base / f"run/step-{step}"), valid=valid, eval_every=5)
    messages = trained(plan)
    assert steps(messages) == list(range(step + 1, STEPS + 1))
    assert of(messages, "progressed") == of(unbroken, "progressed")[step:]
    assert hashes(base / name / "step-18") == hashes(base / "run/step-18")


def test_an_epoch_takes_one_variant_of_each_row_and_a_resume_takes_the_same(base: Path, tmp_path: Path) -> None:
    train = str(tokens_file(tmp_path / "train.safetensors", variants=2))
    whole = trained(write_plan(base, "variants", train=train, n_epochs=2))
    assert whole[0]["total_steps"] == 6  # 24 rows are 12 rows of two variants
    tokens = int(load_file(train)["offsets"][-1])
    assert whole[-1] == {"type": "finished", "step": 6, "trained_tokens": tokens}, "two epochs see both variants"
    resume_dir = of(whole, "checkpointed")[0]["dir"]
    again = trained(write_plan(base, "variants-again", train=train, n_epochs=2, resume_dir=resume_dir))
    assert hashes(Path(of(again, "checkpointed")[-1]["dir"])) == hashes(Path(of(whole, "checkpointed")[-1]["dir"]))


def test_another_seed_ends_elsewhere(base: Path) -> None:
    trained(write_plan(base, "seeded", seed=43))
    assert hashes(base / "seeded/step-18") != hashes(base / "run/step-18")


def test_the_resume_of_a_finished_run_does_nothing_more(base: Path) -> None:
    messages = trained(write_plan(base, "over", resume_dir=str(base / "run/step-18")))
    assert [m["type"] for m in messages] == ["started", "finished"]


def test_a_checkpoint_of_another_plan_is_refused(base: Path) -> None:
    plan = write_plan(base, "other", resume_dir=str(base / "run/step-8"), learning_rate=0.02)
    with pytest.raises(RecipeError, match="learning_rate differ") as failure:
        trained(plan)
    assert failure.value.code == "resume_mismatch"


@pytest.mark.parametrize("pause_at", [7, 8])  # between two checkpoints, and on one
def test_a_paused_run_goes_on_as_if_nothing_had_happened(base: Path, pause_at: int) -> None:
    messages = trained(write_plan(base, f"paused-{pause_at}"), pause_at)
    # the step after the request's is the last one
    assert [m["type"] for m in messages[-2:]] == ["checkpointed", "paused"]
    assert messages[-1]["step"] == messages[-2]["step"] == pause_at + 1
    rest = trained(write_plan(base, f"continued-{pause_at}", resume_dir=messages[-2]["dir"]))
    assert steps(rest) == list(range(pause_at + 2, STEPS + 1))
    assert hashes(base / f"continued-{pause_at}/step-18") == hashes(base / "run/step-18")


def test_a_pause_at_the_last_step_is_a_finish(base: Path) -> None:
    messages = trained(write_plan(base, "late"), pause_at=STEPS - 1)
    assert messages[-1]["type"] == "finished"


def test_full_training_writes_a_whole_model_with_its_tokenizer_and_resumes(base: Path) -> None:
    method = {"kind": "full"}
    messages = trained(write_plan(base, "full", method=method, learning_rate=0.001))
    assert messages[0]["trainable_parameters"] == messages[0]["parameters"]
    roles = {f["path"]: f["role"] for f in of(messages, "checkpointed")[-1]["files"]}
    assert roles.items() >= {
        "model.safetensors": "weights", "config.json": "config",
        "tokenizer_config.json": "tokenizer", "chat_template.jinja": "tokenizer",
    }.items()  # fmt: skip
    tuned = AutoModelForCausalLM.from_pretrained(base / "full/step-18")
    start = AutoModelForCausalLM.from_pretrained(base / "model")
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), start.parameters(), strict=True))

    resume = str(base / "full/step-8")
    rest = trained(write_plan(base, "full-rest", method=method, learning_rate=0.001, resume_dir=resume))
    assert steps(rest) == list(range(9, STEPS + 1))
    assert hashes(base / "full-rest/step-18") == hashes(base / "full/step-18")


def test_the_token_that_also_pads_is_trained_like_any_other(base: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"method": {"kind": "full"}, "learning_rate": 0.001, "n_epochs": 1}
    trained(write_plan(base, "no-pad", **changes))
    model = shutil.copytree(base / "model", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "pad_token_id": 5}))
    trained(write_plan(base, "pad", model_dir=str(model), **changes))
    assert hashes(base / "pad/step-6") == hashes(base / "no-pad/step-6")


def test_the_model_learns_its_rows(tmp_path: Path) -> None:
    tokens_file(tmp_path / "train.safetensors", rows=8)
    method = {"kind": "full"}
    plan = write_plan(tmp_path, method=method, n_epochs=60, learning_rate=0.005, schedule="constant")
    messages = trained(plan)
    last = of(messages, "progressed")[-1]
    assert last["train_mean_token_accuracy"] > 0.9 > 0.1 > of(messages, "progressed")[0]["train_mean_token_accuracy"]


def test_accumulated_micro_batches_train_like_one_batch(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.train_model import recipe

    def cramped(model: Any, score: Any, rows: Any, micro: int, device: Any, bf16: bool) -> None:
        if micro > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    whole = trained(write_plan(base, "whole", method={"kind": "lora", "r": 4, "alpha": 8}))
    monkeypatch.setattr(recipe, "preflight", cramped)
    parts = trained(write_plan(base, "parts", method={"kind": "lora", "r": 4, "alpha": 8}))
    assert [m["micro_batch"] for m in of(parts, "adjusted")] == [2, 1]
    for one, many in zip(of(whole, "progressed"), of(parts, "progressed"), strict=True):
        assert numbers(many) == pytest.approx(numbers(one), rel=1e-3, abs=1e-6)
    assert json.loads((base / "parts/step-18/resume.json").read_text())["micro_batch"] == 1


def test_a_loss_that_is_no_number_fails_with_the_step_and_saves_nothing(base: Path, tmp_path: Path) -> None:
    model = shutil.copytree(base / "model", tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    plan = write_plan(tmp_path, checkpoint_every=1)
    with pytest.raises(RecipeError, match="loss of step 1 is nan") as failure:
        trained(plan)
    assert failure.value.code == "nan_loss"
    assert list((tmp_path / "run").glob("step-*")) == []


def test_a_run_that_diverges_fails_instead_of_going_on(base: Path) -> None:
    plan = write_plan(base, "diverged", learning_rate=1e30, max_grad_norm=0, method={"kind": "full"}, warmup_steps=0)
    with pytest.raises(RecipeError) as failure:
        trained(plan)
    assert failure.value.code == "nan_loss"


@pytest.mark.slow
@one_loop
async def test_a_failure_is_one_line_and_status_1(base: Path, launcher: Launcher) -> None:
    tokens = load_file(base / "train.safetensors")
    tokens["labels_mask"].zero_()
    save_file(tokens, base / "unlabelled.safetensors")
    child = await launcher.fork(write_plan(base, "failed", train=str(base / "unlabelled.safetensors")))
    messages = await child.rest()
    assert await child.wait() == 1
    assert "RecipeError" in await child.stderr()
    assert messages == [{"type": "failed", "code": "no_labels", "message": "Row 0 has no token to train on."}]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU whose absence is tested")
def test_a_gpu_that_is_not_there_is_named(base: Path) -> None:
    with pytest.raises(RecipeError, match="asks for cuda") as failure:
        trained(write_plan(base, "gpu", device="cuda"))
    assert failure.value.code == "no_gpu"


def test_memory_that_runs_out_in_the_middle_is_told_from_a_bug() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60)
    out_of_memory = {"type": "crashed", "message": "memory ran out in the middle of the run"}
    assert describe_failure(refused.value) == out_of_memory
    lost = OSError(2, "No such file", "/home/somebody/weights")
    assert describe_failure(lost) == {"type": "crashed", "message": "training met an unexpected FileNotFoundError"}
    final = {"type": "failed", "code": "nan_loss", "message": "m"}
    assert describe_failure(RecipeError("nan_loss", "m")) == final


@one_loop
async def test_a_plan_that_cannot_be_read_names_what_is_wrong(base: Path, launcher: Launcher) -> None:
    child = await launcher.start(write_plan(base, "wrong", n_epochs=0))
    messages = await child.rest()
    assert await child.wait() == 1
    assert messages[0]["code"] == "invalid_plan"
    assert "n_epochs" in messages[0]["message"]


@pytest.mark.slow
@one_loop
async def test_pause_on_stdin_and_the_end_of_stdin(base: Path, launcher: Launcher) -> None:
    child = await launcher.fork(write_plan(base, "told", n_epochs=5000))
    await child.until(type="progressed", step=5)
    await child.say("pause")
    seen = await child.until(type="paused")
    assert seen[-2]["type"] == "checkpointed"
    assert seen[-2]["step"] == seen[-1]["step"]
    assert await child.wait() == 0

    orphan = await launcher.fork(write_plan(base, "orphan", n_epochs=5000, resume_dir=seen[-2]["dir"]))
    await orphan.until(type="progressed")
    assert orphan.process.stdin is not None
    orphan.process.stdin.close()
    assert await orphan.wait() == 1
    assert not any(m["type"] in ("finished", "failed", "paused") for m in await orphan.rest())


@pytest.mark.slow
@one_loop
async def test_two_processes_train_as_one(base: Path, launcher: Launcher) -> None:
    """Data-parallel over gloo: same steps, same tokens, same losses; one process speaks."""
    method = {"kind": "lora", "r": 4, "alpha": 8}  # no dropout: its random numbers differ between processes
    valid = str(base / "valid.safetensors")
    alone = trained(write_plan(base, "alone", method=method, valid=valid, batch_size=5))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2")
    pair = await whole(
        await launcher.start(write_plan(base, "pair", method=method, valid=valid, batch_size=5), *torchrun)
    )
    assert [m["type"] for m in pair] == [m["type"] for m in alone]
    assert pair[-1] == alone[-1]
    for one, two in zip(of(alone, "progressed"), of(pair, "progressed"), strict=True):
        assert numbers(two) == pytest.approx(numbers(one), rel=2e-3, abs=1e-6)
