// The form for a stream. The API checks; what it says stands at the field that it is about.

import { ApiError, call, streamPath } from './api.js';
import { copyButton, h, setText } from './dom.js';
import { notice } from './shell.js';
import { store } from './store.js';
import { streamYaml } from './yaml.js';

const FIELDS = [
  { key: 'source', label: 'Source', hint: 'rtsp://, http://, https://, file:, push: or test:', required: true },
  { key: 'detect_source', label: 'Substream for detection', hint: 'The same camera, smaller' },
  { key: 'username', label: 'User name' },
  { key: 'password', label: 'Password', type: 'password' },
  { key: 'transport', label: 'Transport', options: ['', 'tcp', 'udp', 'multicast'] },
  { key: 'ingest', label: 'What speaks RTSP', options: ['', 'native', 'libav'] },
  { key: 'input', label: 'What the source sends', options: ['', 'ts', 'flv', 'mp4', 'mjpeg', 'jpeg'] },
  { key: 'rate', label: 'Pictures asked for a second', hint: 'Of a JPEG over HTTP' },
  { key: 'tls', label: 'Certificate', options: ['', 'verify', 'insecure'] },
  { key: 'policy', label: 'Hardware', options: ['', 'prefer-hardware', 'require-hardware', 'software'] },
  { key: 'priority', label: 'Priority', hint: '0 to 10; where not all fit, the lowest gives way' },
  { key: 'on_demand', label: 'Connect only while somebody watches', type: 'checkbox' },
  { key: 'renditions', label: 'Renditions kept warm', hint: 'One a line, such as detect: width=1280 fps=5', lines: true },
];

/** Asks for a new stream. */
export function addStream() {
  return edit('Add a camera', '', { settings: {}, hidden: [], node: null });
}

/** Changes one. */
export async function editStream(id) {
  try {
    await edit(`Edit ${id}`, id, await call(streamPath(id, '/settings')));
  } catch (error) {
    notice(error.message, 'bad');
  }
}

/** Resolves when the dialog is closed. */
function edit(title, id, { settings, hidden, node }) {
  const name = control({ key: 'id', label: 'Name', hint: 'Letters, digits, - and _', required: true }, id);
  name.input.readOnly = Boolean(id);
  // What is cut short must not be saved so: it shows where it was, and has to be given again.
  const controls = FIELDS.map((field) => (
    hidden.includes(field.key) ? control({ ...field, placeholder: settings[field.key] }, '') : control(field, settings[field.key])));
  const general = h('div', { role: 'alert' });
  const values = () => Object.fromEntries(controls.map((field) => [field.key, field.value()]).filter(([, value]) => value !== undefined));
  const save = h('button', { type: 'submit', class: 'main' }, id ? 'Save' : 'Add');
  const dialog = h('dialog', { 'aria-labelledby': 'editor-title' },
    h('h2', { id: 'editor-title' }, title),
    h('p', { class: 'note warn' }, 'What is set here does not survive a restart: copy it as YAML into the configuration file to keep it.'),
    hidden.length ? h('p', { class: 'note warn' }, `Give ${hidden.join(' and ')} again: what is secret is never shown.`) : null,
    node ? h('p', { class: 'note' }, `The configuration pins it to node ${node}. What is set here holds on the node that answers.`) : null,
    general,
    h('form', { novalidate: true, onsubmit: submit },
      name.element, h('div', { class: 'columns' }, controls.filter((field) => !field.isWide).map((field) => field.element)),
      controls.filter((field) => field.isWide).map((field) => field.element),
      h('div', { class: 'bar' }, save,
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
        h('span', { class: 'end' }, copyButton(() => streamYaml(name.value() ?? 'name', values(), node), 'Copy as YAML')))));

  async function submit(event) {
    event.preventDefault();
    const fields = [name, ...controls];
    fields.forEach((field) => field.complain([]));
    general.replaceChildren();
    save.disabled = true;
    try {
      await call(streamPath(name.value() ?? ''), { method: 'PUT', body: values() });
      notice(`${name.value()} is set up.`, 'good');
      store.refresh();
      dialog.close();
    } catch (error) {
      complain(error, fields, general);
    } finally {
      save.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => { dialog.remove(); resolve(); }));
}

