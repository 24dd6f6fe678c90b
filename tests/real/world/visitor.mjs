// One person's browser, without the browser: it keeps cookies, follows redirects one by one, and sends the headers
// that Chromium sends when somebody clicks (Origin, Sec-Fetch-*), because a server may judge by them.
// It never leaves loopback.

import { request } from 'node:http';

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);
const MOST_REDIRECTS = 20;

/** Cookies by RFC 6265: bound to host and path, not to the port. */
class Cookies {
  #kept = [];

  keep(header, url) {
    const [pair, ...rest] = header.split(';').map((part) => part.trim());
    const at = pair.indexOf('=');
    const attribute = Object.fromEntries(rest.map((part) => {
      const [name, ...value] = part.split('=');
      return [name.toLowerCase(), value.join('=')];
    }));
    const name = pair.slice(0, at);
    const domain = (attribute.domain ?? '').replace(/^\./, '').toLowerCase();
    const path = attribute.path?.startsWith('/') ? attribute.path : url.pathname.slice(0, url.pathname.lastIndexOf('/')) || '/';
    // The strictest browser's rule: over plain http a Secure cookie is not taken, not even on loopback.
    if ('secure' in attribute || name.startsWith('__Secure-') || name.startsWith('__Host-')) return;
    if (domain && domain !== url.hostname) return;
    this.#kept = this.#kept.filter((c) => !(c.name === name && c.host === url.hostname && c.path === path));
    const ends = attribute['max-age'] !== undefined ? Date.now() + Number(attribute['max-age']) * 1000 : Date.parse(attribute.expires ?? '');
    if (ends <= Date.now()) return;
    this.#kept.push({ name, value: pair.slice(at + 1), host: url.hostname, path, sameSite: (attribute.samesite ?? 'lax').toLowerCase() });
  }

  header(url, method, fromOtherSite) {
    return this.#kept
      .filter((c) => c.host === url.hostname)
      .filter((c) => url.pathname === c.path || url.pathname.startsWith(c.path.endsWith('/') ? c.path : `${c.path}/`))
      .filter((c) => !fromOtherSite || c.sameSite === 'none' || (c.sameSite === 'lax' && method === 'GET'))
      .sort((a, b) => b.path.length - a.path.length)
      .map((c) => `${c.name}=${c.value}`)
      .join('; ');
  }
}

export class Visitor {
  #cookies = new Cookies();
  /** The page on the screen: `{url, status, headers, body}`. */
  page = null;
  /** What was asked, in order, without anything secret. */
  steps = [];
  /** The sources of all pages, by origin, those behind redirects too. */
  sources = [];

  /** Types an address. */
  visit(url) {
    return this.#go(new URL(url), 'GET', null, null);
  }

  /** Presses a button of a form on the page. `stopBefore(url)` may halt at a redirect; its target is then returned. */
  submit(form, pairs, stopBefore) {
    const target = new URL(form.action, this.page.url);
    const body = new URLSearchParams(pairs).toString();
    if (form.method === 'post') return this.#go(target, 'POST', body, this.page, stopBefore);
    target.search = body;
    return this.#go(target, 'GET', null, this.page, stopBefore);
  }

  cookieHeader(url) {
    return this.#cookies.header(new URL(url), 'GET', false);
  }

  async #go(start, startMethod, startBody, from, stopBefore) {
    let [url, method, body] = [start, startMethod, startBody];
    let fromOtherSite = from !== null && from.url.hostname !== url.hostname;
    let site = from === null ? 'none' : relation(from.url, url);
    for (let hop = 0; hop < MOST_REDIRECTS; hop += 1) {
      const answer = await this.#ask(url, method, body, from, fromOtherSite, site);
      if (![301, 302, 303, 307, 308].includes(answer.status) || !answer.headers.location) {
        this.page = { url, ...answer };
        return null;
      }
      const next = new URL(answer.headers.location, url);
      if (stopBefore?.(next)) return next;
      if (answer.status < 307) [method, body] = ['GET', null];
      // Once a chain of redirects has touched another site, it stays a visit from there.
      fromOtherSite ||= next.hostname !== url.hostname;
      site = worse(site, relation(url, next));
      url = next;
    }
    throw new Error(`more than ${MOST_REDIRECTS} redirects`);
  }

  async #ask(url, method, body, from, fromOtherSite, site) {
    if (!LOOPBACK.has(url.hostname)) throw new Error(`the journey left loopback for ${url.hostname}`);
    const headers = {
      accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
      'accept-language': 'en',
      'user-agent': 'Mozilla/5.0 (scripted test browser)',
      'sec-fetch-dest': 'document', 'sec-fetch-mode': 'navigate', 'sec-fetch-site': site, 'sec-fetch-user': '?1',
    };
    const cookie = this.#cookies.header(url, method, fromOtherSite);
    if (cookie) headers.cookie = cookie;
    if (method === 'POST') {
      headers.origin = originFor(from, url);
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers['content-length'] = Buffer.byteLength(body);
    }
    const answer = await exchange(url, { method, headers }, body);
    for (const header of [answer.headers['set-cookie'] ?? []].flat()) this.#cookies.keep(header, url);
    this.steps.push({ method, url: `${url.origin}${shown(url)}`, status: answer.status });
    this.sources.push({ origin: url.origin, body: answer.body });
    return answer;
  }
}

/** Fetch standard, "append a request Origin header": a page's referrer policy decides what the server may see. */
function originFor(from, url) {
  const policy = (from?.headers['referrer-policy'] ?? '').split(',').pop().trim();
  if (policy === 'no-referrer') return 'null';
  if (policy === 'same-origin' && from.url.origin !== url.origin) return 'null';
  return from.url.origin;
}

function relation(a, b) {
  if (a.origin === b.origin) return 'same-origin';
  return a.hostname === b.hostname ? 'same-site' : 'cross-site';
}

function worse(a, b) {
  const order = ['none', 'same-origin', 'same-site', 'cross-site'];
  return a === 'none' ? a : order[Math.max(order.indexOf(a), order.indexOf(b))];
}

/** A path as it may stand in a report: tickets and ids shortened, no query. */
export function shown(url) {
  return url.pathname.split('/').map((part) => (/^[\w.~%-]{16,}$/.test(part) ? '…' : part)).join('/');
}

function exchange(url, how, body) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { ...how, agent: false }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk)).on('error', reject).on('end', () => resolve({
        status: answer.statusCode, headers: answer.headers, body: Buffer.concat(chunks).toString(),
      }));
    });
    asked.on('error', reject).end(body ?? undefined);
  });
}
