// How many live pictures there may be. A browser opens six connections to a server of HTTP/1.1: one is for events, one for
// everything short; the rest are for pictures. Behind a proxy with HTTP/2 there is no such limit.

const [navigation] = performance.getEntriesByType('navigation');

/** Live pictures at a time. */
export const LIVE_MAX = /^h[23]/.test(navigation?.nextHopProtocol ?? '') ? 16 : 4;

let turn = Promise.resolve();

/** Runs `task` when those before it are done: stills share one connection. */
export function inTurn(task) {
  const result = turn.then(task);
  turn = result.catch(() => {});
  return result;
}
