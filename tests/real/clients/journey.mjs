// The whole journey as an MCP host walks it, for any client library: connect, list, call, let the person approve in
// whichever way the server asks for it, call again. A library is plugged in by `run(name, connect)`.
//
//   node ts_client.mjs --binary PATH [--args '["serve","--stdio"]'] [--env '{}'] [--cwd DIR] --tool NAME
//        [--arguments '{}'] [--protocol default|auto|VERSION] [--elicitation url|none] [--login NAME]
//   {"client":"…","protocol_negotiated":"2025-11-25","path":"-32042","result_text":"…"}
//
// Exit code 0 only if the last call succeeded and the browser's journey ended well.

import { parseArgs } from 'node:util';
import { approve } from '../world/consent.mjs';

const PATIENCE_MS = 90_000;

function options() {
  const { values } = parseArgs({
    options: {
      binary: { type: 'string' },
      args: { type: 'string', default: '[]' },
      env: { type: 'string', default: '{}' },
      cwd: { type: 'string' },
      tool: { type: 'string' },
      arguments: { type: 'string', default: '{}' },
      protocol: { type: 'string', default: 'default' },
      elicitation: { type: 'string', default: 'none' },
      login: { type: 'string', default: 'ana' },
    },
  });
  if (!values.binary || !values.tool) throw new Error('--binary and --tool are needed');
  return { ...values, args: JSON.parse(values.args), env: JSON.parse(values.env), arguments: JSON.parse(values.arguments) };
}

/** Who is asked, and what has been heard: the same for every library. */
class Person {
  #login;
  #visits = [];
  #completed = new Map();
  wasAsked = false;

  constructor(login) {
    this.#login = login;
  }

  /** For the library's elicitation handler. Accepting means "I am going there", so nobody waits for the page here. */
  elicited = (params) => {
    if (params.mode !== 'url') throw new Error(`asked for an elicitation of mode ${params.mode}`);
    this.wasAsked = true;
    this.#visits.push(approve(params.url, { login: this.#login }));
    return { action: 'accept' };
  };

  /** For the library's notification handler. */
  completed = (id) => this.#completion(id).heard();

  hasHeardOf = (id) => this.#completion(id).isHeard;

  async open(url) {
    this.#visits.push(approve(url, { login: this.#login }));
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

async function journey(client, person, { tool, arguments: given }) {
  const names = await client.toolNames();
  if (!names.includes(tool)) throw new Error(`no tool ${tool} among ${names.join(', ')}`);
  let result;
  try {
    result = await client.call(tool, given);
  } catch (error) {
    const elicitations = client.elicitationsOf(error);
    if (!elicitations) throw error;
    const early = elicitations.find(({ elicitationId }) => person.hasHeardOf(elicitationId));
    if (early) throw new Error('the completion was announced before the error it belongs to');
    for (const { url } of elicitations) await person.open(url);
    for (const { elicitationId } of elicitations) await person.hear(elicitationId);
    return { path: '-32042', result: await client.call(tool, given) };
  }
  await person.arrived();
  if (person.wasAsked) return { path: 'input_required', result };
  if (!result.isError) return { path: 'none', result };
  const link = linkIn(result);
  if (!link) return { path: 'none', result };
  await person.open(link);
  return { path: 'text', result: await client.call(tool, given) };
}

export async function run(name, connect) {
  const overdue = setTimeout(() => {
    console.error(`${name}: no end after ${PATIENCE_MS} ms`);
    process.exit(3);
  }, PATIENCE_MS);
  let client;
  try {
    const given = options();
    const person = new Person(given.login);
    client = await connect(given, person);
    const { path, result } = await journey(client, person, given);
    console.log(JSON.stringify({
      client: name, protocol_negotiated: client.negotiated(), path, result_text: textOf(result).join('\n'),
    }));
    process.exitCode = result.isError ? 1 : 0;
  } catch (error) {
    console.error(`${name}: ${error.stack ?? error}`);
    process.exitCode = 2;
  } finally {
    await client?.close();
    clearTimeout(overdue);
  }
}
