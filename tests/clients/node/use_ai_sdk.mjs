// Vercel's AI SDK: its provider of OpenAI (Responses and chats) and that of servers that are compatible.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { ANN, BASE_URL, EMBEDDER, KEY, MODEL, PERSON, WEATHER, cell, main } from "./cells.mjs";

const own = { baseURL: BASE_URL, apiKey: KEY };
const openai = createOpenAI(own);
const compatible = createOpenAICompatible({ name: "temper", ...own, supportsStructuredOutputs: true });
const Person = z.object({ name: z.string(), age: z.number().int() });
const models = {
  "openai, Responses": openai.responses(MODEL),
  "openai, chats": openai.chat(MODEL),
  "openai-compatible": compatible.chatModel(MODEL),
};

for (const [kind, model] of Object.entries(models)) {
  const asked = { model, temperature: 0, maxRetries: 0 };

  cell(`${kind}: generateText, streamText`, async () => {
    const whole = await generateText({ ...asked, prompt: "Hello", maxOutputTokens: 20 });
    const streamed = streamText({ ...asked, prompt: "Hello", maxOutputTokens: 20 });
    assert.equal(await streamed.text, whole.text);
    assert.ok(whole.usage.outputTokens > 0);
  });

  cell(`${kind}: a tool is run, its answer told`, async () => {
    const called = [];
    const execute = async ({ city }) => (called.push(city), `It is sunny in ${city}.`);
    const get_weather = tool({ description: "Tell the weather in a city.", inputSchema: z.object({ city: z.string() }), execute });
    const said = await generateText({ ...asked, prompt: WEATHER, tools: { get_weather }, stopWhen: stepCountIs(3) });
    assert.deepEqual(called, ["Oslo"]);
    assert.match(said.text, /sunny/);
  });

  cell(`${kind}: an object`, async () => {
    const said = await generateText({ ...asked, prompt: PERSON, output: Output.object({ schema: Person }) });
    assert.deepEqual(said.output, ANN);
  });

  cell(`${kind}: an object, streamed in parts`, async () => {
    const streamed = streamText({ ...asked, prompt: PERSON, output: Output.object({ schema: Person }) });
    let last;
    for await (const part of streamed.partialOutputStream) last = part;
    assert.deepEqual(last, ANN);
  });

  cell(`${kind}: toolChoice`, async () => {
    const get_weather = tool({ inputSchema: z.object({ city: z.string() }) });
    const said = await generateText({ ...asked, prompt: "Hello", tools: { get_weather }, toolChoice: "required" });
    assert.deepEqual(said.toolCalls.map((each) => each.toolName), ["get_weather"]);
  });
}

for (const [kind, model] of [["openai", openai.embedding(EMBEDDER)], ["openai-compatible", compatible.embeddingModel(EMBEDDER)]]) {
  cell(`${kind}: embedMany`, async () => {
    const found = await embedMany({ model, values: ["the red key", "the blue kettle"], maxRetries: 0 });
    assert.deepEqual(found.embeddings.map((each) => each.length), [16, 16]);
  });
}

cell("openai-compatible: completions", async () => {
  const model = compatible.completionModel(MODEL);
  assert.ok((await generateText({ model, prompt: "What is", maxOutputTokens: 4, maxRetries: 0 })).usage.outputTokens > 0);
});

await main();
