// The server as clients in JavaScript meet it: node clients.mjs PROGRAM starts it with the built-in model and asks, with OpenAI's
// own package and with Vercel's AI SDK by each of its roads here: a compatible server, OpenAI's chat, OpenAI's responses.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const STORY = "Tell me a story.";
const Weather = z.object({ city: z.enum(["Oslo", "Rome"]), days: z.int().min(0).max(9) });
const PARAMETERS = z.toJSONSchema(Weather, { target: "draft-7" });

const program = process.argv[2];
let server, url;

before(async () => {
  server = spawn(program, ["serve", "demo", "--port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  const [line] = await once(createInterface(server.stderr), "line");
  url = `${line.match(/http:\/\/\S+/)[0].replace(/\/$/, "")}/v1`;
});

after(async () => {
  server.kill();
  const [status] = await once(server, "exit");
  assert.equal(status, 0);
});

// A test that waits for ever is a test that fails.
const PATIENCE = { timeout: 120_000 };

suite("openai", PATIENCE, () => {
  let client;
  before(() => {
    client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
  });
  const ask = { model: "demo", temperature: 0 };
  const messages = [{ role: "user", content: STORY }];

  test("a chat streamed is the chat", async () => {
    const chat = { ...ask, messages, max_tokens: 20 };
    const whole = await client.chat.completions.create(chat);
    assert.equal(whole.usage.completion_tokens, 20);
    const stream = client.chat.completions.stream({ ...chat, stream_options: { include_usage: true } });
    let text = "";
    stream.on("content", (delta) => (text += delta));
    const final = await stream.finalChatCompletion();
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(final.usage.completion_tokens, 20);
  });

  test("a chat calls a tool and goes on", async () => {
    const seen = [];
    const weather = { name: "weather", parameters: PARAMETERS, parse: JSON.parse, function: (given) => seen.push(given) };
    const runner = client.chat.completions.runTools(
      { ...ask, messages, max_tokens: 100, tool_choice: { type: "function", function: { name: "weather" } },
        parallel_tool_calls: false, tools: [{ type: "function", function: weather }] },
    );
    await runner.done();
    assert.equal(seen.length, 1);
    Weather.parse(seen[0]);
  });

  test("a response streamed is the response", async () => {
    const response = { ...ask, input: STORY, max_output_tokens: 20 };
    const whole = await client.responses.create(response);
    const names = [];
    let text = "";
    for await (const event of await client.responses.create({ ...response, stream: true })) {
      assert.equal(event.sequence_number, names.length);
      names.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assert.equal(text, whole.output_text);
    assert.equal(names.at(0), "response.created");
    assert.equal(names.at(-1), "response.incomplete");
  });

  test("a response is parsed, whole and streamed", async () => {
    const response = { ...ask, input: STORY, text: { format: zodTextFormat(Weather, "weather") } };
    Weather.parse((await client.responses.parse(response)).output_parsed);
    Weather.parse((await client.responses.stream(response).finalResponse()).output_parsed);
  });

  test("a conversation is kept until it is deleted", async () => {
    const first = await client.responses.create({ ...ask, input: STORY, max_output_tokens: 20 });
    const second = await client.responses.create({ ...ask, input: "And then?", previous_response_id: first.id });
    assert.ok(second.usage.input_tokens_details.cached_tokens > first.usage.input_tokens);
    const items = [];
    for await (const item of client.responses.inputItems.list(second.id, { order: "asc", limit: 1 })) items.push(item);
    assert.deepEqual(items.map((item) => item.content[0].text), [STORY, first.output_text, "And then?"]);
    await client.responses.delete(first.id);
    await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
    await assert.rejects(client.responses.create({ ...ask, input: STORY, background: true }), OpenAI.BadRequestError);
  });

  test("responses call tools", async () => {
    const tools = [{ type: "function", name: "weather", parameters: PARAMETERS, strict: true }];
    const response = { ...ask, input: STORY, tools, tool_choice: "required", parallel_tool_calls: false };
    const [call] = (await client.responses.create(response)).output;
    Weather.parse(JSON.parse(call.arguments));
    const streamed = await client.responses.stream(response).finalResponse();
    Weather.parse(JSON.parse(streamed.output[0].arguments));
  });
});

const roads = {
  "ai, a compatible server": () =>
    createOpenAICompatible({ name: "ingle", baseURL: url, supportsStructuredOutputs: true, includeUsage: true })("demo"),
  "ai, OpenAI's chat": () => createOpenAI({ baseURL: url, apiKey: "none" }).chat("demo"),
  "ai, OpenAI's responses": () => createOpenAI({ baseURL: url, apiKey: "none" }).responses("demo"),
};

for (const [road, modelOf] of Object.entries(roads)) {
  suite(road, PATIENCE, () => {
    let ask;
    before(() => {
      ask = { model: modelOf(), temperature: 0, maxRetries: 0 };
    });

    test("a text streamed is the text", async () => {
      const whole = await generateText({ ...ask, prompt: STORY, maxOutputTokens: 20 });
      assert.equal(whole.finishReason, "length");
      assert.equal(whole.usage.outputTokens, 20);
      const streamed = streamText({ ...ask, prompt: STORY, maxOutputTokens: 20 });
      let text = "";
      for await (const delta of streamed.textStream) text += delta;
      assert.equal(text, whole.text);
      assert.equal((await streamed.usage).outputTokens, 20);
    });

    test("a chat goes on from what was said", async () => {
      const said = [{ role: "user", content: STORY }];
      const first = await generateText({ ...ask, messages: said, maxOutputTokens: 20 });
      said.push(...first.response.messages, { role: "user", content: "And then?" });
      const second = await generateText({ ...ask, messages: said, maxOutputTokens: 20 });
      assert.ok(second.text.length > 0);
      assert.ok(second.usage.cachedInputTokens > first.usage.inputTokens);
    });

    test("a tool is called, and told of, whole and streamed", async () => {
      const seen = [];
      const weather = tool({
        description: "The weather of some days",
        inputSchema: Weather,
        execute: async (given) => (seen.push(given), { sky: "blue" }),
      });
      // The first step must call, the next may not.
      const prepareStep = ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" });
      const more = { prompt: STORY, tools: { weather }, prepareStep, stopWhen: stepCountIs(2), maxOutputTokens: 120 };
      const whole = await generateText({ ...ask, ...more });
      assert.equal(whole.steps[0].finishReason, "tool-calls");
      assert.equal(whole.steps.length, 2);
      const n = seen.length;
      const streamed = streamText({ ...ask, ...more });
      const steps = await streamed.steps;
      assert.equal(steps.length, 2);
      assert.deepEqual(seen.slice(n), seen.slice(0, n));
      assert.ok(n >= 1);
      seen.forEach((given) => Weather.parse(given));
    });

    test("an object has its schema, whole and streamed", async () => {
      const more = { prompt: STORY, schema: Weather, maxOutputTokens: 400 };
      const whole = Weather.parse((await generateObject({ ...ask, ...more })).object);
      const streamed = streamObject({ ...ask, ...more });
      let last;
      for await (const partial of streamed.partialObjectStream) last = partial;
      assert.deepEqual(last, whole);
    });
  });
}

test("ai, what is refused says why", async () => {
  const model = createOpenAI({ baseURL: url, apiKey: "none" }).responses("demo");
  const long = { model, prompt: "word ".repeat(5000), maxRetries: 0 };
  await assert.rejects(generateText(long), /context/);
});
