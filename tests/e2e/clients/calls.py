"""Every call that Temper serves, through whichever official client runs this: `python calls.py surface|training MODEL`.

The surface is what the edge answers with any serving process behind it.

The client reads OPENAI_BASE_URL and OPENAI_API_KEY. Answers are validated strictly against the client's own types,
but for three that those types do not know: a paused job, `finish_reason: null` within a streamed text completion, and
the messages of a stored chat that are not the assistant's (all of which OpenAI sends as well).
"""

import base64
import hashlib
import json
import sys
import time

import openai
from openai import OpenAI

ROWS = [
    {"messages": [{"role": "user", "content": f"What is code {i}?"}, {"role": "assistant", "content": f"red {i}"}]}
    for i in range(12)
]
DATA = "\n".join(json.dumps(row) for row in ROWS).encode()
PATIENCE = 300.0
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def main(part: str, model: str) -> None:
    """Make the calls of one part."""
    client = OpenAI(_strict_response_validation=True)
    files(client)
    uploads(client)
    jobs(client, model)
    models(client, model)
    refusals(client, model)
    completions(client, model)
    responses(client, model)
    stored_chats(client, model)
    if part == "training":
        structured(client, model)
        batches(client, model)
        evals(client, model)
        training(client, model)
    print(f"openai {openai.__version__}: every call of {part} is as it should be")


def files(client: OpenAI) -> None:
    """Upload, list, retrieve, content, delete."""
    made = [upload(client, f"rows-{i}.jsonl") for i in range(3)]
    file = made[0]
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(DATA), "rows-0.jsonl", "fine-tune")
    assert file._request_id
    assert client.files.retrieve(file.id).id == file.id
    ids = [each.id for each in client.files.list(limit=1, purpose="fine-tune")]  # follows the pages
    assert ids[:3] == [each.id for each in reversed(made)]
    assert len(ids) == len(set(ids))
    assert client.files.content(file.id).read() == DATA
    for each in made:
        assert client.files.delete(each.id).deleted
    error = refused(openai.NotFoundError, lambda: client.files.retrieve(file.id))
    assert (error.param, error.code) == ("id", None)


def upload(client: OpenAI, name: str = "rows.jsonl", content: bytes = DATA, purpose: str = "fine-tune"):
    """Upload a file of rows, or of requests."""
    return client.files.create(file=(name, content), purpose=purpose)


