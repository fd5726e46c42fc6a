"""Train one model as a plan says: `python -m functions.train_model.recipe plan.json`.

Speaks JSON lines on stdout (started, adjusted, progressed, checkpointed, paused, finished, failed, crashed) and logs on
stderr. The line `pause` on stdin saves a checkpoint and ends the run; the end of stdin means that the parent is
gone, and ends it at once. Runs unchanged under torchrun, where the first process speaks.
"""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from functions._shared.precision import is_bfloat16
from functions.train_model import core
from functions.train_model.core import RecipeError, RecipePlan
from functions.train_model.parent import Emit, claim_stdout, obey_parent, prepare_environment, read_plan

if __name__ == "__main__":  # before torch, which reads its environment when it is imported
    SAY = claim_stdout()
    try:
        PLAN = read_plan(sys.argv)
    except RecipeError as error:
        SAY({"type": "failed", "code": error.code, "message": str(error)})
        sys.exit(1)
    prepare_environment(PLAN)

import torch
from accelerate import PartialState
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl import SFTConfig, SFTTrainer

from functions.train_model import checkpoints
from functions.train_model.batches import Batch, LabelLoss, Rows
from functions.train_model.model import (
    fit_micro_batch,
    load_model,
    preflight,
    ran_out_of_memory,
    recompute_activations,
)

log = logging.getLogger("temper.recipe")


class EpochSampler:
    """The forward passes of the epoch that the run is in, as lists of rows, for one process."""

    def __init__(self, rows: Rows, plan: RecipePlan, state: PartialState, micro: int, step: Callable[[], int]) -> None:
        self.rows, self.plan, self.state, self.micro, self.step = rows, plan, state, micro, step

    def __len__(self) -> int:
        return core.epoch_passes(self.rows.per_epoch, self.plan.batch_size, self.state.num_processes, self.micro)

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self.step() // core.steps_per_epoch(self.rows.per_epoch, self.plan.batch_size)
        picked = core.epoch_rows(self.rows.groups, self.plan.seed, epoch)
        for batch in core.epoch_batches(self.rows.lengths, self.plan.batch_size, self.plan.seed, epoch, picked):
            yield from core.micro_batches(batch, self.state.process_index, self.state.num_processes, self.micro)


class StepBoundaries(TrainerCallback):
    """What happens between two steps: the next step's random seed, checkpoints, a pause."""

    def __init__(self, recipe: "Recipe") -> None:
        self.recipe = recipe

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        torch.manual_seed(core.step_seed(self.recipe.plan.seed, state.global_step, self.recipe.ranks.process_index))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        paused = bool(self.recipe.total([float(self.recipe.pause.is_set())])[0])
        due = core.is_checkpoint_due(state.global_step, self.recipe.per_epoch, self.recipe.plan.checkpoint_every)
        control.should_log = True
        control.should_save = due or paused
        control.should_training_stop = control.should_training_stop or paused


