// The authorization server's own pages: one form to sign in, one to consent, both without JavaScript.
// The person can untick single scopes; what is unticked is really not granted.

import { readBody, sendHtml } from './serve.mjs';

// The protocol does not let a person take these two away, so they are shown but have no checkbox.
const NOT_REFUSABLE = new Set(['openid', 'offline_access']);

function escape(text) {
  return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function page(title, body) {
  return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>`
    + `<meta name="viewport" content="width=device-width"></head><body><main><h1>${escape(title)}</h1>${body}</main></body></html>`;
}

function loginPage(action) {
  return page('Sign in', `<form method="post" action="${escape(action)}">`
    + '<p><label>Login <input name="login" required autofocus autocomplete="off"></label></p>'
    + '<p><button name="decision" value="allow">Sign in</button> '
    + '<button name="decision" value="deny" formnovalidate>Deny</button></p></form>');
}

function consentPage(action, client, login, scopes) {
  const rows = scopes.map((scope) => (NOT_REFUSABLE.has(scope)
    ? `<li>${escape(scope)}</li>`
    : `<li><label><input type="checkbox" name="scope" value="${escape(scope)}" checked> ${escape(scope)}</label></li>`));
  return page(`${client} asks for access`, `<p>Signed in as ${escape(login)}.</p>`
    + `<form method="post" action="${escape(action)}"><input type="hidden" name="seen" value="${escape(scopes.join(' '))}">`
    + `<ul>${rows.join('')}</ul><p><button name="decision" value="allow">Allow</button> `
    + '<button name="decision" value="deny">Deny</button></p></form>');
}

/** The device flow's own pages; oidc-provider makes the forms, which have no buttons. */
export const devicePages = {
  userCodeInputSource: async (ctx, form, _out, error) => {
    ctx.type = 'html';
    ctx.body = page('Enter the code', `${error ? '<p>This code is not known.</p>' : ''}${withButtons(form, '<button>Continue</button>')}`);
  },
  userCodeConfirmSource: async (ctx, form, client, _device, userCode) => {
    ctx.type = 'html';
    const buttons = '<button>Continue</button> <button name="abort" value="yes">Abort</button>';
    ctx.body = page(`Connect ${client.clientId}?`, `<p>Your device shows <code>${escape(userCode)}</code>.</p>${withButtons(form, buttons)}`);
  },
  successSource: async (ctx) => {
    ctx.type = 'html';
    ctx.body = page('Device connected', '<p>You can close this page.</p>');
  },
};

function withButtons(form, buttons) {
  return form.replace('</form>', `${buttons}</form>`);
}

export function errorPage(fields) {
  const rows = Object.entries(fields).map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`);
  return page('The authorization request failed', `<dl>${rows.join('')}</dl>`);
}

/** Serves `/interaction/{uid}`: GET shows the form that is due, POST answers it. */
export async function interaction(provider, request, response) {
  const details = await provider.interactionDetails(request, response);
  const { prompt, params, session, uid } = details;
  const action = `/interaction/${uid}`;
  const scopes = prompt.details.missingOIDCScope ?? [];
  if (request.method !== 'POST') {
    const html = prompt.name === 'login' ? loginPage(action) : consentPage(action, params.client_id, session.accountId, scopes);
    sendHtml(response, 200, html, { 'cache-control': 'no-store' });
    return;
  }
  const form = new URLSearchParams((await readBody(request)).toString());
  const answer = form.get('decision') === 'allow'
    ? await allowed(provider, prompt.name, form, details, scopes)
    : { error: 'access_denied', error_description: 'the person denied the request' };
  await provider.interactionFinished(request, response, answer, { mergeWithLastSubmission: prompt.name === 'consent' });
}

async function allowed(provider, prompt, form, { session, params }, scopes) {
  if (prompt === 'login') return { login: { accountId: form.get('login') || 'nobody' } };
  // A grant of its own for every consent: revoking or reusing one must not touch another flow of the same person.
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const ticked = form.getAll('scope');
  const granted = scopes.filter((scope) => NOT_REFUSABLE.has(scope) || ticked.includes(scope));
  const refused = scopes.filter((scope) => !granted.includes(scope));
  if (granted.length) grant.addOIDCScope(granted.join(' '));
  if (refused.length) grant.rejectOIDCScope(refused.join(' '));
  return { consent: { grantId: await grant.save() } };
}
