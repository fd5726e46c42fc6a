"""Rows of a document are made as in operation: over HTTP, of an endpoint that fails in all the ways that they do."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.blobs import BlobRef
from contracts.controls import troubles
from contracts.corpus import Chunks, Example, Text, text_at
from contracts.envelope import derived_id, make
from contracts.events.corpus import CorpusPlanned, ExamplesFailed, ExamplesSynthesized
from contracts.ports import UnavailableError
from contracts.replies import Patience
from functions.synthesize_examples import work as synthesis
from functions.synthesize_examples.asking import Author
from functions.synthesize_examples.handler import STAGE, on_corpus_planned
from functions.synthesize_examples.trial import Chain, Trial, choose
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.memory import MemoryBlobs, MemoryControls
from infra.local.ports import LOOPBACK, LocalPorts
from infra.runtime.leases import HeldLease
from tests.leases import Opened, held
from tests.unit.synthesize_examples.corpus import ARCHIVE, DOCUMENT, document

KEY = "sk-a-secret-of-the-tenant"
SECTIONS = {
    f"Machine {name}": f"The pump {name} was built in {1990 + index} by Meyer AG. "
    f"Its oil is changed after {100 + index} hours of work at the plant."
    for index, name in enumerate(("Ada", "Bea", "Cleo", "Dora", "Edda", "Fria", "Gina", "Hera"))
}
Say = Callable[[str, int], "Response | None"]
"""(section, how often it was asked) → an answer in place of the right one."""


def pairs(passage: str) -> str:
    """Return what a good model would say of a section."""
    name = passage.split("pump ")[1].split()[0]
    quote = passage.split(". ")[0].strip() + "."
    year = quote.split(" in ")[1].split()[0]
    return json.dumps(
        {"pairs": [{"question": f"When was the pump {name} built?", "answer": f"In {year}", "quote": quote}]}
    )


def completion(content: str | None) -> Response:
    """Return a chat completion."""
    return JSONResponse({"choices": [{"message": {"role": "assistant", "content": content}}]})


@dataclass
class Endpoint:
    """An OpenAI-compatible server of which the test says where it fails."""

    url: str = ""
    say: Say = lambda section, times: None
    trial: Callable[[dict[str, Any]], Response | None] = lambda body: None
    """What is said to the small request that comes before; None: a good pair."""
    trials: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """Answers with 200 by the request's bytes."""
    most: int = 0
    """Most requests at the same time."""
    now: int = 0

    def times(self, section: str) -> int:
        return sum(f"Section: {section}\n" in body["messages"][-1]["content"] for body in self.bodies)

    async def answer(self, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw)
        asked = body["messages"][-1]["content"]
        if body.get("max_tokens") == 1:
            return completion("Yes")
        if "Pairs asked for: 1\n" in asked:
            return await self.answer_trial(body, request)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        section = asked.split("Section: ")[1].split("\n")[0] if "Section: " in asked else asked
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            other = self.say(section, self.times(section))
            if other is not None and other.status_code == 999:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
            if other is None:
                other = completion(pairs(asked.split("<<<")[1]) if "<<<" in asked else "I do not know.")
            if other.status_code == 200:
                self.answered[raw.decode()] += 1
            return other
        finally:
            self.now -= 1

    async def answer_trial(self, body: dict[str, Any], request: Request) -> Response:
        self.trials.append(body)
        said = self.trial(body)
        while said is HANG and (await request.receive())["type"] != "http.disconnect":
            pass
        return said or completion(pairs(body["messages"][-1]["content"].split("<<<")[1]))


HANG = Response(status_code=999)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    app = Starlette(routes=[Route("/v1/chat/completions", made.answer, methods=["POST"])])
    port = LocalPorts({}, usual=False).choose("serving", 0)
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="error", lifespan="off"))
    made.url = f"http://{LOOPBACK}:{port}/v1"
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield made
    server.should_exit = server.force_exit = True
    await task


