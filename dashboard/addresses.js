// What to paste where to get a stream's pictures.

import { about, streamPath } from './api.js';
import { copyButton, h } from './dom.js';

/** A list with a button for each text. */
export function addresses(id) {
  const base = new URL(streamPath(id), location.href).href;
  const texts = [
    ['Live copy', `${base}/live.mp4`],
    ['curl: a picture', `curl -sf -o ${id}.jpg '${base}/frame.jpg?width=1280'`],
    ['ffplay', `ffplay -fflags nobuffer '${base}/live.ts'`],
    ['Frigate: recorded from the copy, detected in raw pictures', frigate(id, base)],
    ['Home Assistant: generic camera', homeAssistant(id, base)],
  ];
  const item = ([name, text]) => h('li', {}, h('strong', {}, name), h('code', { tabindex: '0' }, text), copyButton(text, 'Copy', name));
  const list = h('ul', { class: 'copies' }, texts.map(item));
  about().then(({ rtsp }) => { if (rtsp) list.firstChild.after(item(['RTSP', rtspUrl(rtsp, id)])); }, () => {
    // Whoever asks for the stream is told why.
  });
  return list;
}

/** On the page's host, unless RTSP is at one address only. */
function rtspUrl({ port, address }, id) {
  const host = address?.includes(':') ? `[${address}]` : (address ?? location.hostname);
  return `rtsp://${host}:${port}/${encodeURIComponent(id)}`;
}

const frigate = (id, base) => `cameras:
  ${id}:
    ffmpeg:
      inputs:
        - path: ${base}/live.ts
          input_args: -avoid_negative_ts make_zero -fflags +genpts+discardcorrupt
          roles: [record]
        - path: ${base}/live.y4m?width=1280&height=720&fps=5
          input_args: []
          roles: [detect]
    detect: { width: 1280, height: 720, fps: 5 }`;

const homeAssistant = (id, base) => `# Settings > Devices & services > Add integration > Generic Camera
name: ${id}
still_image_url: ${base}/frame.jpg
stream_source: ${base}/live.ts`;
