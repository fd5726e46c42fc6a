// openai-agents in JavaScript: a tool is called, on Responses and on chat completions.

import assert from "node:assert/strict";
import { Agent, run, setOpenAIAPI, setTracingDisabled, tool } from "@openai/agents";
import { z } from "zod";
import { ANN, MODEL, PERSON, WEATHER, cell, main } from "./cells.mjs";

setTracingDisabled(true);
const called = [];
const get_weather = tool({
  name: "get_weather",
  description: "Tell the weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => (called.push(city), `It is sunny in ${city}.`),
});
const agent = (more) => new Agent({ name: "Helper", model: MODEL, modelSettings: { temperature: 0 }, ...more });

for (const [kind, api] of [["Responses", "responses"], ["chat completions", "chat_completions"]]) {
  for (const stream of [false, true]) {
    cell(`${kind}: the tool is called, its answer told${stream ? ", streamed" : ""}`, async () => {
      setOpenAIAPI(api);
      called.length = 0;
      const done = await run(agent({ tools: [get_weather] }), WEATHER, { stream });
      if (stream) await done.completed;
      assert.deepEqual(called, ["Oslo"]);
      assert.match(done.finalOutput, /sunny/);
    });
  }

  cell(`${kind}: outputType`, async () => {
    setOpenAIAPI(api);
    const outputType = z.object({ name: z.string(), age: z.number().int() });
    assert.deepEqual((await run(agent({ outputType }), PERSON)).finalOutput, ANN);
  });
}

await main();
