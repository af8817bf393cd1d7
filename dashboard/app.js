// The page: what stands behind `#` says which one is shown.

import { devices } from './devices.js';
import { events } from './events.js';
import { startShell } from './shell.js';
import { store } from './store.js';
import { stream } from './stream.js';
import { wall } from './wall.js';

const main = document.getElementById('main');
let shown = new AbortController();

function route() {
  const [name = '', argument = ''] = location.hash.replace(/^#\/?/, '').split('/');
  switch (name) {
    case 'streams': return ['wall', decoded(argument), (signal) => stream(main, signal, decoded(argument))];
    case 'devices': return ['devices', 'Devices', (signal) => devices(main, signal)];
    case 'events': return ['events', 'Events', (signal) => events(main, signal)];
    default: return ['wall', 'Cameras', (signal) => wall(main, signal)];
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  const [page, title, start] = route();
  shown.abort();
  shown = new AbortController();
  main.replaceChildren();
  document.title = `${title} · camshaft`;
  for (const link of document.querySelectorAll('[data-page]')) {
    if (link.dataset.page === page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  start(shown.signal);
}

startShell();
store.start();
show();
window.addEventListener('hashchange', () => {
  // "Skip to content" is a link, but no page.
  if (location.hash && !location.hash.startsWith('#/')) return;
  show();
  main.focus({ preventScroll: true });
});