/** Puts each sentence of the API to the field that it begins with; what is about none stands above. */
function complain(error, fields, general) {
  const rest = [];
  const found = new Map();
  for (const line of error.message.split('\n')) {
    // The body's place, such as `request:1: `, means nothing to whoever fills in a form.
    const [, key, message] = /^(?:[^:]*:\d+: )?(?:([a-z_]+)[^:\s]*: )?(.*)$/.exec(line);
    const field = fields.find((one) => one.key === (key ?? idWhenItIs(error, line)));
    if (field) found.set(field, [...(found.get(field) ?? []), key ? message : line]);
    else rest.push(line);
  }
  found.forEach((messages, field) => field.complain(messages));
  const [first] = fields.filter((field) => found.has(field));
  first?.input.focus();
  if (rest.length) general.replaceChildren(h('p', { class: 'note bad' }, rest.join(' ')));
}

const idWhenItIs = (error, line) => (error instanceof ApiError && /stream id|^there is no '/.test(line) ? 'id' : null);

function control({ key, label, hint, type = 'text', options, lines, required, placeholder }, before) {
  const id = `field-${key}`;
  const described = `${id}-hint ${id}-error`;
  const common = { id, name: key, 'aria-describedby': described, autocomplete: 'off', required, placeholder };
  let input;
  if (options) input = h('select', common, options.map((option) => h('option', { value: option }, option || 'as by default')));
  else if (lines) input = h('textarea', { ...common, rows: 2, spellcheck: 'false' });
  else input = h('input', { ...common, type, autocomplete: type === 'password' ? 'new-password' : 'off', spellcheck: 'false' });
  if (type === 'checkbox') input.checked = Boolean(before);
  else input.value = lines ? renditionLines(before ?? {}) : (before ?? '');

  const error = h('span', { class: 'error', id: `${id}-error` });
  const about = h('span', { class: 'faint', id: `${id}-hint` }, hint ?? '');
  const isCheck = type === 'checkbox';
  const parts = isCheck ? [input, h('label', { for: id }, label)] : [h('label', { for: id }, label), input];
  return {
    key,
    input,
    isWide: Boolean(lines) || isCheck,
    element: h('div', { class: isCheck ? 'field check' : 'field' }, ...parts, hint ? about : null, error),
    value: () => valueOf(input, { isCheck, lines }),
    complain(messages) {
      input.toggleAttribute('aria-invalid', false);
      if (messages.length) input.setAttribute('aria-invalid', 'true');
      setText(error, messages.join(' '));
    },
  };
}

function valueOf(input, { isCheck, lines }) {
  if (isCheck) return input.checked;
  const text = input.value.trim();
  if (!text) return undefined;
  return lines ? renditionsOf(text) : text;
}

/** `detect: width=1280 fps=5` on each line. What is malformed is sent as it is: the API says what is wrong with it. */
function renditionsOf(text) {
  const entry = (line) => {
    const [name, parameters = ''] = line.split(/:\s*(.*)/s);
    const pairs = parameters.split(/[\s,]+/).filter(Boolean).map((pair) => pair.split(/=(.*)/s));
    return [name.trim(), Object.fromEntries(pairs.map(([key, value = '']) => [key, value]))];
  };
  return Object.fromEntries(text.split('\n').filter((line) => line.trim()).map(entry));
}

function renditionLines(renditions) {
  const line = ([name, parameters]) => `${name}: ${Object.entries(parameters).map((pair) => pair.join('=')).join(' ')}`;
  return Object.entries(renditions).map(line).join('\n');
}
