// Just enough HTML for pages without JavaScript: their forms as a browser would send them, their text as a person
// would read it.

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ', hellip: '…', middot: '·', mdash: '—', ndash: '–', rarr: '→', copy: '©' };

export function unescape(text) {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (hex || decimal) return String.fromCodePoint(parseInt(hex ?? decimal, hex ? 16 : 10));
    return ENTITIES[name] ?? whole;
  });
}

function attributes(tag) {
  const found = {};
  for (const [, name, quoted, single, bare] of tag.matchAll(/\s([^\s=>/"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] ??= unescape(quoted ?? single ?? bare ?? '');
  }
  return found;
}

const withoutUnseen = (html) => html.replace(/<!--[\s\S]*?-->/g, '').replace(/<(script|style|template)\b[\s\S]*?<\/\1>/gi, '');

/** The forms of a page: where they go, their fields in order, their buttons. */
export function forms(html) {
  return [...withoutUnseen(html).matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/gi)].map(([form]) => {
    const { action = '', method = 'get' } = attributes(form.slice(0, form.indexOf('>') + 1));
    const fields = [];
    const buttons = [];
    for (const [tag, element] of form.matchAll(/<(input|button)\b[^>]*>/gi)) {
      const control = { type: element.toLowerCase() === 'button' ? 'submit' : 'text', value: '', ...attributes(tag) };
      if ('disabled' in control) continue;
      if (control.type === 'submit') buttons.push(control);
      else if (control.type !== 'button' && control.type !== 'reset') {
        const box = control.type === 'checkbox' || control.type === 'radio';
        fields.push({ ...control, value: box && control.value === '' ? 'on' : control.value, sent: !box || 'checked' in control });
      }
    }
    return { action, method: method.toLowerCase(), fields, buttons };
  });
}

/** What pressing `button` sends: every named field that is on, then the button itself. */
export function entries(form, button) {
  const pairs = form.fields.filter((field) => field.sent && field.name).map((field) => [field.name, field.value]);
  return button?.name ? [...pairs, [button.name, button.value]] : pairs;
}

export function title(html) {
  return unescape(/<title[^>]*>([\s\S]*?)<\/title>/i.exec(html)?.[1] ?? '').trim();
}

export function text(html) {
  const body = withoutUnseen(html).replace(/<head\b[\s\S]*?<\/head>/i, '');
  return unescape(body.replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ').trim();
}
