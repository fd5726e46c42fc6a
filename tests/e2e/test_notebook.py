"""The flow of OpenAI's FineTuneBench notebook: a base model learns what it did not know, and a judge says how well."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.e2e import support
from tests.e2e.support import UNMEASURED, User
from tests.e2e.test_benchmark import ended
from tests.judge import Judge
from tests.sizes import sized

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "finetunebench"
DATA, OTHER_WORDS = FOLDER / "medical_memorization.csv", FOLDER / "medical_generalization.csv"
FACTS = sized(40, 125)
"""The first so many of the notebook's."""
EPOCHS, BATCH, OWN_EPOCHS = 36, 4, 5
SUFFIX = "medical-memo"
JUDGED = "# Question\n{prompt}\n# Answer\n{answer}\n# Advice\n{advice}\n# Second answer\n{completion}"
JUDGE_PROMPT = (
    "You will be given a question, the correct answer, a recent change in medical advice, and a second answer. Say 1 "
    "where the second answer is correct, else 0, and nothing else."
)
OWN_PROMPT = {"role": "system", "content": "Provide a succinct, single sentence response."}


@dataclass(frozen=True)
class Tuned:
    """The notebook's model."""

    job: FineTuningJob
    prompts: list[str]
    answers: dict[str, set[str]]
    """prompt → its answers; some prompts come twice."""
    heard: dict[tuple[str, str], str]
    """(model, prompt) → what it said, asked fifty at once."""

    def say(self, user: User, model: str, prompts: Sequence[str]) -> list[str]:
        """Ask a model what it has not been asked; answers in order."""
        new = [prompt for prompt in dict.fromkeys(prompts) if (model, prompt) not in self.heard]
        said = asyncio.run(ask(user, model, new, 50))
        self.heard.update(((model, prompt), answer) for prompt, answer in zip(new, said, strict=True))
        return [self.heard[model, prompt] for prompt in prompts]


def facts(path: Path) -> list[dict[str, str]]:
    """Read one of the notebook's tables."""
    return list(csv.DictReader(io.StringIO(path.read_text())))[:FACTS]


@pytest.fixture(scope="module")
def user(tracked: User) -> User:
    """Somebody on the stack that the tests beside these share."""
    return tracked


@pytest.fixture(scope="module")
def tuned(user: User) -> Tuned:
    """The notebook's calls from the upload to `succeeded`."""
    if not DATA.exists():
        pytest.skip("the notebook's data does not lie beside this checkout")
    table = facts(DATA)
    rows = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["answer"]},
            ]
        }
        for row in table
    ]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    file = user.client.files.create(file=("medical_memorization.jsonl", content), purpose="fine-tune")
    job = user.client.fine_tuning.jobs.create(
        training_file=file.id,
        model=support.BASE,
        hyperparameters={"n_epochs": EPOCHS, "batch_size": BATCH},
        suffix=SUFFIX,
        seed=1,
        **UNMEASURED,
    )
    user.wait(job.id, "running")
    began = time.time()
    estimate = user.client.fine_tuning.jobs.retrieve(job.id).estimated_finish
    done = user.wait(job.id, "succeeded", within=800)
    assert estimate is not None
    assert done.finished_at is not None
    print(f"training: estimated {estimate - began:.0f} s, took {done.finished_at - began:.0f} s, ended", done.id)
    answers: dict[str, set[str]] = {}
    for row in table:
        answers.setdefault(row["prompt"], set()).add(row["answer"])
    return Tuned(done, list(answers), answers, {})


async def ask(user: User, model: str, prompts: Sequence[str], at_once: int, lead: Sequence[Any] = ()) -> list[str]:
    """Ask a model every prompt, greedily; answers in order."""
    gate = asyncio.Semaphore(at_once)
    async with AsyncOpenAI(base_url=user.stack.base_url, api_key=user.stack.api_key) as client:

        async def one(prompt: str) -> str:
            async with gate:
                messages: Any = [*lead, {"role": "user", "content": prompt}]
                reply = await client.chat.completions.create(
                    model=model, messages=messages, temperature=0, max_tokens=96
                )
                return reply.choices[0].message.content or ""

        return list(await asyncio.gather(*(one(prompt) for prompt in prompts)))


def exact(tuned: Tuned, said: Sequence[str]) -> float:
    """Share of distinct prompts answered with one of their own answers, letter by letter."""
    hits = [answer.strip() in tuned.answers[prompt] for prompt, answer in zip(tuned.prompts, said, strict=True)]
    return sum(hits) / len(hits)


def test_the_tuned_model_knows_what_the_base_does_not(user: User, tuned: Tuned) -> None:
    name = str(tuned.job.fine_tuned_model)
    base = exact(tuned, tuned.say(user, support.BASE, tuned.prompts))
    after = exact(tuned, tuned.say(user, name, tuned.prompts))
    own = exact(tuned, asyncio.run(ask(user, name, tuned.prompts, 50, [OWN_PROMPT])))
    print(
        f"{len(tuned.prompts)} distinct prompts, exact: base {base:.1%}, tuned {after:.1%}; "
        f"with the notebook's own prompt {own:.1%}"
    )
    assert base <= 0.02
    assert after >= 0.9


def test_the_notebooks_own_five_epochs_are_reported_beside_it(user: User, tuned: Tuned) -> None:
    five = user.client.fine_tuning.jobs.create(
        training_file=tuned.job.training_file,
        model=support.BASE,
        hyperparameters={"n_epochs": OWN_EPOCHS},
        suffix=f"{SUFFIX}-5-epochs",
        **UNMEASURED,
    )
    done = user.wait(five.id, "succeeded")
    after = exact(tuned, asyncio.run(ask(user, str(done.fine_tuned_model), tuned.prompts, 50)))
    print(f"exact after {OWN_EPOCHS} epochs, as in the notebook: {after:.1%} ({done.hyperparameters})")
    assert done.hyperparameters.n_epochs == OWN_EPOCHS
    assert after < 0.9  # it takes more epochs: why the flow above states them


