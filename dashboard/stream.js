// One stream: its picture, everything that is known of it, and what can be done with it.

import { addresses } from './addresses.js';
import { call, streamPath } from './api.js';
import { FrameRates, legend } from './chart.js';
import { Facts, copyButton, h, setBadge, setText } from './dom.js';
import { editStream } from './editor.js';
import { bytes, moment, number, stateKind, workers } from './format.js';
import { Player } from './player.js';
import { confirmed, notice } from './shell.js';
import { store } from './store.js';
import { showFacts } from './wall.js';
import { streamYaml } from './yaml.js';

/** The page of stream `id`; its work ends with `signal`. */
export function stream(main, signal, id) {
  const player = new Player(id, { controls: true });
  const state = h('span', { class: 'badge' });
  const facts = new Facts();
  const more = new Facts();
  const chart = h('div', { class: 'chart' });
  const rates = new FrameRates(chart, true);
  const renditions = h('tbody');
  const processes = h('tbody');
  const setup = h('div', {}, h('p', { class: 'faint' }, 'Asking …'));
  const gone = h('p', { class: 'note warn', hidden: true }, 'There is no such stream any more.');
  main.append(
    h('div', { class: 'bar' }, h('h1', {}, id), state,
      h('span', { class: 'end' },
        h('button', { type: 'button', onclick: () => editStream(id).then(() => showSetup(setup, id)) }, 'Edit'),
        h('button', { type: 'button', class: 'danger', onclick: () => remove(id) }, 'Remove'))),
    gone,
    h('div', { class: 'split' },
      h('div', { class: 'stack' },
        player.element,
        panel('The last ten minutes', legend(), chart),
        panel('Renditions', table(['What', 'From', 'Scaled', 'Encoded', 'Consumers', 'Pictures', 'Dropped', 'Latency'], renditions, 'Renditions')),
        panel('Workers', table(['Process', 'Id', 'Restarts', 'Memory', 'CPU', 'GPU', 'Sandbox'], processes, 'Workers'))),
      h('div', { class: 'stack' },
        panel('State', facts.element),
        panel('More', more.element),
        panel('Addresses', addresses(id)),
        panel('Settings', setup))));

  const update = () => {
    const status = store.stream(id);
    gone.hidden = Boolean(status) || !store.streams;
    player.show(status && !document.hidden ? 'live' : 'off');
    if (!status) return;
    setBadge(state, status.state, stateKind(status.state));
    showFacts(facts, status);
    showMore(more, status);
    rates.draw(store.history(id));
    renditions.replaceChildren(...status.renditions.map(renditionRow));
    processes.replaceChildren(...workers(status).map(workerRow));
  };
  store.addEventListener('streams', update, { signal });
  document.addEventListener('visibilitychange', update, { signal });
  signal.addEventListener('abort', () => { player.show('off'); rates.destroy(); });
  update();
  showSetup(setup, id);
}

const panel = (title, ...content) => h('section', { class: 'panel' }, h('h2', {}, title), ...content);

function table(names, body, label) {
  const head = h('thead', {}, h('tr', {}, names.map((name) => h('th', { scope: 'col' }, name))));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label }, h('table', {}, head, body));
}

const row = (name, ...cells) => h('tr', {}, h('th', { scope: 'row' }, name), cells.map((cell) => h('td', {}, cell ?? '–')));

function renditionRow({ key, from, decode_scale: scale, encode, consumers, frames, dropped, latency_ms: latency }) {
  return row(key, from, scale, encode, `${consumers}`, `${frames}`, `${dropped}`, latency === null ? null : `${number(latency, 0)} ms`);
}

function workerRow([name, { pid, restarts, rss_bytes: memory, cpu_seconds: cpu, gpu_seconds: gpu, sandbox }]) {
  const missing = sandbox?.missing.length ? `, without ${sandbox.missing.join(', ')}` : '';
  return row(name, `${pid}`, `${restarts}`, bytes(memory), `${number(cpu)} s`, gpu === null ? null : `${number(gpu)} s`,
    sandbox && `${sandbox.state}${missing}`);
}

function showMore(facts, { since, source, accel, ring, detect }) {
  facts.set('Address', source.url);
  facts.set('In this state since', moment(since));
  facts.set('Decoded so since', accel ? moment(accel.since) : '');
  facts.set('Ring', `${number(ring.seconds)} s, ${bytes(ring.bytes)}${ring.joinable ? '' : ', nobody can join before the next keyframe'}`);
  facts.set('Reconnects', `${source.reconnects}`);
  facts.set('Time of day from', source.clock.from.replace('_', ' '));
  facts.set('Clock jumps', source.clock_jumps ? `${source.clock_jumps}` : '');
  facts.set('Substream', detect ? `${detect.state}${detect.fallback ? ', away: the main stream stands in' : ''}` : '');
}

const ORIGINS = {
  config: ['From the configuration file. A change made here holds until the file is read again.', ''],
  api: ['Made by a request: it does not survive a restart. To keep it, copy it into the configuration file.', 'warn'],
  lease: ['Made by a request for as long as somebody uses it.', 'warn'],
};

async function showSetup(place, id) {
  try {
    const { origin, settings, hidden, node } = await call(streamPath(id, '/settings'));
    const [text, kind] = ORIGINS[origin];
    const yaml = streamYaml(id, hidden.includes('password') ? { ...settings, password: '' } : settings, node);
    place.replaceChildren(
      h('p', { class: kind ? `note ${kind}` : 'faint' }, text),
      h('pre', { class: 'yaml', tabindex: '0', 'aria-label': 'Settings as YAML' }, yaml),
      h('p', {}, copyButton(yaml, 'Copy as YAML')));
  } catch (error) {
    setText(place, error.message);
  }
}

async function remove(id) {
  if (!(await confirmed(`Remove ${id}?`, 'Its viewers are cut off. A stream of the configuration file comes back when the file is read again.', 'Remove'))) return;
  try {
    await call(streamPath(id), { method: 'DELETE' });
    notice(`${id} is removed.`, 'good');
    store.refresh();
    location.hash = '#/';
  } catch (error) {
    notice(error.message, 'bad');
  }
}