@pytest.fixture
async def generate(endpoint: Endpoint) -> AsyncIterator[HttpGenerate]:
    made = HttpGenerate(endpoint.url, "writer", KEY, seconds=0.5)
    yield made
    await made.close()


@pytest.fixture
async def patient(endpoint: Endpoint) -> AsyncIterator[HttpGenerate]:
    """A client for tests in which nobody hangs for longer than its own bound."""
    made = HttpGenerate(endpoint.url, "writer", KEY, seconds=30)
    yield made
    await made.close()


@dataclass
class World:
    """A store with one planned document, and its control document."""

    blobs: MemoryBlobs
    text: Text
    chunks: Chunks
    plan: BlobRef
    controls: MemoryControls = field(default_factory=MemoryControls)
    waits: list[float] = field(default_factory=list)

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    def lease(self) -> HeldLease:
        """Return a lease as of a new attempt."""
        inputs = {"event_id": "e1", "archive": ARCHIVE, "plan": self.plan.model_dump()}
        return held(f"{DOCUMENT}/examples", "acme", STAGE, inputs, self.controls)

    async def work(
        self,
        generate: HttpGenerate | Chain | None = None,
        base: HttpGenerate | None = None,
        rules: bool = True,
        **patience: Any,
    ) -> ExamplesSynthesized | ExamplesFailed:
        """Return the verdict, having checked the envelope around it."""
        settings = Patience(**{"attempts": 3, "outages": 2, **patience})
        authors = [Author("tenant_endpoint", generate)] if isinstance(generate, HttpGenerate) else ()
        chain = generate if isinstance(generate, Chain) else Chain(authors, rules)
        (event,) = await synthesis.work(self.lease(), self.blobs, chain, base, settings, self.pause)
        assert (event.id, event.subject) == (derived_id(DOCUMENT, "examples"), DOCUMENT)
        assert (event.tenant, event.cause) == ("acme", "e1")
        assert KEY not in event.data.model_dump_json()
        assert isinstance(event.data, ExamplesSynthesized | ExamplesFailed)
        return event.data

    async def examples(self, said: ExamplesSynthesized | ExamplesFailed) -> list[Example]:
        """Return the rows that the event refers to, having checked that each quote is verbatim at its span."""
        assert isinstance(said, ExamplesSynthesized), said
        assert said.examples.key == f"acme/{ARCHIVE}/documents/{DOCUMENT}/examples.jsonl"
        lines = (await self.blobs.get(said.examples.key)).splitlines()
        found = [Example.model_validate_json(line) for line in lines]
        kept = [example for example in found if example.code is None]
        assert (len(kept), len(found) - len(kept)) == (said.kept, said.rejected)
        assert len({example.chunk for example in kept}) == said.covered
        for example in kept:
            assert text_at(self.text.pages, [example.span]) == example.quote
        return found

    async def replies(self) -> list[str]:
        """Return the keys of the recorded replies."""
        return await self.blobs.list(f"acme/{ARCHIVE}/replies/")


async def world(sections: dict[str, str] | None = None, rows: int = 2) -> World:
    """Return a world with a document of these sections."""
    text, chunks, plan = document(sections or SECTIONS, rows=rows)
    blobs = MemoryBlobs()
    folder = f"acme/{ARCHIVE}/documents/{DOCUMENT}"
    await blobs.put(f"{folder}/text.json", text.model_dump_json().encode())
    await blobs.put(f"{folder}/chunks.json", chunks.model_dump_json().encode())
    ref = await blobs.put(f"acme/{ARCHIVE}/plan.json", plan.model_dump_json().encode())
    return World(blobs, text, chunks, ref)


async def test_without_an_endpoint_the_rules_make_the_rows_and_say_so() -> None:
    here = await world()
    said = await here.work()
    examples = await here.examples(said)
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, said.covered) == ("extractive", len(SECTIONS))
    assert {(example.generator, example.prompt) for example in examples} == {("extractive", "extractive-4")}
    assert "When was the pump Ada built by Meyer AG?" in [example.question for example in examples]
    assert await here.work() == said


