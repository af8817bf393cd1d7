// What stands around every page: theme, token, link, notices, questions.

import { hasToken, setToken } from './api.js';
import { h, setBadge } from './dom.js';
import { store } from './store.js';

const THEME = 'camshaft.theme';
const THEMES = ['auto', 'light', 'dark'];

const at = (id) => document.getElementById(id);

/** Sets up the header. */
export function startShell() {
  showTheme(localStorage.getItem(THEME) ?? 'auto');
  at('theme').addEventListener('click', () => {
    const now = localStorage.getItem(THEME) ?? 'auto';
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    localStorage.setItem(THEME, next);
    showTheme(next);
  });
  at('token').addEventListener('click', () => askToken());
  window.addEventListener('token-wanted', () => askToken('The server wants a token.'));
  store.addEventListener('link', () => setBadge(at('link'), store.trouble ? 'no answer' : '', 'bad'));
}

function showTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at('theme').textContent = `Theme: ${theme}`;
}

/** Tells something for a while. */
export function notice(text, kind) {
  const note = h('div', { class: `note ${kind}` }, text);
  at('notices').append(note);
  setTimeout(() => note.remove(), kind === 'bad' ? 12_000 : 5000);
}

/** Asks; true if the answer is yes. */
export function confirmed(question, text, action) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'question' },
      h('h2', { id: 'question' }, question), h('p', {}, text),
      h('div', { class: 'bar' },
        h('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, action),
        h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Cancel')));
    dialog.addEventListener('close', () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function askToken(why = '') {
  if (document.querySelector('dialog[open]')) return;
  const input = h('input', { id: 'token-text', type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const submit = (event) => {
    event.preventDefault();
    setToken(input.value.trim());
    dialog.close();
    location.reload();
  };
  const dialog = h('dialog', { 'aria-labelledby': 'token-title' },
    h('h2', { id: 'token-title' }, 'Token'),
    why ? h('p', { class: 'note warn' }, why) : null,
    h('p', {}, 'It is kept for this tab only, and sent with every request. Leave it empty to forget it.'),
    h('form', { onsubmit: submit },
      h('div', { class: 'field' }, h('label', { for: 'token-text' }, hasToken() ? 'Another token' : 'Token'), input),
      h('div', { class: 'bar' }, h('button', { type: 'submit', class: 'main' }, 'Use it'),
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'))));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
