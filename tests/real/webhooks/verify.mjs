// Verifies requests with the JavaScript code of docs/webhooks.md and the published library, as `verify.py` does.
//
//   node verify.mjs docs/webhooks.md < requests

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as library from 'standardwebhooks';

const IMPORT = 'import { Webhook, WebhookVerificationError } from "standardwebhooks";\n';

const code = readFileSync(process.argv[2], 'utf8').split('```js\n')[1].split('```')[0];
if (!code.startsWith(IMPORT)) throw new Error('the code imports something else');
const handled = [];
const handle = (message, event) => handled.push([message, event.type]);
const { Webhook, WebhookVerificationError } = library;
const make = new Function('Webhook', 'WebhookVerificationError', 'handle', `${code.slice(IMPORT.length)}\nreturn receive;`);
const receive = make(Webhook, WebhookVerificationError, handle);

for await (const line of createInterface({ input: process.stdin })) {
  const { headers, body } = JSON.parse(line);
  const status = receive(body, headers);
  console.log(JSON.stringify({ status, handled: handled.splice(0) }));
}
