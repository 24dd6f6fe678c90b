// Runs an example of clients/typescript/examples with a played model, as examples.py does. Options: {"example": its file, "user"}.

import { MockLanguageModelV4 } from "ai/test";

const { example, user } = JSON.parse(process.argv[2]);
// No two calls of models have the same.
const toolCallId = `call-${crypto.randomUUID()}`;
const usage = { inputTokens: { total: 0 }, outputTokens: { total: 0 } };

const model = new MockLanguageModelV4({
  doGenerate: async ({ prompt }) => {
    const parts = prompt.filter(({ role }) => role === "tool").flatMap(({ content }) => content);
    const results = parts.filter(({ type }) => type === "tool-result").map(({ output }) => output.value ?? output.reason);
    const input = JSON.stringify({ owner: "rust-lang", repo: "rust" });
    const call = { type: "tool-call", toolCallId, toolName: "star_repo", input };
    const text = { type: "text", text: `I have read: ${JSON.stringify(results)}` };
    const finishReason = { unified: results.length > 0 ? "stop" : "tool-calls" };
    return { content: [results.length > 0 ? text : call], finishReason, usage, warnings: [] };
  },
});

const { run } = await import(example);
console.log(JSON.stringify({ answer: await run(model, user, "Star rust-lang/rust for me.") }));
