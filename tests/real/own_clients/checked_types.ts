// What the compiler knows of our TypeScript client; it reads this file, and nothing runs it.

import { ApiError, ConsentRequired, Countersign, ToolError, type Authorization, type Connection } from "@countersign/client";

export async function used(client: Countersign): Promise<string | undefined> {
  const asked: Authorization = await client.authorize({ tool: "Github.StarRepo" }, "ana");
  await client.authorize({ provider: "github", scopes: ["repo"] });
  const connections: Connection[] = await client.connections({ user: "ana" });
  await client.disconnect(connections[0]?.id ?? "", { signal: AbortSignal.timeout(1000) });
  const { links } = await client.ready(["Github.StarRepo"], "ana");
  // @ts-expect-error: an authorization or its id
  await client.wait(3);
  // @ts-expect-error: neither a tool nor a provider
  await client.authorize({});
  // @ts-expect-error: the output of a tool can be anything
  (await client.execute("Github.StarRepo")).length;
  // @ts-expect-error: a string is never a number
  const status: number = asked.status;
  const outcome = await client.wait(asked, { timeoutMs: 1000 });
  switch (outcome.status) {
    case "completed":
    case "timed_out":
      return outcome.authorization.user_id + status;
    case "failed":
      return outcome.reason + links["github"];
  }
}

export function explained(error: unknown): string | null | undefined {
  if (error instanceof ConsentRequired) return error.authorization.url;
  // @ts-expect-error: no error has this name
  if (error instanceof ApiError && error.code === "no_such_name") return "";
  if (error instanceof ApiError && error.code === "not_found") return error.message;
  return error instanceof ToolError && error.kind === "UPSTREAM_RUNTIME_RATE_LIMIT" ? "later" : undefined;
}
