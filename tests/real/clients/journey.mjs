// Journeys as an MCP host walks them, for any client library: connect, list, call, let the person approve in whichever
// way the server asks for it, call again. A library is plugged in by `run(name, connect)`.
//
//   node ts_client.mjs
//   {"client":"…"}                                                       ready
// and then a journey for every line of stdin, answered by a line, until stdin closes:
//   {"server":{"url":"http://127.0.0.1:40003/mcp","transport":"http"},"tool":"whoami","protocol":"auto","elicits":true}
//   {"protocol_negotiated":"2025-11-25","path":"-32042","result_text":"…"}
//
// `server` is where to connect to (`transport`: http or sse), or what to start: `{"binary","args","env","cwd"}`.
// `protocol` is default, auto or a revision. What goes wrong is said on stderr, and answered as `{"error":"…"}`.

import { createInterface } from 'node:readline';
import { approve } from '../world/consent.mjs';

const PATIENCE_MS = 50_000;

/** Who is asked, and what has been heard: the same for every library. */
class Person {
  #visits = [];
  #completed = new Map();
  wasAsked = false;

  /** For the library's elicitation handler. Accepting means "I am going there", so nobody waits for the page here. */
  elicited = (params) => {
    if (params.mode !== 'url') throw new Error(`asked for an elicitation of mode ${params.mode}`);
    this.wasAsked = true;
    this.#visits.push(approve(params.url));
    return { action: 'accept' };
  };

  /** For the library's notification handler. */
  completed = (id) => this.#completion(id).heard();

  hasHeardOf = (id) => this.#completion(id).isHeard;

  async open(url) {
    this.#visits.push(approve(url));
    await this.arrived();
  }

  hear(id) {
    return this.#completion(id).promise;
  }

  /** Every opened link must have ended on a page that says it went well. */
  async arrived() {
    for (const visit of this.#visits) {
      const { final_status: status, final_title: title } = await visit;
      if (status !== 200) throw new Error(`the browser ended at status ${status}: ${title}`);
    }
  }

  #completion(id) {
    if (!this.#completed.has(id)) {
      const made = { isHeard: false };
      made.promise = new Promise((resolve) => {
        made.heard = () => {
          made.isHeard = true;
          resolve();
        };
      });
      this.#completed.set(id, made);
    }
    return this.#completed.get(id);
  }
}

const textOf = (result) => result.content.filter((block) => block.type === 'text').map((block) => block.text);

/** The link of the text fallback: the second text block is JSON. */
function linkIn(result) {
  const [, machine] = textOf(result);
  return machine === undefined ? undefined : JSON.parse(machine).authorization_url;
}

async function journey(client, person, { tool }) {
  const names = await client.toolNames();
  if (!names.includes(tool)) throw new Error(`no tool ${tool} among ${names.join(', ')}`);
  let result;
  try {
    result = await client.call(tool);
  } catch (error) {
    const elicitations = client.elicitationsOf(error);
    if (!elicitations) throw error;
    const early = elicitations.find(({ elicitationId }) => person.hasHeardOf(elicitationId));
    if (early) throw new Error('the completion was announced before the error it belongs to');
    for (const { url } of elicitations) await person.open(url);
    for (const { elicitationId } of elicitations) await person.hear(elicitationId);
    return { path: '-32042', result: await client.call(tool) };
  }
  await person.arrived();
  if (person.wasAsked) return { path: 'input_required', result };
  const link = result.isError ? linkIn(result) : undefined;
  if (!link) return { path: 'none', result };
  await person.open(link);
  return { path: 'text', result: await client.call(tool) };
}

async function walk(wish, connect) {
  const person = new Person();
  const client = await connect(wish, person);
  try {
    const { path, result } = await journey(client, person, wish);
    const text = textOf(result).join('\n');
    if (result.isError) throw new Error(`the last call failed: ${text}`);
    return { protocol_negotiated: client.negotiated(), path, result_text: text };
  } finally {
    await client.close();
  }
}

/** A library's transport to a `server`. */
export function transport({ url, transport: kind = 'stdio', binary: command, args, env, cwd }, transports) {
  const Transport = transports[kind];
  return kind === 'stdio' ? new Transport({ command, args, env, cwd }) : new Transport(new URL(url));
}

export async function run(name, connect) {
  const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
  say({ client: name });
  for await (const line of createInterface({ input: process.stdin })) {
    const overdue = setTimeout(() => {
      console.error(`${name}: no end after ${PATIENCE_MS} ms of ${line}`);
      process.exit(3);
    }, PATIENCE_MS);
    try {
      say(await walk(JSON.parse(line), connect));
    } catch (error) {
      console.error(`${name}: ${error.stack ?? error}`);
      say({ error: String(error.message ?? error) });
    }
    clearTimeout(overdue);
  }
}