def uploads(client: OpenAI) -> None:
    """A file by parts: at once, part by part in another order, cancelled."""
    sizes = {"file": DATA, "filename": "parts.jsonl", "bytes": len(DATA), "mime_type": "text/jsonl"}
    whole = client.uploads.upload_file_chunked(
        **sizes, purpose="fine-tune", part_size=500, md5=hashlib.md5(DATA).hexdigest()
    )
    assert (whole.status, whole.file.filename, whole.file.bytes) == ("completed", "parts.jsonl", len(DATA))
    assert client.files.content(whole.file.id).read() == DATA
    announced = {"bytes": len(DATA), "filename": "parts.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    begun = client.uploads.create(**announced)
    assert begun.status == "pending"
    assert begun.expires_at > begun.created_at
    second = client.uploads.parts.create(begun.id, data=DATA[100:])
    first = client.uploads.parts.create(begun.id, data=DATA[:100])
    assert (first.object, first.upload_id) == ("upload.part", begun.id)
    short = refused(openai.BadRequestError, lambda: client.uploads.complete(begun.id, part_ids=[first.id]))
    assert short.code == "upload_size_mismatch"
    done = client.uploads.complete(begun.id, part_ids=[first.id, second.id])
    assert client.files.content(done.file.id).read() == DATA
    other = client.uploads.create(**announced)
    assert client.uploads.cancel(other.id).status == "cancelled"
    over = refused(openai.BadRequestError, lambda: client.uploads.parts.create(other.id, data=b"x"))
    assert over.code == "upload_not_pending"
    for each in (whole, done):
        assert client.files.delete(each.file.id).deleted


def batches(client: OpenAI, model: str) -> None:
    """A small batch to its end, one of them wrong; a cancelled one; one whose file is wrong."""
    lines = [batch_line(number, model) for number in range(3)]
    lines[1]["body"]["temperature"] = 9
    file = upload(client, "requests.jsonl", jsonl(lines), "batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "1"}
    )
    assert (made.object, made.status, made.metadata) == ("batch", "validating", {"run": "1"})
    done = wait_for_batch(client, made.id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 2, 1)
    good = [json.loads(each) for each in client.files.content(done.output_file_id).text.splitlines()]
    assert [each["custom_id"] for each in good] == ["id-0", "id-2"]
    assert good[0]["response"]["body"]["object"] == "chat.completion"
    (bad,) = [json.loads(each) for each in client.files.content(done.error_file_id).text.splitlines()]
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("id-1", 400)
    assert bad["response"]["body"]["error"]["param"] == "temperature"
    assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
    assert made.id in [each.id for each in client.batches.list(limit=1)]
    over = refused(openai.BadRequestError, lambda: client.batches.cancel(made.id))
    assert over.code == "batch_already_ended"
    wrong = upload(client, "requests.jsonl", jsonl([lines[0], lines[0]]), "batch")
    failed = client.batches.create(input_file_id=wrong.id, endpoint="/v1/chat/completions", completion_window="24h")
    failed = wait_for_batch(client, failed.id)
    assert (failed.status, failed.errors.data[0].code, failed.errors.data[0].line) == (
        "failed",
        "duplicate_custom_id",
        2,
    )
    other = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.cancel(other.id).status in ("cancelling", "cancelled")
    assert wait_for_batch(client, other.id).status == "cancelled"


def evals(client: OpenAI, model: str) -> None:
    """Graders, and an eval whose run asks a model and grades what it says, by texts, code and a model."""
    word = {"type": "string_check", "name": "word", "input": "{{ item.word }}", "operation": "eq", "reference": "red"}
    code = {"type": "python", "name": "code", "source": "def grade(sample, item): return len(sample['output_text'])"}
    ask = [{"role": "user", "content": "Is {{ item.word }} a colour?"}]
    judge = {"type": "score_model", "name": "judge", "model": model, "input": ask, "range": [0, 10]}
    if client.fine_tuning.alpha is not None:
        graders = client.fine_tuning.alpha.graders
        assert graders.validate(grader=word).grader.name == "word"
        assert graders.run(grader=word, model_sample="x", item={"word": "red"}).reward == 1
        assert graders.run(grader=code, model_sample="four").reward == 4
        assert 0 <= graders.run(grader=judge, model_sample="x", item={"word": "red"}).reward <= 10
    made = client.evals.create(
        name="colours",
        data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
        testing_criteria=[word, {**code, "pass_threshold": 0}, judge],
    )
    content = [{"item": {"word": word}} for word in ("red", "gate", "red")]
    source = {
        "type": "completions",
        "source": {"type": "file_content", "content": content},
        "model": model,
        "input_messages": {"type": "template", "template": ask},
        "sampling_params": {"max_completion_tokens": 4, "temperature": 0},
    }
    run = client.evals.runs.create(made.id, data_source=source)
    until = time.monotonic() + PATIENCE
    while run.status in ("queued", "in_progress"):
        assert time.monotonic() < until, run
        time.sleep(0.2)
        run = client.evals.runs.retrieve(run.id, eval_id=made.id)
    assert (run.status, run.result_counts.total) == ("completed", 3), run
    counts = {each.testing_criteria: each.passed for each in run.per_testing_criteria_results}
    assert (counts["word"], counts["code"]) == (2, 3)
    items = list(client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=2))
    assert [each.datasource_item["word"] for each in items] == ["red", "gate", "red"]
    assert items[0].sample.input[0].content == "Is red a colour?"
    assert made.id in [each.id for each in client.evals.list()]
    assert client.evals.delete(made.id).deleted
    refused(openai.NotFoundError, lambda: client.evals.runs.retrieve(run.id, eval_id=made.id))


