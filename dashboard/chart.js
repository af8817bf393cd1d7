// Lines of the last ten minutes, drawn by uPlot.

import { h } from './dom.js';
import { number } from './format.js';

/* global uPlot */

const LINES = [
  { label: 'in', key: 'in', ink: '--chart' },
  { label: 'out', key: 'out', ink: '--chart-2', dash: [5, 3] },
];

/** Frames a second, in and out. `isLarge` ones have axes. */
export class FrameRates {
  #element;
  #isLarge;
  #plot = null;
  #look = '';

  constructor(element, isLarge) {
    this.#element = element;
    this.#isLarge = isLarge;
    element.setAttribute('role', 'img');
  }

  draw(samples) {
    const data = [samples.map(({ at }) => at / 1000), ...LINES.map(({ key }) => samples.map((sample) => sample[key]))];
    this.#element.setAttribute('aria-label', describe(samples));
    const width = this.#element.clientWidth;
    if (!width) return;
    const look = `${ink(this.#element, '--chart')} ${width}`;
    if (look === this.#look) {
      this.#plot.setData(data);
      return;
    }
    this.destroy();
    this.#look = look;
    this.#plot = new uPlot(this.#options(width), data, this.#element);
  }

  destroy() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#look = '';
  }

  #options(width) {
    const axis = {
      stroke: ink(this.#element, '--faint'),
      grid: { stroke: ink(this.#element, '--line'), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: this.#element.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, range: tenMinutes }, y: { range: fromZero } },
      axes: this.#isLarge ? [axis, { ...axis, size: 40 }] : [{ show: false }, { show: false }],
      series: [{}, ...LINES.map(({ label, ink: name, dash }) => (
        { label, dash, stroke: ink(this.#element, name), width: 1.5, points: { show: false }, spanGaps: false }))],
      padding: this.#isLarge ? undefined : [2, 0, 2, 0],
    };
  }
}

/** What the lines are. */
export const legend = () => h('div', { class: 'legend' }, 'Frames a second', h('span'), 'in', h('span'), 'made');

/** At most ten minutes, and at least one. */
function tenMinutes(_plot, first) {
  const now = Date.now() / 1000;
  return [Math.max(now - 600, Math.min(first ?? now, now - 60)), now];
}

const fromZero = (_plot, _least, most) => [0, Math.max(1, most ?? 1) * 1.1];

function describe(samples) {
  const last = samples.at(-1);
  if (!last) return 'Frames a second: nothing was measured yet';
  const rates = samples.map((sample) => sample.in).filter((rate) => rate !== null);
  const range = rates.length ? `, between ${number(Math.min(...rates))} and ${number(Math.max(...rates))} in the last ten minutes` : '';
  return `Frames a second: ${number(last.in)} in${range}; ${number(last.out)} made`;
}

/** The colour that a custom property comes to here and now. */
function ink(element, name) {
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = '';
  return color;
}
