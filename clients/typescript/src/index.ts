import { ApiError, ConfirmationRequired, ConsentRefused, ConsentRequired, NoAnswer, ToolError, UnexpectedAnswer } from "./errors.js";
import type {
  AuthRequirement,
  Authorize,
  AuthorizationAnswer,
  AuthorizeTool,
  ConsentRequired as ConsentRequiredAnswer,
  ExecuteAnswer,
  ExecuteTool,
  PageOfUserConnection,
  ProviderRequirement,
  RequirementsAnswer,
  RequirementsQuestion,
  UserConnection,
} from "./types.js";

export * from "./errors.js";
export type { AuthorizationAnswer as Authorization, UserConnection as Connection } from "./types.js";
export type { ErrorKind, ErrorName, ProviderRequirement } from "./types.js";

const DEFAULT_URL = "http://127.0.0.1:8080";
/** Key for a server of one's own machine, which takes any. */
const ANY_KEY = "countersign";
const MAX_RETRIES = 2;
const MAX_RETRY_AFTER_MS = 30_000;
const MAX_POLL_SECONDS = 45;
const MIN_POLL_MS = 1000;
const RETRY_POLL_MS = 2000;
const PAGE_SIZE = 100;
/** Causes of a failed `fetch` before anything was sent. */
const UNSENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

export interface Options {
  /** `COUNTERSIGN_URL` without it, else a server of one's own machine. */
  url?: string;
  /** `COUNTERSIGN_API_KEY` without it; not needed for a server of one's own machine. */
  apiKey?: string;
  /** For one request; 60,000 without it. */
  timeoutMs?: number;
  fetch?: typeof fetch;
}

export interface Cancellable {
  signal?: AbortSignal;
}

/** Outcome of a wait. */
export type Outcome =
  | { status: "completed"; authorization: AuthorizationAnswer }
  /** The user declined, the provider refused, or the link expired. */
  | { status: "failed"; reason: string }
  /** The user has not answered yet. The link may still work: wait again. */
  | { status: "timed_out"; authorization: AuthorizationAnswer };

/** Consents that tools still need. */
export interface Ready {
  met: boolean;
  /** The link of each provider that the user has to open. */
  links: Record<string, string>;
  /** For each provider that the user cannot connect now, the reason. */
  problems: Record<string, string>;
  providers: Record<string, ProviderRequirement>;
}

interface Sent extends Cancellable {
  body?: object;
  idempotencyKey?: string;
  /** Time that the server takes on purpose, beside the timeout. */
  extraMs?: number;
  isRepeatable?: boolean;
}

export class Countersign {
  readonly url: string;
  // A private name: neither `console.log` nor `JSON.stringify` shows it.
  readonly #key: string;
  readonly #fetch: typeof fetch;
  readonly #timeoutMs: number;

