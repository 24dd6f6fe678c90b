// One headless turn of the Claude Agent SDK with its defaults. On the command line: the `mcpServers` as JSON, then the tool.
import { query } from "@anthropic-ai/claude-agent-sdk";

const [servers, tool] = process.argv.slice(2);
const options = { mcpServers: JSON.parse(servers), allowedTools: [tool], settingSources: [] };
for await (const message of query({ prompt: "Who am I there?", options })) {
  if (message.type === "result" && message.is_error) process.exitCode = 1;
}
