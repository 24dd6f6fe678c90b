// Our TypeScript client, from the package at `package`. The lines are those of methods.py, with its names of arguments.

import { createInterface } from "node:readline";
import { inspect } from "node:util";

const options = JSON.parse(process.argv[2]);
Object.assign(process.env, options.environment);
const { Countersign, CountersignError } = await import(options.package);

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const whole = (what) => inspect(what, { depth: 12, showProxy: true }) + JSON.stringify(what);

function make() {
  const { url, api_key: apiKey, timeout } = options.settings ?? {};
  return new Countersign({ url, apiKey, timeoutMs: timeout && timeout * 1000 });
}

const methods = {
  authorize: (client, { tool, provider, scopes, user, next_uri: nextUri }) =>
    client.authorize(tool ? { tool } : { provider, scopes }, user, { nextUri }),
  wait: (client, { authorization, timeout }) => client.wait(authorization, { timeoutMs: timeout && timeout * 1000 }),
  execute: (client, { tool, input, user, idempotency_key: idempotencyKey }) =>
    client.execute(tool, input, user, { idempotencyKey }),
  ready: (client, { tools, user }) => client.ready(tools, user),
  connections: (client, { user, provider }) => client.connections({ user, provider }),
  disconnect: (client, { connection_id: id }) => client.disconnect(id),
};

/** What methods.py prints of a result: `is` names the class, and a token is there if a program may read it. */
function plain(result) {
  if (result?.links) return { met: result.met, links: result.links, problems: result.problems };
  if (result?.status === "completed" && result.authorization) return { is: "Completed", authorization: plain(result.authorization) };
  if (result?.status === "failed" && result.reason) return { is: "Failed", reason: result.reason };
  if (result?.status === "timed_out") return { is: "TimedOut", authorization: plain(result.authorization) };
  if (result?.context) return { ...result, context: { ...result.context, token: result.context.token } };
  return result ?? null;
}

function told(error) {
  const { code: name, status, kind, canRetry: can_retry, statusCode: status_code, authorization, confirmation } = error;
  const bases = [];
  for (let one = error.constructor; one?.name; one = Object.getPrototypeOf(one)) bases.push(one.name);
  return { type: error.name, bases, message: error.message, name, status, kind, can_retry, status_code, authorization, confirmation };
}

let client;
try {
  client = make();
} catch (error) {
  say({ refused: whole(error) });
  process.exit(0);
}
say({ client: "Countersign" });
let last;
for await (const line of createInterface({ input: process.stdin })) {
  const wish = JSON.parse(line);
  if (wish.with.authorization === "last") wish.with.authorization = last;
  try {
    const result = await methods[wish.call](client, wish.with);
    last = result?.context ? result : last;
    say({ result: plain(result), shown: whole(result) + whole(client) });
  } catch (error) {
    if (!(error instanceof CountersignError)) throw error;
    last = error.authorization ?? last;
    say({ error: told(error), shown: `${whole(error)} ${error.stack} ${whole(client)}` });
  }
}