class Recipe(SFTTrainer):
    """TRL's trainer with Temper's batches, loss, checkpoints and reports."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the labels of the whole step

    def __init__(
        self, plan: RecipePlan, model: Any, args: Any, rows: Rows, valid: Rows | None, score: LabelLoss,
        ranks: PartialState, micro: int, emit: Emit, pause: threading.Event,
    ) -> None:  # fmt: skip
        self.plan, self.rows, self.valid, self.score, self.ranks = plan, rows, valid, score, ranks
        self.micro, self.emit, self.pause = micro, emit, pause
        self.per_epoch = core.steps_per_epoch(rows.per_epoch, plan.batch_size)
        self.tokens, self.labels, self.correct = 0, 0, torch.zeros((), device=ranks.device)
        self.metrics: dict[str, Any] = {}
        super().__init__(
            model=model,
            args=args,
            # TRL wants a Dataset; it holds row numbers only, the collator reads the tokens file.
            train_dataset=Dataset.from_dict({"row": range(len(rows))}),
            data_collator=rows.collate,
            processing_class=PreTrainedTokenizerBase(),  # unused: token ids only
            callbacks=[StepBoundaries(self)],
        )

    def total(self, numbers: list[float]) -> list[float]:
        """`numbers` summed over all processes."""
        if self.ranks.num_processes == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.ranks.device)
        torch.distributed.all_reduce(sums)
        return list(sums.tolist())

    # Batches and loss

    def get_train_dataloader(self) -> Any:
        sampler = EpochSampler(self.rows, self.plan, self.ranks, self.micro, lambda: self.state.global_step)
        numbers: Any = range(len(self.rows))
        return DataLoader(numbers, batch_sampler=sampler, collate_fn=self.rows.collate)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: Any
    ) -> tuple[list[Batch], Any]:
        batches = list(islice(epoch_iterator, num_batches))
        counts = [float(sum(len(b["targets"]) for b in batches)), float(sum(b.pop("tokens") for b in batches))]
        labels, tokens = self.total(counts)
        self.labels, self.tokens = int(labels), self.tokens + int(tokens)
        return batches, self.labels

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, correct = self.score(model, inputs)
        self.correct += correct
        return loss * (self.ranks.num_processes / num_items_in_batch)  # DDP averages gradients over processes

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # nobody reads it, and counting walks all parameters in every step

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        plan = self.plan

        def factor(step: int) -> float:
            return core.rate_factor(plan.schedule, step, num_training_steps, plan.warmup_steps)

        self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    # Reports

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Report the step that just ended, or fail when its loss or gradient is no number."""
        if "loss" not in logs:  # the summary at the end of train()
            return
        step = self.state.global_step
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs[name]):
                raise RecipeError("nan_loss", f"The {name} of step {step} is {logs[name]}; try a lower learning rate.")
        accuracy = self.total([float(self.correct)])[0] / self.labels
        self.correct.zero_()
        self.metrics = {
            "step": step,
            "epoch": round(step / self.per_epoch, 6),
            "train_loss": logs["loss"],
            "train_mean_token_accuracy": accuracy,
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs["grad_norm"],
            "tokens": self.tokens,
        }
        if self.valid is not None:
            size = self.plan.batch_size
            if core.is_epoch_end(step, self.per_epoch):
                self.metrics |= self.validate(self.valid, list(range(len(self.valid))), "full_valid")
            elif core.is_sample_eval_due(step, self.per_epoch, self.plan.eval_every):
                self.metrics |= self.validate(self.valid, core.sample_rows(len(self.valid), size, step), "valid")
        self.emit({"type": "progressed", **self.metrics})

    def validate(self, valid: Rows, picked: list[int], prefix: str) -> dict[str, float]:
        """Loss and token accuracy over the labels of the `picked` validation rows."""
        share = core.rank_share(picked, self.ranks.process_index, self.ranks.num_processes)
        sums = torch.zeros(2, dtype=torch.float64, device=self.ranks.device)
        self.model.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            for rows in core.evaluation_batches(valid.lengths, share, self.micro):
                loss, correct = self.score(self.model, self._prepare_inputs(valid.collate(rows)))
                sums += torch.stack((loss, correct)).double()
        self.model.train()
        loss_sum, correct_sum = self.total(sums.tolist())
        labels = int(valid.labels[picked].sum())
        return {f"{prefix}_loss": loss_sum / labels, f"{prefix}_mean_token_accuracy": correct_sum / labels}

    # Checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.ranks.is_main_process:
            self.write_checkpoint()
        self.ranks.wait_for_everyone()

    def write_checkpoint(self) -> None:
        """Write the weights and the resume state of this step, and say where."""
        step = self.state.global_step
        folder = checkpoints.Folder(Path(self.plan.output_dir) / f"step-{step}")
        if self.plan.method.kind == "lora":
            checkpoints.write_adapter(folder, self.model)
        else:
            checkpoints.write_model(folder, self.model, Path(self.plan.model_dir))
        progress = {
            "fingerprint": core.fingerprint(self.plan, self.rows.offsets),
            "step": step,
            "tokens": self.tokens,
            "micro_batch": self.micro,
        }
        checkpoints.write_resume_state(folder, self.optimizer, self.lr_scheduler, progress)
        self.state.save_to_json(str(folder.place(checkpoints.TRAINER_STATE, "resume")))
        files = folder.commit()
        end = core.is_epoch_end(step, self.per_epoch)
        where = {"step": step, "epoch": math.ceil(step / self.per_epoch), "epoch_end": end, "dir": str(folder.final)}
        self.emit({"type": "checkpointed", **where, "files": files, "metrics": self.metrics})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Nothing to do: load_model read the checkpoint's weights."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing to do: each step seeds its own random numbers."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            checkpoints.load_resume_state(checkpoint, self.optimizer, self.lr_scheduler)
            self.tokens = checkpoints.read_progress(checkpoint)["tokens"]


