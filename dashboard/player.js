// A picture that goes on: the best way that works for this camera in this browser, tried again when it ends.

import { ApiError, pause, streamPath } from './api.js';
import { h, setText } from './dom.js';
import { number } from './format.js';
import { playMjpeg } from './mjpeg.js';
import { Unplayable, hasMediaSource, playMse } from './mse.js';
import { playStills } from './still.js';
import { store } from './store.js';

const RETRY = { least: 2000, most: 30_000 };

/** Every way to show a stream live, with the query that asks for it. The camera's own packets cost the server nothing. */
const WAYS = {
  copy: { label: 'live', play: (player, options) => playMse(player.video, player.path('live.mp4', 'codec=copy'), options) },
  h264: { label: 'live, as H.264', play: (player, options) => playMse(player.video, player.path('live.mp4', 'codec=h264'), options) },
  mjpeg: { label: 'live, as MJPEG', play: (player, options) => playMjpeg(player.image, streamPath(player.id, '/live.mjpeg?width=640&fps=5'), options) },
  still: { label: 'still', play: (player, options) => playStills(player.image, player.id, options) },
};

/**
 * Whether there are pictures to be had. An idle camera connects because it is asked, and goes back if nobody waits for it;
 * one that connects and has failed already would only hold a connection of the browser's.
 */
export function canShow(status) {
  return ['live', 'idle'].includes(status?.state) || (status?.state === 'connecting' && !status.reason);
}

/** Shows a stream in `element`; nothing is asked for until `show()`. */
export class Player {
  #stop = null;
  #mode = 'off';
  /** Ways that failed for a codec in this browser, which will not learn them. */
  #unplayable = new Set();

  /** With `controls`, the picture has sound and the browser's own buttons. */
  constructor(id, { controls = false } = {}) {
    this.id = id;
    this.hasSound = controls;
    const name = `Live picture of ${id}`;
    this.video = h('video', { muted: true, playsinline: true, autoplay: true, controls, hidden: true, 'aria-label': name });
    this.video.muted = true;
    this.image = h('img', { alt: name, hidden: true });
    this.how = h('span', { class: 'badge how' });
    this.why = h('div', { class: 'why' });
    this.element = h('div', { class: 'stage' }, this.video, this.image, this.why, this.how);
  }

  get mode() {
    return this.#mode;
  }

  /** `live`, `still` or `off`; changes nothing if it is so already. */
  show(mode) {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#stop?.abort(new DOMException('not shown any more', 'AbortError'));
    this.#stop = null;
    if (mode === 'off') return;
    this.#stop = new AbortController();
    this.#run(mode, this.#stop.signal);
  }

  path(file, query) {
    return streamPath(this.id, `/${file}?${query}${this.hasSound ? '' : '&audio=none'}`);
  }

  async #run(mode, signal) {
    for (let failures = 0; !signal.aborted; ) {
      const status = store.stream(this.id);
      if (!canShow(status)) {
        this.#failed(status?.reason ?? status?.state ?? '');
        await news(signal);
        continue;
      }
      const { codec } = status.source;
      const name = this.#ways(mode, codec).find((way) => !this.#unplayable.has(`${way} ${codec}`)) ?? 'still';
      try {
        await WAYS[name].play(this, { signal, onPicture: (lag) => { failures = 0; this.#shown(name, lag); } });
      } catch (error) {
        if (signal.aborted) return;
        // A sound or codec that has no place in the form (422) is as good as one that the browser does not know.
        const isOfNoUse = error instanceof Unplayable || (error instanceof ApiError && error.status === 422);
        if (isOfNoUse && name !== 'still') {
          this.#unplayable.add(`${name} ${codec}`);
          continue;
        }
        this.#failed(error.message);
      }
      failures += 1;
      await pause(Math.min(RETRY.most, RETRY.least * 2 ** (failures - 1)), signal);
    }
  }

  #ways(mode, codec) {
    if (mode === 'still') return ['still'];
    if (codec === 'mjpeg') return ['mjpeg'];
    return hasMediaSource() ? ['copy', 'h264', 'mjpeg'] : ['mjpeg'];
  }

  #shown(name, lag) {
    const isVideo = lag !== null;
    this.video.hidden = !isVideo;
    this.image.hidden = isVideo;
    this.element.dataset.way = name;
    const { label } = WAYS[name];
    setText(this.how, this.hasSound && isVideo ? `${label}, ${number(lag)} s in the player` : label);
    setText(this.why, '');
  }

  #failed(why) {
    this.video.hidden = this.image.hidden = true;
    delete this.element.dataset.way;
    setText(this.how, '');
    setText(this.why, why);
  }
}

/** Resolves when the streams' statuses have come again, or with the signal. */
function news(signal) {
  return new Promise((resolve) => {
    store.addEventListener('streams', resolve, { once: true, signal });
    signal.addEventListener('abort', resolve, { once: true });
  });
}