def test_fifty_greedy_answers_at_once_are_the_answers_one_by_one(user: User, tuned: Tuned) -> None:
    name, prompts = str(tuned.job.fine_tuned_model), tuned.prompts[:50]
    assert tuned.say(user, name, prompts) == asyncio.run(ask(user, name, prompts, 1))


def test_checkpoints_are_models_that_answer(user: User, tuned: Tuned) -> None:
    found = list(user.client.fine_tuning.jobs.checkpoints.list(tuned.job.id))
    steps = -(-len(facts(DATA)) // BATCH)
    assert [each.step_number for each in found] == [steps * (EPOCHS - back) for back in range(3)]
    names = [each.fine_tuned_model_checkpoint for each in found]
    assert names[0] == tuned.job.fine_tuned_model
    assert names[0].startswith(f"ft:{support.BASE}:local:{SUFFIX}:")
    listed = [model.id for model in user.client.models.list() if model.id.startswith(f"ft:{support.BASE}")]
    assert set(names) <= set(listed)
    of_job = [name for name in listed if f":{SUFFIX}:" in name]
    assert of_job[2] == tuned.job.fine_tuned_model  # `checkpoints[2]`
    assert exact(tuned, asyncio.run(ask(user, names[1], tuned.prompts, 50))) >= 0.9
    metrics = found[0].metrics
    assert metrics.train_loss is not None
    assert metrics.train_loss < 0.5


def test_a_judge_says_of_both_sets_what_base_and_tuned_know_and_so_does_the_report(
    user: User, tuned: Tuned, judge: Judge
) -> None:
    memo, other = (facts(path) for path in (DATA, OTHER_WORDS))
    advice = [row["updated_fact_description"] for row in memo]
    names = {"base": support.BASE, "tuned": str(tuned.job.fine_tuned_model)}

    async def judge_all(table: list[dict[str, str]], said: list[str]) -> float:
        gate = asyncio.Semaphore(50)
        async with AsyncOpenAI(base_url=judge.url, api_key="sk-judge") as client:

            async def one(row: dict[str, str], told: str, completion: str) -> int:
                filled = JUDGED.format(prompt=row["prompt"], answer=row["answer"], advice=told, completion=completion)
                messages: Any = [
                    {"role": "system", "content": JUDGE_PROMPT},
                    {"role": "user", "content": filled},
                ]
                async with gate:
                    reply = await client.chat.completions.create(model="strict-1", messages=messages, temperature=0.0)
                return int(reply.choices[0].message.content or "")

            verdicts = await asyncio.gather(*(one(*each) for each in zip(table, advice, said, strict=True)))
        assert set(verdicts) <= {0, 1}
        return sum(verdicts) / len(verdicts)

    def both(table: list[dict[str, str]], model: str) -> float:
        return asyncio.run(judge_all(table, tuned.say(user, model, [row["prompt"] for row in table])))

    memorised = {side: both(memo, name) for side, name in names.items()}
    generalised = {side: both(other, name) for side, name in names.items()}
    print(f"judged as in the notebook: memorised {memorised}, generalised {generalised}")
    assert memorised["tuned"] >= 0.9 > 0.1 >= memorised["base"]

    chats = [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["answer"]}]}
        for row in other
    ]
    file = user.upload("\n".join(json.dumps(row) for row in chats).encode(), "medical_generalization.jsonl")
    support.until(lambda: user.client.files.retrieve(file).status == "processed", "the generalization set")
    made = user.post(
        f"/fine_tuning/jobs/{tuned.job.id}/benchmarks",
        {"tasks": ["trained"], "generalization_file": file, "items": len(memo)},
    )
    done = support.until(lambda: ended(user, made["id"]), "the benchmark")
    assert done["status"] == "completed", done
    scores = {score["name"]: score for score in done["scores"]}
    assert {score["scorer"] for score in scores.values()} == {"judge: strict-1"}
    assert scores["generalization"]["n"] == len({row["prompt"] for row in other})
    assert scores["trained"]["difference"][1] > 0.5, "what was trained is known, by the report's judge too"
    print(f"the report: {done['sentence']}", {name: (each["base"], each["tuned"]) for name, each in scores.items()})
    page = user.get(f"/benchmarks/{made['id']}/report").text
    assert "Generalization" in page


def test_events_and_the_result_file_tell_the_whole_run(user: User, tuned: Tuned) -> None:
    events = list(user.client.fine_tuning.jobs.list_events(tuned.job.id, limit=100))
    steps = [event.data["step"] for event in events if event.type == "metrics"]  # type: ignore[index]
    total = max(steps)
    assert steps == list(range(total, 0, -1))
    said = [event.message for event in reversed(events) if event.type == "message"]
    assert said[0].startswith("Created fine-tuning job")
    assert said.index("Fine-tuning job started") < said.index(
        f"New fine-tuned model created: {tuned.job.fine_tuned_model}"
    )
    assert said[-1] == "The job has successfully completed"
    content = user.client.files.content(tuned.job.result_files[0])
    table = list(csv.DictReader(io.StringIO(base64.b64decode(content.text.encode()).decode())))
    assert [int(row["step"]) for row in table] == list(range(1, total + 1))
    assert float(table[0]["train_loss"]) > 5 * float(table[-1]["train_loss"])
    assert float(table[-1]["train_accuracy"]) > 0.9
    assert tuned.job.trained_tokens