def trainer_arguments(plan: RecipePlan, accumulate: int, bf16: bool, device: torch.device) -> SFTConfig:
    """TRL's settings for `plan`; what Temper does itself (saving, evaluation, reports) is off."""
    return SFTConfig(
        output_dir=plan.output_dir,
        num_train_epochs=plan.n_epochs,
        gradient_accumulation_steps=accumulate,
        learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.max_grad_norm,
        seed=plan.seed,
        use_cpu=device.type == "cpu",
        bf16=bf16,
        activation_checkpointing=False,  # switched on when memory runs out
        ddp_find_unused_parameters=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def size(model: torch.nn.Module) -> dict[str, int]:
    """Return how many numbers a model has, and how many of them are trained."""
    parameters = list(model.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    return {"parameters": sum(each.numel() for each in parameters), "trainable_parameters": trained}


def resumed(plan: RecipePlan, rows: Rows, micro: int) -> tuple[int, int]:
    """Return the step to go on from and the largest micro batch, `micro` or what fitted before; raises RecipeError."""
    if not plan.resume_dir:
        return 0, micro
    saved = checkpoints.read_progress(plan.resume_dir)
    if names := core.differences(saved["fingerprint"], core.fingerprint(plan, rows.offsets)):
        raise RecipeError("resume_mismatch", f"The checkpoint belongs to another plan: {', '.join(names)} differ.")
    return saved["step"], min(micro, saved["micro_batch"])


def train(plan: RecipePlan, emit: Emit, pause: threading.Event) -> None:
    """Run `plan` to its end or to a pause, saying on the way what happens."""
    if plan.threads:
        torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(plan.deterministic)
    if plan.device.startswith("cuda") and not torch.cuda.is_available():
        raise RecipeError("no_gpu", f"The plan asks for {plan.device}, but torch finds no GPU; use auto or cpu.")
    ranks = PartialState(cpu=plan.device == "cpu" or not torch.cuda.is_available())
    if not ranks.is_main_process:
        emit = _say_nothing
    device = ranks.device
    bf16 = is_bfloat16(plan.dtype, device.type)

    model = load_model(plan, device, bf16)
    score = LabelLoss(model)
    vocabulary = model.get_input_embeddings().num_embeddings
    rows = Rows(plan.train, vocabulary)
    valid = Rows(plan.valid, vocabulary) if plan.valid else None
    from_step, micro = resumed(plan, rows, -(-plan.batch_size // ranks.num_processes))
    micro = fit_micro_batch(
        micro,
        lambda count: preflight(model, score, rows, count, device, bf16),
        lambda: recompute_activations(model),
        emit,
    )
    if ranks.num_processes > 1:
        smallest = torch.tensor(micro, device=device)
        torch.distributed.all_reduce(smallest, torch.distributed.ReduceOp.MIN)
        micro = int(smallest)

    accumulate = core.passes(plan.batch_size, ranks.num_processes, micro)
    args = trainer_arguments(plan, accumulate, bf16, device)
    recipe = Recipe(plan, model, args, rows, valid, score, ranks, micro, emit, pause)
    total_steps = plan.n_epochs * recipe.per_epoch
    emit({"type": "started", "from_step": from_step, "total_steps": total_steps, "device": str(device), **size(model)})
    recipe.train(resume_from_checkpoint=plan.resume_dir)
    step = recipe.state.global_step
    if step < total_steps:
        emit({"type": "paused", "step": step})
    else:
        emit({"type": "finished", "step": step, "trained_tokens": recipe.tokens})


def _say_nothing(_message: dict[str, Any]) -> None:
    """What every process but the first says."""


def describe_failure(error: Exception) -> dict[str, str]:
    """What ended the run: a refusal is final; after anything else another attempt goes on from the checkpoint."""
    if isinstance(error, RecipeError):
        return {"type": "failed", "code": error.code, "message": str(error)}
    if isinstance(error, RuntimeError) and ran_out_of_memory(error):
        return {"type": "crashed", "message": "memory ran out in the middle of the run"}
    # its words may quote rows and paths
    return {"type": "crashed", "message": f"training met an unexpected {type(error).__name__}"}


def main(plan: RecipePlan, emit: Emit) -> int:
    """Run `plan` as a process of its own: 0 when it finished or paused, 1 when it failed."""
    logging.basicConfig(stream=sys.stderr)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    first = os.environ.get("RANK", "0") == "0"  # torchrun's processes share one stdin and one stdout
    pause = threading.Event()
    if first:
        threading.Thread(target=obey_parent, args=(pause,), daemon=True).start()
    try:
        train(plan, emit, pause)
    except Exception as error:
        log.exception("training failed")
        if first:
            emit(describe_failure(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(PLAN, SAY))
