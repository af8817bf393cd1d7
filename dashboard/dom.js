// Elements by description. Text is always set as text: what a camera or a stream is called is never read as HTML.

/**
 * An element with attributes and children; `on…` attributes are listeners, false and null ones are left out.
 * @returns {HTMLElement}
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text only where it changes, so that screen readers and selections are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows what `kind` of news `text` is: good, warn, bad, or neither. */
export function setBadge(element, text, kind) {
  setText(element, text);
  element.className = `badge ${kind ?? ''}`.trim();
}

/** A `dl` of facts that can be changed in place. */
export class Facts {
  constructor() {
    this.element = h('dl', { class: 'facts' });
    this.rows = new Map();
  }

  /** Shows `text` under `name`; nothing shows nothing. */
  set(name, text) {
    let row = this.rows.get(name);
    if (!row) {
      row = { dt: h('dt', {}, name), dd: h('dd') };
      this.rows.set(name, row);
      this.element.append(row.dt, row.dd);
    }
    row.dt.hidden = row.dd.hidden = !text;
    setText(row.dd, text || '');
  }
}

/** Copies `text`, and says so on the button. */
export function copyButton(text, label = 'Copy', what = '') {
  const button = h('button', { type: 'button', 'aria-label': what ? `${label} ${what}` : null }, label);
  button.addEventListener('click', async () => {
    const isCopied = await copy(typeof text === 'function' ? text() : text);
    button.textContent = isCopied ? 'Copied' : 'Select and copy by hand';
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS browsers give the clipboard to localhost only.
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const area = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
  area.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const isCopied = document.execCommand('copy');
  area.remove();
  return isCopied;
}