async def test_a_document_in_a_language_without_rules_says_so_and_how_many_chunks_are_left() -> None:
    text = "Les factures de la maison doivent être conservées pendant dix ans dans les archives de la ville de Lyon."
    here = await world(sections={"Factures": text, "Archives": f"Le directeur a dit ceci. {text}"})
    said = await here.work()
    assert isinstance(said, ExamplesFailed)
    assert (said.code, said.language) == ("no_rules_for_language", "fr")
    assert "2 chunks" in said.message
    assert "Name an endpoint" in said.message


async def test_an_endpoint_that_stumbles_in_every_way_covers_all_chunks_but_the_one_it_never_answers_well(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    trouble: dict[tuple[str, int], Response] = {
        ("Machine Ada", 1): Response(status_code=429, headers={"retry-after": "7"}),
        ("Machine Ada", 2): Response(status_code=503),
        ("Machine Bea", 1): HANG,
        ("Machine Cleo", 1): completion("I would rather not."),
        ("Machine Dora", 1): completion("no JSON"),
        ("Machine Dora", 2): completion(None),
        ("Machine Edda", 1): Response(b"<html>busy</html>", status_code=200),
    }
    endpoint.say = lambda section, times: trouble.get((section, times))
    here = await world()
    said = await here.work(generate, in_flight=3)
    examples = await here.examples(said)
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, said.kept, said.covered) == ("endpoint", 7, 7)
    assert not any("Dora" in example.question for example in examples)
    assert {example.model for example in examples} == {"writer"}
    assert all([await here.blobs.stat(example.reply) for example in examples])
    # the first one, the readable ones, and those that made Cleo and Dora be asked again
    assert len(await here.replies()) == 1 + 7 + 3
    assert 7.0 in here.waits
    assert 1 < endpoint.most <= 3
    assert {headers["authorization"] for headers in endpoint.headers} == {f"Bearer {KEY}"}


async def test_after_a_kill_no_recorded_request_is_asked_again(endpoint: Endpoint, generate: HttpGenerate) -> None:
    here = await world()
    enough = asyncio.Event()

    def hang_from_the_fourth(section: str, times: int) -> Response | None:
        if len(endpoint.bodies) <= 3:
            return None
        enough.set()
        return HANG

    endpoint.say = hang_from_the_fourth
    killed = asyncio.create_task(here.work(generate, in_flight=1))
    await enough.wait()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert len(await here.replies()) == 1 + 3
    endpoint.say = lambda section, times: None
    said = await here.work(generate)
    assert isinstance(said, ExamplesSynthesized)
    assert (said.covered, set(endpoint.answered.values())) == (8, {1})
    asked = len(endpoint.bodies)
    assert (await here.work(generate), len(endpoint.bodies)) == (said, asked)


