// Fragmented MP4 from fetch into a `video`, by Media Source Extensions (W3C).

import { open } from './api.js';

/** What comes cannot be played in this browser. */
export class Unplayable extends Error {}

/** Seconds behind the newest picture that are jumped over, and that are caught up by playing faster. */
const FAR = 3;
const LATE = 1;
/** Seconds of the past that are kept. */
const PAST = 20;

// Safari on phones has this one only.
const Source = window.ManagedMediaSource ?? window.MediaSource;

export const hasMediaSource = () => Boolean(window.ManagedMediaSource ?? window.MediaSource);

/**
 * Plays `path` until it ends or `signal`; `onPicture(lag)` tells as it goes how many seconds the player is behind.
 * @throws {Unplayable} if the browser has no decoder for what comes
 */
export async function playMse(video, path, { signal, onPicture }) {
  const response = await open(path, { signal });
  const type = response.headers.get('content-type') ?? '';
  const reader = response.body.getReader();
  let url = null;
  try {
    if (!Source.isTypeSupported(type)) throw new Unplayable(`this browser does not play ${type}`);
    const media = new Source();
    url = URL.createObjectURL(media);
    video.disableRemotePlayback = true;
    video.src = url;
    await once(media, 'sourceopen', signal);
    const buffer = media.addSourceBuffer(type);
    // Browsers refuse without an error if nobody has touched the page yet and there is sound.
    video.play().catch(() => {});
    await fill({ video, buffer, reader, signal, onPicture });
  } finally {
    reader.cancel().catch(() => {});
    video.removeAttribute('src');
    video.load();
    if (url) URL.revokeObjectURL(url);
  }
}

async function fill({ video, buffer, reader, signal, onPicture }) {
  for (;;) {
    const { value, done } = await reader.read();
    if (done || signal.aborted) return;
    if (video.error) throw new Unplayable(video.error.message || 'the browser could not decode it');
    buffer.appendBuffer(value);
    await once(buffer, 'updateend', signal);
    if (!buffer.buffered.length) continue;
    onPicture(follow(video, buffer.buffered));
    if (video.currentTime - buffer.buffered.start(0) > 2 * PAST) {
      buffer.remove(0, video.currentTime - PAST);
      await once(buffer, 'updateend', signal);
    }
  }
}

/** Keeps near the newest picture; gives the seconds that the player is behind it. */
function follow(video, buffered) {
  const last = buffered.length - 1;
  const [start, end] = [buffered.start(last), buffered.end(last)];
  const lag = end - video.currentTime;
  if (lag > FAR || video.currentTime < start) video.currentTime = Math.max(start, end - LATE / 2);
  video.playbackRate = lag > LATE && !video.paused ? 1.1 : 1;
  return lag;
}

function once(target, name, signal) {
  return new Promise((resolve, reject) => {
    const settle = (action, value) => {
      target.removeEventListener(name, arrived);
      signal.removeEventListener('abort', ended);
      action(value);
    };
    const arrived = () => settle(resolve);
    const ended = () => settle(reject, signal.reason);
    if (signal.aborted) return ended();
    target.addEventListener(name, arrived);
    signal.addEventListener('abort', ended);
  });
}