  constructor(options: Options = {}) {
    this.url = (options.url || environment("COUNTERSIGN_URL") || DEFAULT_URL).replace(/\/+$/, "");
    const parsed = URL.canParse(this.url) ? new URL(this.url) : undefined;
    if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password || parsed.search) {
      throw new TypeError("the URL of the server is like https://tools.example.com, without user, password or query");
    }
    const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(parsed.hostname);
    const key = options.apiKey || environment("COUNTERSIGN_API_KEY") || (isLoopback ? ANY_KEY : undefined);
    if (!key) throw new TypeError(`set COUNTERSIGN_API_KEY to a key of ${this.url}, or pass apiKey`);
    // Else `fetch` would show the key in its error.
    if (!/^[!-~]+$/.test(key)) throw new TypeError("the API key has characters that no key has");
    this.#key = key;
    this.#fetch = options.fetch ?? fetch;
    this.#timeoutMs = options.timeoutMs ?? 60_000;
  }

  /**
   * Asks for the consent that a tool needs, or for scopes at a provider. The status of the result is `completed`, or
   * `pending` with the `url` that the user opens. While that link is open, a repetition returns it again.
   */
  async authorize(
    what: { tool: string } | { provider: string; scopes?: string[] },
    user?: string,
    options: Cancellable & { nextUri?: string } = {},
  ): Promise<AuthorizationAnswer> {
    const common = { ...defined({ user_id: user, next_uri: options.nextUri }) };
    if ("tool" in what) {
      const body: AuthorizeTool = { tool_name: what.tool, ...common };
      return hideToken(await this.#ask("POST", "/v1/tools/authorize", { ...options, body }));
    }
    const required: AuthRequirement = { id: what.provider, oauth2: { scopes: what.scopes ?? [] } };
    const body: Authorize = { auth_requirement: required, ...common };
    return hideToken(await this.#ask("POST", "/v1/auth/authorize", { ...options, body }));
  }

  /** Waits for the user. Takes an authorization or its id. */
  async wait(
    authorization: AuthorizationAnswer | string,
    options: Cancellable & { timeoutMs?: number } = {},
  ): Promise<Outcome> {
    if (typeof authorization !== "string" && authorization.status === "completed") {
      return { status: "completed", authorization };
    }
    const id = typeof authorization === "string" ? authorization : authorization.id;
    const deadline = performance.now() + (options.timeoutMs ?? 900_000);
    let [hasAnswered, hasFailed] = [false, false];
    for (;;) {
      const began = performance.now();
      const poll = Math.max(0, Math.min(MAX_POLL_SECONDS, Math.floor((deadline - began) / 1000)));
      const query = new URLSearchParams({ id, wait: String(poll) });
      let answer: AuthorizationAnswer;
      try {
        const sent = { ...defined({ signal: options.signal }), extraMs: poll * 1000 };
        answer = hideToken(await this.#ask("GET", `/v1/auth/status?${query}`, sent));
      } catch (error) {
        const isOver = error instanceof ApiError && /^(authorization_failed|not_found)$/.test(error.code);
        if (isOver) return { status: "failed", reason: error.message };
        const isGone = error instanceof NoAnswer || (error instanceof ApiError && error.code === "unavailable");
        const left = deadline - performance.now();
        if (!isGone || !hasAnswered || left <= 0) throw error;
        // The link outlives a restart of the server.
        await sleep(Math.min(RETRY_POLL_MS, left), options.signal);
        continue;
      }
      hasAnswered = true;
      if (answer.status === "completed") return { status: "completed", authorization: answer };
      if (answer.status === "failed") {
        if (hasFailed) return { status: "failed", reason: "the server gives no reason" };
        // The server says `failed` once, and then why.
        hasFailed = true;
        continue;
      }
      const left = deadline - performance.now();
      if (left <= 0) return { status: "timed_out", authorization: answer };
      // A server that is about to end, or has too many polls, answers early.
      if (performance.now() - began < MIN_POLL_MS) await sleep(Math.min(MIN_POLL_MS, left), options.signal);
    }
  }

  /**
   * Calls a tool, and returns its output. With the same `idempotencyKey`, a call runs once within 24 hours, however
   * often it is sent. Without one, each call has a new key, so that it also runs once if its answer is lost.
   *
   * Throws `ConsentRequired` with the link that the user opens, `ConfirmationRequired`, `ToolError`, `ApiError`, or
   * `NoAnswer` if it is unknown whether the tool ran.
   */
  async execute(
    tool: string,
    input: Record<string, unknown> = {},
    user?: string,
    options: Cancellable & { idempotencyKey?: string } = {},
  ): Promise<unknown> {
    const body: ExecuteTool = { tool_name: tool, input, ...defined({ user_id: user }) };
    const idempotencyKey = options.idempotencyKey ?? crypto.randomUUID();
    const sent = { ...options, body, idempotencyKey };
    const { output } = await this.#ask<ExecuteAnswer>("POST", "/v1/tools/execute", sent);
    if (!output) throw new UnexpectedAnswer("the answer of the call has no output");
    if (!output.error) return output.value;
    throw output.error.extra ? new ConfirmationRequired(output.error, output.error.extra) : new ToolError(output.error);
  }

  /** Asks for all consents that these tools need: one link for each provider. */
  async ready(tools: string[], user?: string, options: Cancellable = {}): Promise<Ready> {
    const body: RequirementsQuestion = { tool_names: tools, authorize: true, ...defined({ user_id: user }) };
    const answer = await this.#ask<RequirementsAnswer>("POST", "/v1/tools/requirements", { ...options, body });
    const providers = answer.authorization.items;
    const each = (key: "url" | "status_reason") =>
      Object.fromEntries(Object.entries(providers).flatMap(([name, one]) => (one[key] ? [[name, one[key]]] : [])));
    return { met: answer.met, links: each("url"), problems: each("status_reason"), providers };
  }

  /** Lists what users have connected. The key needs `admin = true`. */
  async connections(
    filter: { user?: string; provider?: string } = {},
    options: Cancellable = {},
  ): Promise<UserConnection[]> {
    const found: UserConnection[] = [];
    const asked = defined({ user_id: filter.user, provider_id: filter.provider, limit: String(PAGE_SIZE) });
    for (;;) {
      const query = new URLSearchParams({ ...asked, offset: String(found.length) });
      const path = `/v1/admin/user_connections?${query}`;
      const page = await this.#ask<PageOfUserConnection>("GET", path, options);
      found.push(...page.items);
      if (page.items.length === 0 || found.length >= page.total_count) return found;
    }
  }

  /** Ends a connection, at the provider too. The key needs `admin = true`. */
  async disconnect(connectionId: string, options: Cancellable = {}): Promise<void> {
    // Not repeated: the second answer would say that there is no such connection.
    const path = `/v1/admin/user_connections/${encodeURIComponent(connectionId)}`;
    await this.#send("DELETE", path, { ...options, isRepeatable: false });
  }

  async #ask<T>(method: string, path: string, sent: Sent): Promise<T> {
    const response = await this.#send(method, path, sent);
    try {
      return (await response.json()) as T;
    } catch {
      throw new UnexpectedAnswer(`the answer to ${method} ${pathOnly(path)} is no JSON`);
    }
  }

  /** Sends a request, again where that is safe. */
  async #send(method: string, path: string, sent: Sent): Promise<Response> {
    const { body, idempotencyKey, extraMs = 0, isRepeatable = true, signal } = sent;
    const init: RequestInit = {
      method,
      // A redirect must not take the key to another server.
      redirect: "manual",
      headers: {
        Authorization: `Bearer ${this.#key}`,
        ...(body && { "Content-Type": "application/json" }),
        ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }),
      },
      ...(body && { body: JSON.stringify(body) }),
    };
    for (let attempt = 0; ; attempt++) {
      const backoff = 500 * 2 ** attempt * (0.75 + Math.random() / 4);
      const timeout = AbortSignal.timeout(this.#timeoutMs + extraMs);
      let wait: number | undefined;
      let failure: Error;
      try {
        const any = signal ? AbortSignal.any([signal, timeout]) : timeout;
        const response = await this.#fetch(this.url + path, { ...init, signal: any });
        // The body is read here, since it can be lost too.
        const whole = new Response((await response.text()) || null, { status: response.status });
        if (response.ok) return whole;
        wait = retryAfterMs(response, isRepeatable, backoff);
        failure = await errorOf(method, path, whole);
      } catch (error) {
        signal?.throwIfAborted();
        const code = (error as { cause?: { code?: string } }).cause?.code;
        const wasSent = !UNSENT.has(code ?? "");
        if (isRepeatable || !wasSent) wait = backoff;
        const what = wasSent ? "did not answer" : "cannot be reached";
        failure = new NoAnswer(`${this.url} ${what} (${code ?? (error as Error).name})`);
      }
      if (attempt >= MAX_RETRIES || wait === undefined) throw failure;
      await sleep(wait, signal);
    }
  }
}