async def test_an_endpoint_without_response_formats_is_asked_in_simpler_forms(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    def plain_only(section: str, times: int) -> Response | None:
        return Response(status_code=400) if "max_tokens" in endpoint.bodies[-1] else None

    endpoint.say = plain_only
    endpoint.trial = lambda body: Response(status_code=400) if "max_tokens" in body else None
    here = await world()
    said = await here.work(generate, in_flight=1)
    assert isinstance(said, ExamplesSynthesized)
    assert said.covered == 8
    kinds = [
        [body.get("response_format", {}).get("type", "max_tokens" in body) for body in bodies]
        for bodies in (endpoint.trials, endpoint.bodies)
    ]
    assert kinds == [["json_schema", "json_object", True, False], [False] * 8], "what is refused is asked once"


@pytest.mark.parametrize("status", [401, 404])
async def test_an_endpoint_that_refuses_the_key_or_the_model_fails_the_document_at_once(
    status: int, endpoint: Endpoint, generate: HttpGenerate
) -> None:
    endpoint.trial = lambda body: Response(f"wrong key {KEY}", status_code=status)
    said = await (await world()).work(generate, in_flight=1)
    assert isinstance(said, ExamplesFailed)
    asked = len(endpoint.trials) + len(endpoint.bodies)
    assert (said.code, asked, str(status) in said.message) == ("generator_refused", 1, True)


async def test_a_chunk_that_is_refused_is_uncovered_and_the_others_go_on(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    endpoint.say = lambda section, times: Response(status_code=413) if section == "Machine Ada" else None
    said = await (await world()).work(generate)
    assert isinstance(said, ExamplesSynthesized)
    assert said.covered == 7


async def test_work_is_given_back_while_the_endpoint_is_away_and_ends_when_it_stays_away(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    here = await world()
    endpoint.say = lambda section, times: None if section == "Machine Ada" else Response(status_code=500)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="answers 500"):
            await here.work(generate, in_flight=1)
    assert here.waits == [1.0, 2.0] * 2
    said = await here.work(generate, in_flight=1)
    assert isinstance(said, ExamplesSynthesized)
    assert said.covered == 1
    assert set(endpoint.answered.values()) == {1}


async def test_an_endpoint_that_never_answers_leaves_a_failure_with_its_code_or_rules_that_say_so() -> None:
    port = LocalPorts({}, usual=False).choose("serving", 0)
    nobody = HttpGenerate(f"http://{LOOPBACK}:{port}/v1", "writer", KEY)
    sentence = "The tenant's endpoint with the model 'writer' did not answer when it was asked for one question."
    said = await (await world()).work(nobody, rules=False, outages=0)
    assert isinstance(said, ExamplesFailed)
    assert (said.code, said.message) == ("generator_unavailable", sentence)
    here = await world()
    with pytest.raises(UnavailableError):
        await here.work(nobody, outages=1)
    said = await here.work(nobody, outages=1)
    await nobody.close()
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, said.covered) == ("extractive", 8)
    assert [(each.generator, each.code, each.message) for each in said.tried] == [("endpoint", "unavailable", sentence)]


async def test_an_endpoint_that_times_out_is_named_while_it_happens_and_the_rules_write(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    endpoint.trial = lambda body: HANG
    here = await world()
    working = asyncio.create_task(here.work(generate))
    async with asyncio.timeout(20):
        while not (met := troubles(await here.controls.get(f"{DOCUMENT}/examples"))):
            await asyncio.sleep(0.01)
    assert not working.done(), "it is said before it is over"
    assert [each["code"] for each in met] == ["generator_timed_out"]
    assert "tenant's endpoint with the model 'writer' gave no whole answer in time" in met[0]["message"]
    assert KEY not in str(met)
    said = await working
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, [each.code for each in said.tried]) == ("extractive", ["timed_out"])
    assert len(endpoint.trials) == 2


async def test_an_endpoint_of_which_nothing_can_be_used_leaves_the_document_to_the_rules_unless_it_was_asked_for(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    endpoint.say = lambda section, times: completion("I would rather not.")
    said = await (await world()).work(generate)
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, [each.code for each in said.tried]) == ("extractive", ["taken", "fell"])
    assert said.tried[1].failed == {"unreadable": 8}
    alone = await (await world()).work(generate, rules=False)
    assert isinstance(alone, ExamplesFailed)
    assert (alone.code, [each.code for each in alone.tried]) == ("no_examples", ["taken"])


async def test_of_two_endpoints_the_second_writes_when_the_first_is_too_slow(
    endpoint: Endpoint, generate: HttpGenerate
) -> None:
    other = generate.another("other")
    endpoint.trial = lambda body: HANG if body["model"] == "writer" else None
    here = await world()
    said = await here.work(Chain([Author("tenant_endpoint", generate), Author("server_endpoint", other)]))
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, [each.code for each in said.tried]) == ("endpoint", ["timed_out", "taken"])
    assert {example.model for example in await here.examples(said)} == {"other"}


