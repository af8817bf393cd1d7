// The wall of cameras.

import { FrameRates, legend } from './chart.js';
import { Facts, h, setBadge, setText } from './dom.js';
import { addStream } from './editor.js';
import { accelLine, dropsLine, gpuSeconds, latencyLine, loadLine, number, restarts, sourceLine, stateKind } from './format.js';
import { LIVE_MAX } from './places.js';
import { Player, canShow } from './player.js';
import { store } from './store.js';

/** Where pictures are stills until somebody asks for more. */
const SMALL = matchMedia('(max-width: 40rem)');

/** The page; its work ends with `signal`. */
export function wall(main, signal) {
  const list = h('ul', { class: 'wall' });
  const count = h('span', { class: 'faint', role: 'status' });
  const empty = h('div', { class: 'panel empty', hidden: true },
    h('p', {}, 'No cameras yet. Add one here, or in the configuration file.'),
    h('p', { class: 'faint' }, 'A source test:?width=640&height=360&fps=25 is a synthetic camera.'));
  main.append(
    h('div', { class: 'bar' }, h('h1', {}, 'Cameras'), count,
      h('span', { class: 'end' }, h('button', { type: 'button', class: 'main', id: 'add', onclick: () => addStream() }, 'Add a camera'))),
    empty, list);

  const cards = new Map();
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) cards.get(target.dataset.id).isSeen = isIntersecting;
    arrange(cards);
  }, { rootMargin: '100px' });

  const update = () => {
    if (!store.streams) return;
    const streams = store.streams;
    empty.hidden = streams.length > 0;
    setText(count, `${streams.filter(({ state }) => state === 'live').length} of ${streams.length} live`);
    for (const [id, card] of cards) {
      if (store.stream(id)) continue;
      seen.unobserve(card.element);
      card.end();
      cards.delete(id);
    }
    streams.forEach((status, at) => {
      let card = cards.get(status.id);
      if (!card) {
        card = new Card(status.id, () => arrange(cards));
        cards.set(status.id, card);
        seen.observe(card.element);
      }
      if (list.children[at] !== card.element) list.insertBefore(card.element, list.children[at] ?? null);
      card.update(status);
    });
    arrange(cards);
  };
  const rearrange = () => arrange(cards);
  store.addEventListener('streams', update, { signal });
  document.addEventListener('visibilitychange', rearrange, { signal });
  SMALL.addEventListener('change', rearrange, { signal });
  signal.addEventListener('abort', () => {
    seen.disconnect();
    cards.forEach((card) => card.end());
  });
  update();
}

/** Who is seen has a picture; the first of them have live ones. */
function arrange(cards) {
  let places = LIVE_MAX;
  const inOrder = [...cards.values()].sort((a, b) => b.isWanted - a.isWanted || (follows(a.element, b.element) ? -1 : 1));
  for (const card of inOrder) {
    const mayBeLive = places > 0 && canShow(store.stream(card.id)) && (!SMALL.matches || card.isWanted);
    const mode = !card.isSeen || document.hidden ? 'off' : mayBeLive ? 'live' : 'still';
    if (mode === 'live') places -= 1;
    card.show(mode);
  }
}

const follows = (a, b) => Boolean(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING);

class Card {
  isSeen = false;
  /** Somebody asked for this one to be live. */
  isWanted = false;

  constructor(id, onWanted) {
    this.id = id;
    this.player = new Player(id);
    this.state = h('span', { class: 'badge' });
    this.facts = new Facts();
    const chart = h('div', { class: 'spark' });
    this.chart = new FrameRates(chart, false);
    this.live = h('button', { type: 'button', hidden: true, 'aria-label': `Live picture of ${id}` }, 'Live');
    this.live.addEventListener('click', () => { this.isWanted = true; onWanted(); });
    this.player.element.append(this.live);
    this.element = h('li', { class: 'card', 'data-id': id },
      this.player.element,
      h('div', { class: 'body' },
        h('div', { class: 'head' }, h('a', { href: `#/streams/${encodeURIComponent(id)}` }, id), this.state),
        this.facts.element,
        legend(), chart));
  }

  show(mode) {
    this.player.show(mode);
    this.live.hidden = mode !== 'still';
  }

  update(status) {
    setBadge(this.state, status.state, stateKind(status.state));
    showFacts(this.facts, status);
    this.chart.draw(store.history(status.id));
  }

  end() {
    this.player.show('off');
    this.chart.destroy();
    this.element.remove();
  }
}

/** What is told of a stream, on the wall and on its own page. */
export function showFacts(facts, status) {
  const last = store.history(status.id).at(-1);
  facts.set('Why', status.state === 'live' ? '' : status.reason);
  facts.set('Source', sourceLine(status.source));
  facts.set('Decode', accelLine(status.accel));
  facts.set('Load', loadLine(status));
  facts.set('In / out', `${number(status.source.fps)} / ${number(last?.out)} fps`);
  facts.set('Latency', latencyLine(status));
  facts.set('Lost', dropsLine(status));
  const gpu = gpuSeconds(status);
  facts.set('GPU time', gpu === null ? '' : `${number(gpu)} s`);
  facts.set('Consumers', `${status.consumers}`);
  facts.set('Restarts', `${restarts(status)} of its workers`);
}
