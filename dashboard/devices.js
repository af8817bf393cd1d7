// GPUs: what their drivers claim, what of it is proved, and their breakers.

import { call, pause } from './api.js';
import { Facts, h } from './dom.js';
import { moment } from './format.js';
import { notice } from './shell.js';

const EVERY = 5000;

/** What a driver does with a profile, by the names of vainfo. */
const ENTRYPOINTS = {
  VLD: 'Decode',
  EncSlice: 'Encode',
  EncSliceLP: 'Encode, low power',
  EncPicture: 'Encode pictures',
  VideoProc: 'Scale',
};

const BREAKERS = {
  closed: { kind: 'good', text: 'closed: work goes to it' },
  open: { kind: 'bad', text: 'open: no work until a trial goes well' },
  held: { kind: 'warn', text: 'held: no work until closed by hand' },
};

/** The page; its work ends with `signal`. */
export async function devices(main, signal) {
  const list = h('div', {}, h('p', { class: 'faint' }, 'Asking …'));
  main.append(h('div', { class: 'bar' }, h('h1', {}, 'Devices')),
    h('p', { class: 'faint' }, 'A capability is used once a trial on this machine has proved it.'), list);
  let shown = '';
  const refresh = async () => {
    try {
      const report = await call('v1/devices');
      const text = JSON.stringify(report);
      const isTyped = list.contains(document.activeElement) && document.activeElement.matches('input, select');
      if (text === shown || isTyped || signal.aborted) return;
      list.replaceChildren(...panels(report.devices, refresh));
      shown = text;
    } catch (error) {
      shown = '';
      list.replaceChildren(h('p', { class: 'note bad' }, error.message));
    }
  };
  while (!signal.aborted) {
    await refresh();
    await pause(EVERY, signal);
  }
}

function panels(devices, refresh) {
  if (devices.length) return devices.map((device) => panel(device, refresh));
  return [h('div', { class: 'panel empty' },
    h('p', {}, 'No GPU is seen here. Everything runs in software.'),
    h('p', { class: 'faint' }, 'camshaft probe and camshaft check on the machine itself say what stands in the way.'))];
}

function panel(device, refresh) {
  const name = device.path ?? device.pci ?? 'GPU';
  const facts = new Facts();
  const { kind, text } = BREAKERS[device.breaker] ?? { text: device.breaker };
  facts.set('GPU', [device.generation, `${device.vendor_id}:${device.device_id}`].filter(Boolean).join(', '));
  facts.set('PCI', device.pci);
  facts.set('Stable name', device.by_path);
  facts.set('Drivers', [device.kernel_driver, device.va_driver, device.vendor_string].filter(Boolean).join(', '));
  facts.set('Last tried', device.tried ? moment(device.tried) : '');
  return h('section', { class: 'panel device', 'data-device': name, 'aria-label': name },
    h('div', { class: 'bar' }, h('h2', {}, name), h('span', { class: `badge ${kind ?? ''}` }, `Breaker ${text}`)),
    device.breaker_reason ? h('p', { class: 'note warn' }, device.breaker_reason) : null,
    device.error ? h('p', { class: 'note bad' }, device.error.message) : null,
    facts.element,
    device.path ? actions(device.path.split('/').pop(), device, refresh) : null,
    device.profiles.length ? matrix(device.profiles, name) : null);
}

function actions(node, device, refresh) {
  const path = `v1/devices/${encodeURIComponent(node)}`;
  const run = async (button, wait, action, done) => {
    const before = button.textContent;
    button.disabled = true;
    button.textContent = wait;
    try {
      await action();
      document.activeElement.blur();
      await refresh();
      notice(done, 'good');
    } catch (error) {
      notice(error.message, 'bad');
    } finally {
      button.disabled = false;
      button.textContent = before;
    }
  };
  const trial = h('button', { type: 'button' }, 'Run trial');
  // Trials of everything that a slow device claims take longer than other calls.
  const request = () => call(`${path}/trial`, { method: 'POST', signal: AbortSignal.timeout(180_000) });
  trial.addEventListener('click', () => run(trial, 'Trying …', request, `${node} was tried.`));
  const state = h('select', { 'aria-label': `Breaker of ${node}` }, Object.keys(BREAKERS).map((name) => h('option', { value: name }, name)));
  state.value = device.breaker;
  const reason = h('input', { 'aria-label': 'Reason', placeholder: 'Reason, such as new firmware', maxlength: '200' });
  const set = h('button', { type: 'submit' }, 'Set breaker');
  const body = () => ({ state: state.value, ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) });
  const submit = (event) => {
    event.preventDefault();
    run(set, 'Setting …', () => call(`${path}/breaker`, { method: 'PUT', body: body() }), `The breaker of ${node} is ${state.value}.`);
  };
  return h('div', { class: 'bar' }, trial, h('form', { class: 'breaker', onsubmit: submit }, state, reason, set));
}

function matrix(profiles, name) {
  const short = (text, prefix) => text.replace(prefix, '');
  const used = Object.keys(ENTRYPOINTS).filter((key) => profiles.some(({ entrypoint }) => short(entrypoint, 'VAEntrypoint') === key));
  const names = [...new Set(profiles.map(({ profile }) => profile))];
  const cell = (profile, key) => {
    const found = profiles.find((one) => one.profile === profile && short(one.entrypoint, 'VAEntrypoint') === key);
    return h('td', {}, found ? claim(found) : '');
  };
  const head = h('tr', {}, h('th', { scope: 'col' }, 'Profile'), used.map((key) => h('th', { scope: 'col' }, ENTRYPOINTS[key])));
  const rows = names.map((profile) => h('tr', {},
    h('th', { scope: 'row' }, profile === 'VAProfileNone' ? 'any picture' : short(profile, 'VAProfile')),
    used.map((key) => cell(profile, key))));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Capabilities of ${name}` },
    h('table', { class: 'matrix' }, h('caption', {}, 'What the driver claims, and what is proved'), h('thead', {}, head), h('tbody', {}, rows)));
}

function claim({ proved, reason, max_width: width, max_height: height, rate_control: rates }) {
  const [kind, text] = proved === true ? ['good', 'proved'] : proved === false ? ['bad', 'failed'] : ['', 'not tried'];
  const details = [width ? `to ${width}×${height}` : '', rates.join(', ')].filter(Boolean).join('; ');
  return [h('span', { class: `badge ${kind}` }, text), details ? h('div', { class: 'faint' }, details) : null,
    proved === false ? h('div', {}, reason) : null];
}
