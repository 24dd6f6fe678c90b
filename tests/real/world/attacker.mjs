// Somebody's page at another site, which takes whoever opens it elsewhere by script.
//
//   node attacker.mjs '{}'
//   {"listening":"http://127.0.0.1:40005"}
//
// `GET /lure?to=ADDRESS` goes to that address at once. Open it at `localhost`: to a browser that is another site than
// `127.0.0.1`, where everybody else is.

import { sendHtml, serve } from './serve.mjs';

await serve(async (listening) => ({
  handle: async (request, response) => {
    const to = new URL(request.url, listening).searchParams.get('to');
    const script = `location.href = ${JSON.stringify(to).replaceAll('<', '\\u003c')}`;
    sendHtml(response, 200, `<!DOCTYPE html><html lang="en"><title>Cats</title><body><h1>Cats</h1><script>${script}</script></body></html>`);
  },
}));