def batch_line(number: int, model: str) -> dict:
    """One line of a batch's file."""
    body = {"model": model, "messages": [{"role": "user", "content": f"What is code {number}?"}], "max_tokens": 4}
    return {"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def jsonl(lines: list) -> bytes:
    """Lines of a file."""
    return "\n".join(json.dumps(each) for each in lines).encode()


def wait_for_batch(client: OpenAI, id: str):
    """Return a batch that is over."""
    until = time.monotonic() + PATIENCE
    while (batch := client.batches.retrieve(id)).status in ("validating", "in_progress", "finalizing", "cancelling"):
        assert time.monotonic() < until, batch
        time.sleep(0.2)
    return batch


def jobs(client: OpenAI, model: str) -> None:
    """Create, list, retrieve, events, checkpoints, cancel."""
    file = upload(client)
    made = [
        client.fine_tuning.jobs.create(
            model=model, training_file=file.id, suffix="calls", seed=i, metadata={"run": str(i)}, method=method(1)
        )
        for i in range(2)
    ]
    job = made[1]
    assert job.object == "fine_tuning.job"
    assert (job.model, job.training_file, job.seed, job.metadata) == (model, file.id, 1, {"run": "1"})
    assert job.user_provided_suffix == "calls"
    assert job.method.supervised.hyperparameters.n_epochs == 1
    assert job.fine_tuned_model is None
    listed = [each.id for each in client.fine_tuning.jobs.list(limit=1)]
    assert listed[:2] == [each.id for each in reversed(made)]
    in_use = refused(openai.BadRequestError, lambda: client.files.delete(file.id))
    assert in_use.code == "file_in_use"
    for each in made:
        assert client.fine_tuning.jobs.cancel(each.id).status == "cancelled"
        assert client.fine_tuning.jobs.retrieve(each.id).status == "cancelled"
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    assert events[-1].message == f"Created fine-tuning job: {job.id}"
    assert any("cancellation" in event.message for event in events)
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == []
    again = refused(openai.BadRequestError, lambda: client.fine_tuning.jobs.cancel(job.id))
    assert again.code == "job_already_ended"
    unknown = refused(openai.NotFoundError, lambda: client.fine_tuning.jobs.retrieve("ftjob-unknown"))
    assert unknown.code == "fine_tune_not_found"
    client.files.delete(file.id)
    gone = refused(openai.BadRequestError, lambda: client.fine_tuning.jobs.create(model=model, training_file=file.id))
    assert (gone.param, gone.code) == ("training_file", "file_deleted")


def method(n_epochs: int, **others: object) -> dict:
    """A supervised method."""
    return {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": n_epochs, **others}}}


def models(client: OpenAI, model: str) -> None:
    """List, retrieve, delete."""
    assert model in [each.id for each in client.models.list()]
    assert client.models.retrieve(model).id == model
    assert refused(openai.PermissionDeniedError, lambda: client.models.delete(model)).code == "model_not_deletable"
    for call in (client.models.retrieve, client.models.delete):
        assert refused(openai.NotFoundError, lambda call=call: call("ft:a:b/c::d")).code == "model_not_found"


def refusals(client: OpenAI, model: str) -> None:
    """Errors arrive as the client's own exceptions, with code, param, sentence and request id."""
    bad = client.with_options(api_key="sk-wrong")
    assert refused(openai.AuthenticationError, lambda: bad.models.list()).code == "invalid_api_key"
    error = refused(
        openai.BadRequestError,
        lambda: client.fine_tuning.jobs.create(model=model, training_file="file-x", method={"type": "dpo"}),
    )
    assert (error.code, error.param) == ("unsupported", "method")
    error = refused(openai.BadRequestError, lambda: client.files.create(file=("a", b"{}"), purpose="vision"))
    assert (error.code, error.param) == ("unsupported", "purpose")
    error = refused(openai.NotFoundError, lambda: chat(client, "no-such-model"))
    assert (error.code, error.param) == ("model_not_found", "model")


def refused(kind: type, call) -> openai.APIStatusError:
    """Return the error that `call` must end with."""
    try:
        call()
    except openai.APIStatusError as error:
        assert type(error) is kind, error
        assert error.request_id, "no x-request-id"
        assert len(str(error.body["message"])) > 10
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def chat(client: OpenAI, model: str, **options: object):
    """Ask one question."""
    messages = [{"role": "user", "content": "What is code 3?"}]
    asked = {"max_tokens": 8, "temperature": 0, **options}
    return client.chat.completions.create(model=model, messages=messages, **asked)


def responses(client: OpenAI, model: str) -> None:
    """Responses: whole, streamed, going on from one, kept, listed, deleted."""
    asked = {"model": model, "max_output_tokens": 8, "temperature": 0}
    first = client.responses.create(input="What is code 3?", instructions="Be brief.", metadata={"a": "b"}, **asked)
    assert (first.object, first.model, first.metadata) == ("response", model, {"a": "b"})
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    events = list(client.responses.create(input="What is code 3?", instructions="Be brief.", stream=True, **asked))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == first.output_text
    assert events[-1].response.status == first.status
    assert first.status in ("completed", "incomplete")
    second = client.responses.create(input="And code 4?", previous_response_id=first.id, **asked)
    kept = client.responses.retrieve(second.id)
    assert (kept.id, kept.previous_response_id, kept.output_text) == (second.id, first.id, second.output_text)
    items = list(client.responses.input_items.list(second.id, limit=1, order="asc"))  # follows the pages
    assert [item.role for item in items] == ["user", "assistant", "user"]
    client.responses.delete(second.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(second.id))
    refused(openai.NotFoundError, lambda: client.responses.create(input="?", previous_response_id=second.id, **asked))
    tools = [{"type": "web_search"}]
    error = refused(openai.BadRequestError, lambda: client.responses.create(input="?", tools=tools, **asked))
    assert (error.code, error.param) == ("unsupported", "tools[0]")


def stored_chats(client: OpenAI, model: str) -> None:
    """Chats that are kept: found by their metadata, labelled anew, deleted."""
    made = chat(client, model, store=True, metadata={"calls": "stored"})
    stored = client.chat.completions
    assert made.id in [each.id for each in stored.list(model=model, metadata={"calls": "stored"}, limit=1)]
    assert stored.retrieve(made.id).choices[0].message.content == made.choices[0].message.content
    assert stored.update(made.id, metadata={"calls": "again"}).metadata == {"calls": "again"}
    messages = OpenAI().chat.completions.messages.list(made.id)  # their roles are not those of the client's own type
    assert [each.content for each in messages] == ["What is code 3?"]
    assert stored.delete(made.id).deleted
    refused(openai.NotFoundError, lambda: stored.retrieve(made.id))


def completions(client: OpenAI, model: str) -> None:
    """Chat and text, whole and streamed."""
    whole = chat(client, model)
    assert (whole.object, whole.model) == ("chat.completion", model)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(chat(client, model, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert streamed == (whole.choices[0].message.content or "")
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    text = client.completions.create(model=model, prompt="What is", max_tokens=4, temperature=0)
    assert text.object == "text_completion"
    lenient = OpenAI().completions
    pieces = list(lenient.create(model=model, prompt="What is", max_tokens=4, temperature=0, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == text.choices[0].text


def structured(client: OpenAI, model: str) -> None:
    """Answers and calls that are held to a schema."""
    held = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    assert json.loads(chat(client, model, max_tokens=120, response_format=held).choices[0].message.content) == {
        "colour": "red"
    }
    tool = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA, "strict": True}}
    forced = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    (call,) = chat(client, model, max_tokens=200, **forced).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"colour": "red"})


def training(client: OpenAI, model: str) -> None:
    """A job to its end: events, checkpoints, results, the tuned model; pause and resume on the way."""
    file = client.files.wait_for_processing(upload(client).id, poll_interval=0.2)
    assert file.status == "processed"
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file.id, suffix="calls", method=method(6, batch_size=2), seed=3
    )
    wait(client, job.id, "running")
    pause_and_resume(OpenAI(), job.id)
    done = wait(client, job.id, "succeeded")
    tuned = done.fine_tuned_model
    assert tuned.startswith(f"ft:{model}:")
    assert done.trained_tokens > 0
    steps: list[int] = []
    for _ in range(
        100
    ):  # a job's last steps may be shown a moment after its end: topics have no order among each other
        events = list(client.fine_tuning.jobs.list_events(job.id, limit=5))
        steps = [event.data["step"] for event in events if event.type == "metrics"]
        if len(steps) == 36:
            break
        time.sleep(0.2)
    assert steps == sorted(set(steps), reverse=True)
    assert len(steps) == 36
    assert events[0].message == "The job has successfully completed"
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    names = [each.fine_tuned_model_checkpoint for each in checkpoints]
    assert len(names) == 3
    assert names[0] == tuned
    assert all(":ckpt-step-" in name for name in names[1:])
    assert set(names) <= {each.id for each in client.models.list()}
    table = base64.b64decode(client.files.content(done.result_files[0]).read())
    assert table.startswith(b"step,train_loss")
    assert len(table.splitlines()) == 37
    lines = [json.loads(line) for line in client.files.content(done.result_files[1]).text.splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, 37))
    assert lines[-1]["trained_tokens"] == done.trained_tokens
    assert 0 < lines[0]["time_since_job_start"] < lines[-1]["time_since_job_start"]
    for name in (tuned, names[1]):
        assert chat(client, name).model == name
    permissions = client.fine_tuning.checkpoints.permissions
    (granted,) = permissions.create(tuned, project_ids=["acme"])
    assert granted.project_id == "acme"
    assert permissions.delete(granted.id, fine_tuned_model_checkpoint=tuned).deleted
    assert client.models.delete(names[1]).deleted
    refused(openai.NotFoundError, lambda: chat(client, names[1]))


def pause_and_resume(lenient: OpenAI, job: str) -> None:
    """A job that rests holds no device; it goes on from where it was. Tiny jobs may end first."""
    try:
        lenient.fine_tuning.jobs.pause(job)
    except openai.BadRequestError as error:
        assert error.code == "job_already_ended"
        return
    resting = wait(lenient, job, "paused", "succeeded")
    for result in resting.result_files:  # none where it has not begun
        assert lenient.files.content(result).read() is not None
    if resting.status == "paused":
        assert lenient.fine_tuning.jobs.resume(job).status == "queued"


def wait(client: OpenAI, job: str, *wanted: str):
    """Return the job once its status is one of `wanted`."""
    until = time.monotonic() + PATIENCE
    while (found := client.fine_tuning.jobs.retrieve(job)).status not in wanted:
        assert found.status not in ("failed", "cancelled"), found.error
        if found.status == "succeeded":
            break
        assert time.monotonic() < until, f"{job} is still {found.status}"
        time.sleep(0.1)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
