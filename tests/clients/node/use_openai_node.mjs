// openai-node: chats, streams, parsed objects, run tools, Responses, files, jobs, embeddings, Azure.

import assert from "node:assert/strict";
import OpenAI, { AzureOpenAI, toFile } from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ANN, BASE, BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main } from "./cells.mjs";

const client = new OpenAI({ maxRetries: 0, timeout: 60000 });
const Person = z.object({ name: z.string(), age: z.number().int() });
const user = (content) => [{ role: "user", content }];
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tool = { type: "function", function: { name: "get_weather", description: "Tell the weather in a city.", parameters: city } };

cell("chat, whole and streamed", async () => {
  const asked = { model: MODEL, messages: user("Hello"), max_tokens: 20, temperature: 0 };
  const whole = await client.chat.completions.create(asked);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
  }
  assert.equal(streamed, whole.choices[0].message.content);
});

cell("chat.completions.parse with zod", async () => {
  const response_format = zodResponseFormat(Person, "person");
  const said = await client.chat.completions.parse({ model: MODEL, messages: user(PERSON), response_format, temperature: 0 });
  assert.deepEqual(said.choices[0].message.parsed, ANN);
});

cell("chat.completions.parse of a zod function", async () => {
  const tools = [zodFunction({ name: "get_weather", parameters: z.object({ city: z.string() }) })];
  const said = await client.chat.completions.parse({ model: MODEL, messages: user(WEATHER), tools, temperature: 0 });
  assert.deepEqual(said.choices[0].message.tool_calls[0].function.parsed_arguments, { city: "Oslo" });
});

cell("chat.completions.stream with its events", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: user(WEATHER), tools: [tool], temperature: 0 });
  const events = [];
  stream.on("tool_calls.function.arguments.done", (event) => events.push(event));
  const said = await stream.finalChatCompletion();
  assert.equal(events[0].arguments, said.choices[0].message.tool_calls[0].function.arguments);
});

for (const stream of [false, true]) {
  cell(`runTools: the function is run${stream ? ", streamed" : ""}`, async () => {
    const called = [];
    const run = (given) => (called.push(JSON.parse(given).city), "It is sunny in Oslo.");
    const tools = [{ ...tool, function: { ...tool.function, function: run } }];
    const runner = client.chat.completions.runTools({ model: MODEL, messages: user(WEATHER), tools, temperature: 0, stream });
    assert.match(await runner.finalContent(), /sunny/);
    assert.deepEqual(called, ["Oslo"]);
  });
}

cell("responses.parse with zod, responses.stream", async () => {
  const text = { format: zodTextFormat(Person, "person") };
  const said = await client.responses.parse({ model: MODEL, input: PERSON, text, temperature: 0 });
  assert.deepEqual(said.output_parsed, ANN);
  const stream = client.responses.stream({ model: MODEL, input: PERSON, text, temperature: 0 });
  assert.deepEqual((await stream.finalResponse()).output_parsed, ANN);
});

cell("files, a job, its events", async () => {
  const row = { messages: [...user("a"), { role: "assistant", content: "b" }] };
  const file = await toFile(Buffer.from(Array(10).fill(JSON.stringify(row)).join("\n")), "rows.jsonl");
  const made = await client.files.create({ file, purpose: "fine-tune" });
  await client.files.waitForProcessing(made.id);
  const job = await client.fineTuning.jobs.create({ model: BASE, training_file: made.id });
  assert.equal((await client.fineTuning.jobs.cancel(job.id)).status, "cancelled");
  const events = [];
  for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 1 })) events.push(event.message);
  assert.equal(events.at(-1), `Created fine-tuning job: ${job.id}`);
});

cell("embeddings", async () => {
  const found = await client.embeddings.create({ model: EMBEDDER, input: ["the red key", "the blue kettle"] });
  assert.equal(found.data[1].embedding.length, 16);
});

cell("errors by their classes", async () => {
  await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
  await assert.rejects(new OpenAI({ apiKey: "sk-no", maxRetries: 0 }).models.list(), OpenAI.AuthenticationError);
});

cell("AzureOpenAI", async () => {
  const endpoint = BASE_URL.replace(/\/v1$/, "");
  const azure = new AzureOpenAI({ endpoint, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0, baseURL: null });
  const said = await azure.chat.completions.create({ model: MODEL, messages: user("Hello"), max_tokens: 4 });
  assert.ok(said.choices[0].finish_reason);
});

await main();
