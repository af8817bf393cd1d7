// Figures and states for people.

const DASH = '–';

export const number = (value, digits = 1) => (value === null || value === undefined ? DASH : value.toFixed(digits));

export function bytes(count) {
  if (count === null || count === undefined) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let at = 0;
  for (; count >= 1024 && at < units.length - 1; at += 1) count /= 1024;
  return `${count.toFixed(at ? 1 : 0)} ${units[at]}`;
}

export function bits(rate) {
  if (rate === null || rate === undefined) return DASH;
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1000)} kbit/s`;
}

/** A moment in the reader's own time. */
export function moment(rfc3339) {
  return rfc3339 ? new Date(rfc3339).toLocaleString() : DASH;
}

export const stateKind = (state) => ({ live: 'good', connecting: 'warn', reconnecting: 'warn', failed: 'bad' })[state];

/** Codec, size and rate of what a source sends. */
export function sourceLine({ codec, profile, width, height, fps, bitrate_bps: rate, audio }) {
  if (!codec) return 'nothing came yet';
  const parts = [`${codec}${profile ? ` ${profile}` : ''}`, `${width}×${height}`];
  if (fps !== null) parts.push(`${number(fps)} fps`);
  if (rate !== null) parts.push(bits(rate));
  if (audio) parts.push(`sound ${audio}`);
  return parts.join(' · ');
}

/** Where pixels are made, and why there. */
export function accelLine(accel) {
  if (!accel) return 'not decoded: nobody wants pixels';
  if (accel.decode === 'hardware') {
    return `hardware: ${[accel.device, accel.driver].filter(Boolean).join(', ')}${accel.reason ? ` (${accel.reason})` : ''}`;
  }
  return accel.reason ? `${accel.decode} (${accel.reason})` : accel.decode;
}

/** Pictures and packets that were lost: on the way here, and by slow consumers. */
export function dropsLine(status) {
  const slow = status.renditions.reduce((sum, rendition) => sum + rendition.dropped, 0);
  return `${status.source.packets_lost} packets on the way, ${slow} by slow consumers`;
}

/** How late pictures are, as far as anybody can tell. */
export function latencyLine(status) {
  const parts = [];
  if (status.source.clock.offset_ms !== null) parts.push(`${number(status.source.clock.offset_ms, 0)} ms camera to here`);
  const made = status.renditions.map((rendition) => rendition.latency_ms).filter((latency) => latency !== null);
  if (made.length) parts.push(`${number(Math.max(...made), 0)} ms here to picture`);
  return parts.join(', ');
}

/** The worst state of load, if anything is given up. */
export function loadLine({ load }) {
  return load.state === 'full' ? '' : `${load.state.replaceAll('_', ' ')}: ${load.reason ?? ''}`;
}

/** Every process of a stream by its name. */
export function workers(status) {
  const { ingest, demux, pixels, sound } = status.workers;
  const named = [['ingest', ingest], ['demux', demux], ['pixels', pixels]];
  if (status.detect) named.push(['substream ingest', status.detect.workers.ingest], ['substream pixels', status.detect.workers.pixels]);
  for (const { key, worker } of sound) named.push([`sound ${key}`, worker]);
  return named.filter(([, worker]) => worker);
}

export function restarts(status) {
  return workers(status).reduce((sum, [, worker]) => sum + worker.restarts, 0);
}

export function gpuSeconds(status) {
  const known = workers(status).map(([, worker]) => worker.gpu_seconds).filter((seconds) => seconds !== null);
  return known.length ? known.reduce((sum, seconds) => sum + seconds, 0) : null;
}
