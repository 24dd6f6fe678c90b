// A played model: the APIs that coding agents speak, on loopback. It calls one tool and then ends the turn, and keeps what
// it read as that tool's result.
//
// In, on the command line: {"tool"}: what the tool's name ends with; {"calls"}: how often it calls the tool in a turn, 1 if
// absent (Anthropic Messages only). Out: {"listening"}; then, for each line on standard
// input, {"read": what was read since the last one, "tools": the names that were offered, "requests": how many came}.

import { createServer } from "node:http";
import { createInterface } from "node:readline";

const { tool, calls: most = 1 } = JSON.parse(process.argv[2]);
let heard = { read: [], tools: [], requests: 0 };

const text = (content) =>
  typeof content === "string" ? content
  : Array.isArray(content) ? content.map(text).join("\n")
  : content && typeof content === "object" ? (typeof content.text === "string" ? content.text : JSON.stringify(content))
  : "";

const wanted = (names) => {
  heard.tools = [...new Set([...heard.tools, ...names])];
  return names.find((name) => name.endsWith(tool));
};

// Each API: whether a request is its, and what it answers to one.
const apis = [
  {
    // Anthropic Messages.
    path: /^\/v1\/messages$/,
    answer(body) {
      const results = body.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []))
        .filter(({ type }) => type === "tool_result");
      heard.read.push(...results.map(({ content }) => text(content)));
      const name = wanted((body.tools ?? []).map(({ name }) => name));
      const calls = results.length < most && name !== undefined;
      const start = { type: "message", id: "msg_1", role: "assistant", model: body.model, content: [], stop_reason: null, usage: { input_tokens: 1, output_tokens: 1 } };
      const block = calls ? { type: "tool_use", id: `toolu_${results.length + 1}`, name, input: {} } : { type: "text", text: "" };
      const delta = calls ? { type: "input_json_delta", partial_json: "{}" } : { type: "text_delta", text: "done" };
      const stop_reason = calls ? "tool_use" : "end_turn";
      if (!body.stream) return { json: { ...start, content: [calls ? block : { type: "text", text: "done" }], stop_reason } };
      return { events: [
        { type: "message_start", message: start },
        { type: "content_block_start", index: 0, content_block: block },
        { type: "content_block_delta", index: 0, delta },
        { type: "content_block_stop", index: 0 },
        { type: "message_delta", delta: { stop_reason }, usage: { output_tokens: 1 } },
        { type: "message_stop" },
      ] };
    },
  },
  { path: /^\/v1\/messages\/count_tokens$/, answer: () => ({ json: { input_tokens: 1 } }) },
  {
    // OpenAI Responses.
    path: /\/responses$/,
    answer(body) {
      const results = (Array.isArray(body.input) ? body.input : []).filter(({ type }) => type === "function_call_output");
      heard.read.push(...results.map(({ output }) => text(output)));
      const named = (body.tools ?? []).flatMap((offered) =>
        offered.type === "namespace" ? offered.tools.map(({ name }) => ({ name, namespace: offered.name })) : [{ name: offered.name ?? "" }]);
      wanted(named.map(({ name, namespace }) => (namespace ?? "") + name));
      const called = named.find(({ name }) => name.endsWith(tool));
      const item = results.length === 0 && called
        ? { type: "function_call", id: "fc_1", call_id: "call_1", arguments: "{}", status: "completed", ...called }
        : { type: "message", id: "m_1", role: "assistant", status: "completed", content: [{ type: "output_text", text: "done", annotations: [] }] };
      const response = { id: "resp_1", object: "response", status: "completed", output: [item], usage: { input_tokens: 1, output_tokens: 1, total_tokens: 2 } };
      return { events: [
        { type: "response.created", response: { ...response, status: "in_progress", output: [] } },
        { type: "response.output_item.added", output_index: 0, item },
        { type: "response.output_item.done", output_index: 0, item },
        { type: "response.completed", response },
      ] };
    },
  },
  {
    // Gemini.
    path: /:(streamGenerateContent|generateContent)$/,
    answer(body, path) {
      const parts = (body.contents ?? []).flatMap(({ parts }) => parts ?? []);
      const results = parts.filter(({ functionResponse }) => functionResponse);
      heard.read.push(...results.map(({ functionResponse }) => JSON.stringify(functionResponse.response)));
      const name = wanted((body.tools ?? []).flatMap(({ functionDeclarations }) => functionDeclarations ?? []).map(({ name }) => name));
      const part = results.length === 0 && name ? { functionCall: { name, args: {} } } : { text: "done" };
      const json = { candidates: [{ index: 0, content: { role: "model", parts: [part] }, finishReason: "STOP" }], usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 } };
      return path.endsWith(":streamGenerateContent") ? { events: [json] } : { json };
    },
  },
];

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const path = new URL(request.url, "http://127.0.0.1").pathname;
  const api = apis.find((candidate) => candidate.path.test(path));
  if (request.method !== "POST" || !api) {
    response.writeHead(404, { "content-type": "application/json" }).end("{}");
    return;
  }
  heard.requests += 1;
  const { json, events } = api.answer(JSON.parse(body), path);
  if (json) {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(json));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of events) response.write(`${event.type ? `event: ${event.type}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
  response.end();
});

server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ listening: `http://127.0.0.1:${server.address().port}` })));
createInterface({ input: process.stdin })
  .on("line", () => {
    console.log(JSON.stringify(heard));
    heard = { read: [], tools: [], requests: 0 };
  })
  .on("close", () => process.exit(0));
