// A picture every few seconds, for small screens and for cameras that find no place among the live ones.

import { open, pause, streamPath } from './api.js';
import { showJpeg } from './mjpeg.js';
import { inTurn } from './places.js';

const EVERY = 5000;

/** Shows stills of a stream in `image` until `signal`. */
export async function playStills(image, id, { signal, onPicture }) {
  while (!signal.aborted) {
    const jpeg = await inTurn(async () => {
      if (signal.aborted) return null;
      const limit = AbortSignal.any([signal, AbortSignal.timeout(15_000)]);
      const response = await open(streamPath(id, '/frame.jpg?width=640'), { signal: limit });
      return response.arrayBuffer();
    });
    if (!jpeg) return;
    await showJpeg(image, jpeg);
    onPicture(null);
    await pause(EVERY, signal);
  }
}