def base_of(generate: HttpGenerate, **more: Any) -> Chain:
    """Return what is tried where no endpoint is configured."""
    return Chain([Author("base", generate)], **more)


async def test_a_target_model_that_writes_well_is_found_out_with_ten_chunks_and_writes_the_rows(
    endpoint: Endpoint, patient: HttpGenerate
) -> None:
    here = await world()
    said = await here.work(base_of(patient))
    assert isinstance(said, ExamplesSynthesized)
    (verdict,) = said.tried
    assert (said.generator, verdict.code, verdict.asked, verdict.kept, verdict.share) == ("base", "taken", 8, 8, 1.0)
    assert len(endpoint.trials) == 8
    assert {body["seed"] for body in endpoint.bodies} == {0}
    assert {(example.generator, example.model) for example in await here.examples(said)} == {("base", "writer")}
    asked = len(endpoint.trials) + len(endpoint.bodies)
    assert await here.work(base_of(patient)) == said
    assert len(endpoint.trials) + len(endpoint.bodies) == asked, "a second attempt asks nothing again"


async def test_a_target_model_that_writes_badly_is_not_asked_for_rows_and_the_verdict_says_what_failed(
    endpoint: Endpoint, patient: HttpGenerate
) -> None:
    endpoint.trial = lambda body: completion("Sure! What is a pump?" if len(endpoint.trials) % 2 else '{"pairs": []}')
    said = await (await world()).work(base_of(patient))
    assert isinstance(said, ExamplesSynthesized)
    (verdict,) = said.tried
    assert (said.generator, verdict.code, verdict.kept, verdict.threshold) == ("extractive", "weak", 0, 0.5)
    assert verdict.failed.keys() == {"unreadable", "nothing_asked"}
    assert verdict.asked >= 5
    assert (endpoint.bodies, "0 of 5 questions passed the checks (0%; 50% needed" in verdict.message) == ([], True)
    forced = await (await world()).work(base_of(patient, rules=False))
    assert isinstance(forced, ExamplesSynthesized)
    assert (forced.generator, forced.tried[0].code, forced.tried[0].share) == ("base", "taken", 0.0)


async def test_a_target_model_that_does_not_answer_in_time_is_too_slow(
    endpoint: Endpoint, patient: HttpGenerate
) -> None:
    endpoint.trial = lambda body: HANG if len(endpoint.trials) > 3 else None
    said = await (await world()).work(base_of(patient, probe_seconds=3.0))
    assert isinstance(said, ExamplesSynthesized)
    assert (said.generator, [each.code for each in said.tried]) == ("extractive", ["too_slow"])
    assert "answered 3 of 8 chunks within 3 s" in said.tried[0].message
    endpoint.trial = lambda body: None
    all_day = await (await world()).work(base_of(patient, base_seconds=0.0))
    assert isinstance(all_day, ExamplesSynthesized)
    assert "16 questions would take it about" in all_day.tried[0].message


async def test_all_documents_of_an_archive_have_one_verdict(endpoint: Endpoint, patient: HttpGenerate) -> None:
    endpoint.trial = lambda body: completion("no")
    here, chain = await world(), base_of(patient)
    both = [Trial(here.lease(), here.blobs, f"acme/{ARCHIVE}", chain, Patience(), here.pause) for _ in range(2)]
    one, other = await asyncio.gather(*map(choose, both))
    assert (one, one.generator) == (other, "extractive")
    assert len(endpoint.trials) <= 8


async def test_what_was_begun_with_an_endpoint_is_not_ended_without(endpoint: Endpoint, patient: HttpGenerate) -> None:
    here = await world()
    endpoint.say = lambda section, times: Response(status_code=500)
    with pytest.raises(UnavailableError):
        await here.work(patient)
    said = await here.work(None)
    assert isinstance(said, ExamplesFailed)
    assert said.code == "generator_unavailable"


