// What has changed, newest first.

import { h, setText } from './dom.js';
import { moment } from './format.js';
import { store } from './store.js';

const TOPICS = { stream: 'Streams', acceleration: 'Hardware and software', breaker: 'Breakers', load: 'Load' };
const KINDS = { live: 'good', hardware: 'good', closed: 'good', full: 'good', failed: 'bad', open: 'bad', reconnecting: 'warn', software: 'warn', held: 'warn', degraded: 'bad' };

/** The page; its work ends with `signal`. */
export function events(main, signal) {
  const topic = h('select', { id: 'topic' }, h('option', { value: '' }, 'Everything'),
    Object.entries(TOPICS).map(([value, label]) => h('option', { value }, label)));
  const feed = h('ol', { class: 'feed', 'aria-label': 'Events, newest first' });
  const none = h('p', { class: 'faint' });
  main.append(
    h('div', { class: 'bar' }, h('h1', {}, 'Events'),
      h('span', { class: 'end' }, h('label', { for: 'topic' }, 'Show'), h('span', {}, topic))),
    h('section', { class: 'panel', 'aria-label': 'Feed' }, none, feed));
  const update = () => {
    const chosen = store.events.filter((event) => !topic.value || event.topic === topic.value);
    setText(none, chosen.length ? '' : 'Nothing has changed yet.');
    none.hidden = chosen.length > 0;
    feed.replaceChildren(...chosen.map(item));
  };
  store.addEventListener('events', update, { signal });
  topic.addEventListener('change', update, { signal });
  update();
}

function item(event) {
  if (event.topic === 'lost') return h('li', {}, `${event.lost} events came too fast to be kept.`);
  const { at, topic, subject, from, to, reason } = event;
  const link = topic === 'breaker' ? '#/devices' : `#/streams/${encodeURIComponent(subject.split('/')[0])}`;
  return h('li', {},
    h('time', { class: 'faint', datetime: at }, moment(at)),
    h('a', { href: link }, subject),
    h('span', { class: 'what' }, `${topic}: ${from} → `, h('span', { class: `badge ${KINDS[to] ?? ''}` }, to), reason ? ` ${reason}` : ''));
}
