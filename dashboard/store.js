// What the page knows: the streams' status, asked for while somebody looks, its last ten minutes, and the events.

import { call, listen, pause } from './api.js';
import { gpuSeconds } from './format.js';

const EVERY = 2000;
const KEPT = (10 * 60 * 1000) / EVERY;
const EVENTS = 500;

/** Fires `streams`, `events` and `link`. */
class Store extends EventTarget {
  /** Statuses as the API gives them; null before the first answer. */
  streams = null;
  /** Newest first. */
  events = [];
  /** Why the API does not answer; null while it does. */
  trouble = null;
  #history = new Map();
  #looking = null;
  #hurry = new AbortController();

  /** Asks while the page is seen: a tab in the background holds no connection. */
  start() {
    const follow = () => (document.hidden ? this.#stop() : this.#look());
    document.addEventListener('visibilitychange', follow);
    follow();
  }

  /** Asks again at once. */
  refresh() {
    this.#hurry.abort();
  }

  stream(id) {
    return this.streams?.find((status) => status.id === id);
  }

  /** The samples of a stream, oldest first: `{ at, in, out, latency }`. */
  history(id) {
    return this.#history.get(id)?.samples ?? [];
  }

  #look() {
    if (this.#looking) return;
    const { signal } = (this.#looking = new AbortController());
    this.#poll(signal);
    this.events = [];
    const onEvent = (topic, event) => {
      this.events = [{ topic, ...event }, ...this.events].slice(0, EVENTS);
      this.dispatchEvent(new Event('events'));
      this.refresh();
    };
    listen('v1/events', { onEvent, signal });
  }

  #stop() {
    this.#looking?.abort();
    this.#looking = null;
  }

  async #poll(signal) {
    while (!signal.aborted) {
      this.#hurry = new AbortController();
      try {
        const streams = await call('v1/streams', { signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]) });
        this.#note(streams);
        this.trouble = null;
      } catch (error) {
        if (signal.aborted) return;
        this.trouble = error.message;
      }
      this.dispatchEvent(new Event('link'));
      // A burst of events is one question.
      await pause(200, signal);
      await pause(EVERY - 200, AbortSignal.any([signal, this.#hurry.signal]));
    }
  }

  #note(streams) {
    const at = Date.now();
    const before = this.#history;
    this.#history = new Map();
    for (const status of streams) {
      const old = before.get(status.id) ?? { samples: [], frames: new Map(), at };
      const frames = new Map(status.renditions.map(({ from, key, frames }) => [`${from} ${key}`, frames]));
      // Events hurry the questions: what is so near to the last sample would be mostly noise.
      if (old.samples.length && at - old.at < EVERY / 2) {
        this.#history.set(status.id, old);
        continue;
      }
      const sample = { at, in: status.source.fps, out: made(old.frames, frames, at - old.at), gpu: gpuSeconds(status) };
      this.#history.set(status.id, { samples: [...old.samples, sample].slice(-KEPT), frames, at });
    }
    this.streams = streams;
    this.dispatchEvent(new Event('streams'));
  }
}

/** Pictures a second that were made since; null if there is nothing to compare with. */
function made(before, now, milliseconds) {
  if (milliseconds <= 0) return null;
  let sum = 0;
  for (const [key, frames] of now) sum += Math.max(0, frames - (before.get(key) ?? frames));
  return (sum * 1000) / milliseconds;
}

export const store = new Store();