/** Returns after how many milliseconds a request may be sent again; `undefined` if that is not safe, or of no use. */
function retryAfterMs({ status, headers }: Response, isRepeatable: boolean, backoff: number): number | undefined {
  // With 429, the request was refused before it was read.
  const isPassing = status === 429 || (isRepeatable && [502, 503, 504].includes(status));
  if (!isPassing || headers.get("x-should-retry") === "false") return undefined;
  const asked = Number(headers.get("retry-after")) * 1000;
  if (!(asked >= 0)) return backoff;
  return asked <= MAX_RETRY_AFTER_MS ? Math.max(asked, backoff) : undefined;
}

async function errorOf(method: string, path: string, response: Response): Promise<Error> {
  const body = (await response.json().catch(() => undefined)) as ConsentRequiredAnswer | undefined;
  if (typeof body?.name !== "string" || typeof body.message !== "string") {
    return new UnexpectedAnswer(`${method} ${pathOnly(path)} was answered with status ${response.status}`);
  }
  const { name, message, authorization } = body;
  if (name !== "tool_authorization_required") return new ApiError(name, response.status, message);
  if (!authorization) return new ConsentRefused(name, response.status, message);
  return new ConsentRequired(response.status, message, authorization);
}

/** Keeps the token of a completed authorization out of what is logged or serialized; a program can still read it. */
function hideToken(answer: AuthorizationAnswer): AuthorizationAnswer {
  if (answer.context?.token) Object.defineProperty(answer.context, "token", { enumerable: false });
  return answer;
}

function pathOnly(path: string): string {
  return path.split("?")[0] ?? path;
}

function defined<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value != null)) as never;
}

/** Returns a variable of the environment, where there is one: Node, Deno, Bun. */
function environment(name: string): string | undefined {
  return (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env[name];
}

async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
