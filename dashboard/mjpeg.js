// JPEGs from multipart/x-mixed-replace over fetch: `<img src>` would do it by itself, but carries no token.

import { open } from './api.js';

const HEAD_END = [13, 10, 13, 10];

/** Shows the pictures of `path` in `image` until it ends or `signal`. A slow browser takes what it can: the server drops. */
export async function playMjpeg(image, path, { signal, onPicture }) {
  const response = await open(path, { signal });
  for await (const jpeg of parts(response.body.getReader())) {
    await showJpeg(image, jpeg);
    onPicture(null);
  }
}

/** Shows one picture, and lets go of the one before. */
export async function showJpeg(image, jpeg) {
  const before = image.src;
  const next = URL.createObjectURL(new Blob([jpeg], { type: 'image/jpeg' }));
  image.src = next;
  // A broken picture is followed by a whole one.
  await image.decode().catch(() => {});
  if (before.startsWith('blob:')) URL.revokeObjectURL(before);
}

async function* parts(reader) {
  let held = new Uint8Array();
  try {
    for (;;) {
      let part;
      while ((part = firstPart(held))) {
        yield held.subarray(part.start, part.end);
        held = held.slice(part.end);
      }
      const { value, done } = await reader.read();
      if (done) return;
      held = joined(held, value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Where the first part's body starts and ends; nothing until it is whole. */
function firstPart(bytes) {
  const head = bytes.findIndex((_, at) => HEAD_END.every((byte, n) => bytes[at + n] === byte));
  if (head < 0) return null;
  const text = new TextDecoder().decode(bytes.subarray(0, head));
  const length = Number(/content-length: *(\d+)/i.exec(text)?.[1]);
  if (!length) throw new Error('a part of the stream says no length');
  const start = head + HEAD_END.length;
  return bytes.length < start + length ? null : { start, end: start + length };
}

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
