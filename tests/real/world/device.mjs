// The person who was given a device code: opens the page, types the code, confirms it, signs in, allows or denies.
//
//   node device.mjs URL [--code CODE] [--deny] [--abort] [--untick SCOPE]… [--login NAME]
//   {"steps":[…],"final_status":200,…}
//
// Without `--code` the URL is the one that has the code in it.

import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, report } from './consent.mjs';
import { entries, forms } from './html.mjs';
import { Visitor } from './visitor.mjs';

const MOST_FORMS = 8;

async function enter(url, { code, abort, ...wishes }) {
  const visitor = new Visitor();
  await visitor.visit(url);
  let untyped = code;
  for (let step = 0; step < MOST_FORMS; step += 1) {
    const form = forms(visitor.page.body).find((candidate) => candidate.method === 'post');
    const codes = form?.fields.filter(({ name }) => name === 'user_code') ?? [];
    const blank = codes.find(({ type }) => type !== 'hidden');
    // Being asked for a code that nobody has is the end as well: the other one was refused.
    if (!form || (blank && !untyped)) return report(visitor);
    if (blank) [blank.value, untyped] = [untyped, ''];
    const button = codes.length ? form.buttons.find(({ name }) => (name === 'abort') === abort) : answer(form, wishes);
    await visitor.submit(form, entries(form, button));
  }
  throw new Error(`still forms after ${MOST_FORMS} of them`);
}

async function main() {
  const { values, positionals: [url] } = parseArgs({
    allowPositionals: true,
    options: {
      code: { type: 'string', default: '' },
      deny: { type: 'boolean', default: false },
      abort: { type: 'boolean', default: false },
      untick: { type: 'string', multiple: true, default: [] },
      login: { type: 'string', default: 'ana' },
    },
  });
  console.log(JSON.stringify(await enter(url, values)));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  main().catch((error) => {
    console.error(`device: ${error.message.replace(/\?\S*/g, '?…')}`);
    process.exitCode = 1;
  });
}
