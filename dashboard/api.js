// The API over fetch, which can carry a token in a header; `<video src>`, `<img src>` and EventSource cannot.

const TOKEN = 'camshaft.token';

/** What the API says when it refuses. */
export class ApiError extends Error {
  constructor(status, kind, message, retryAfter) {
    super(message);
    Object.assign(this, { status, kind, retryAfter });
  }
}

export function hasToken() {
  return Boolean(sessionStorage.getItem(TOKEN));
}

/** Keeps the token for this tab; an empty one forgets it. */
export function setToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

/**
 * An answer whose body is still to be read.
 * @throws {ApiError} for every answer that is none of 2xx
 */
export async function open(path, { method = 'GET', body, headers = {}, signal } = {}) {
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers = { ...headers, authorization: `Bearer ${token}` };
  const response = await fetch(path, { method, body, headers, signal, cache: 'no-store' });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The answer as JSON; null where it has none. Gives up after half a minute. */
export async function call(path, { body, ...options } = {}) {
  const signal = options.signal ?? AbortSignal.timeout(30_000);
  const response = await open(path, { ...options, signal, body: body && JSON.stringify(body) });
  return response.status === 204 ? null : response.json();
}

async function refusal(response) {
  const text = await response.text().catch(() => '');
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // A proxy in between has its own forms.
  }
  if (response.status === 401) window.dispatchEvent(new Event('token-wanted'));
  const message = error.message ?? `the server answered ${response.status} ${response.statusText}`;
  return new ApiError(response.status, error.kind, message, Number(response.headers.get('retry-after')) || null);
}

let asked = null;

/** Version and RTSP's port, which no address tells; asked for once. */
export function about() {
  asked ??= call('v1/about').catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

export const streamPath = (id, rest = '') => `v1/streams/${encodeURIComponent(id)}${rest}`;

/**
 * Server-sent events (WHATWG HTML §9.2) until `signal`, connected again when the connection ends.
 * `onEvent(topic, data)`.
 */
export async function listen(path, { onEvent, signal }) {
  let last = '0';
  while (!signal.aborted) {
    try {
      const response = await open(path, { headers: { 'last-event-id': last }, signal });
      for await (const { event, id, data } of messages(response.body)) {
        if (id) last = id;
        onEvent(event, JSON.parse(data));
      }
    } catch (error) {
      // Whatever else it is, the calls meet it too, and say so.
      if (error.status === 401) return;
    }
    if (signal.aborted) return;
    await pause(2000, signal);
  }
}

async function* messages(body) {
  let message = {};
  for await (const line of lines(body)) {
    if (line === '') {
      if (message.data !== undefined) yield message;
      message = {};
      continue;
    }
    const colon = line.indexOf(':');
    if (colon > 0) message[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split('\n');
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Waits, or ends early with the signal. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