async def test_bad_rows_are_kept_out_with_the_reason(endpoint: Endpoint, patient: HttpGenerate) -> None:
    quote = "The pump Ada was built in 1990 by Meyer AG."
    bad = [
        {"question": "When was the pump Ada built?", "answer": "1991", "quote": quote},
        {"question": "When was the pump Ada built?", "answer": "1990", "quote": "The pump Ada was built in 1991."},
        {"question": "When was it built by Meyer?", "answer": "1990", "quote": quote},
    ]
    here = await world({"Machine Ada": SECTIONS["Machine Ada"], "Machine Bea": SECTIONS["Machine Bea"]})
    endpoint.say = lambda section, times: completion(json.dumps({"pairs": bad})) if section == "Machine Ada" else None
    examples = await here.examples(await here.work(patient))
    assert [example.code for example in examples] == ["unfaithful", "quote_not_found", "not_self_contained", None]
    assert all(example.message for example in examples[:3])


async def test_nothing_good_is_a_failure_that_counts_the_reasons(endpoint: Endpoint, patient: HttpGenerate) -> None:
    endpoint.say = lambda section, times: completion('{"pairs": []}' if section == "Machine Ada" else "none")
    said = await (await world()).work(patient)
    assert isinstance(said, ExamplesFailed)
    assert (said.code, "(unreadable 7)" in said.message) == ("no_examples", True)
    without = await (await world({"Machine Ada": "it"})).work()
    assert isinstance(without, ExamplesFailed)
    assert (without.code, "no sentence fits a rule" in without.message) == ("no_examples", True)


async def test_what_the_base_model_knows_is_rejected_and_what_it_was_not_asked_has_no_score(
    endpoint: Endpoint, patient: HttpGenerate
) -> None:
    def knows_ada(section: str, times: int) -> Response | None:
        if "pump Bea" in section and section.endswith("?"):
            return Response(status_code=400)
        return completion("1990, I think.") if section == "When was the pump Ada built?" else None

    endpoint.say = knows_ada
    here = await world()
    examples = await here.examples(await here.work(patient, patient))
    by_name = {example.question.split()[4]: example for example in examples}
    assert (by_name["Ada"].code, by_name["Ada"].scores["closed_book"]) == ("answerable_without_context", 1.0)
    assert (by_name["Bea"].code, "closed_book" in by_name["Bea"].scores) == (None, False)
    assert (by_name["Cleo"].code, by_name["Cleo"].scores["closed_book"]) == (None, 0.0)


async def test_a_plan_opens_the_work_on_each_document_of_which_rows_are_asked() -> None:
    _, _, plan = document(SECTIONS)
    idle = plan.chunks[0].model_copy(update={"document": "doc-idle", "rows": 0})
    blobs = MemoryBlobs()
    plan = plan.model_copy(update={"chunks": (*plan.chunks, idle)})
    ref = await blobs.put(f"acme/{ARCHIVE}/plan.json", plan.model_dump_json().encode())
    opened = Opened()
    data = CorpusPlanned(plan=ref, documents=2, chunks=8, held_out=0, duplicates=0, rows=16)
    event = make(data, subject=ARCHIVE, tenant="acme", id="e1")
    await on_corpus_planned(event, blobs, opened.controls, opened.wake)
    inputs = {"event_id": "e1", "archive": ARCHIVE, "plan": ref.model_dump()}
    assert opened.inputs == {(f"{DOCUMENT}/examples", "acme", STAGE): inputs}
    assert opened.woken == [(STAGE, [f"{DOCUMENT}/examples"])]


async def test_exhausted_attempts_are_a_failure_that_says_so() -> None:
    here = await world()
    (event,) = synthesis.exhausted(here.lease().claim, "KeyError: x")
    assert isinstance(event.data, ExamplesFailed)
    assert (event.id, event.subject) == (derived_id(DOCUMENT, "examples"), DOCUMENT)
    assert (event.data.code, "KeyError: x" in event.data.message) == ("synthesis_failed", True)
