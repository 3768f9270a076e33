// Numbers over time: rates, medians, easing and how fast to send. Pure; times are arguments.

/** Events per second over the last `windowMs`. */
export class Rate {
  constructor(windowMs = 2000) {
    this.windowMs = windowMs;
    this.times = [];
  }

  add(nowMs) {
    this.times.push(nowMs);
    this._trim(nowMs);
  }

  /** Hertz; over the time since the first event while the window is not yet full. */
  hz(nowMs) {
    this._trim(nowMs);
    if (this.times.length < 2) return 0;
    return ((this.times.length - 1) * 1000) / Math.max(nowMs - this.times[0], 1);
  }

  reset() {
    this.times = [];
  }

  _trim(nowMs) {
    while (this.times.length && nowMs - this.times[0] > this.windowMs) this.times.shift();
  }
}

/** The median of the last `size` values. */
export class Median {
  constructor(size = 30) {
    this.size = size;
    this.values = [];
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > this.size) this.values.shift();
  }

  get value() {
    if (!this.values.length) return 0;
    const sorted = [...this.values].sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  }

  reset() {
    this.values = [];
  }
}

/** `from` moved towards `to` for `dtS` seconds at the time constant `tauS`. */
export function ease(from, to, dtS, tauS) {
  return to + (from - to) * Math.exp(-Math.max(dtS, 0) / tauS);
}

export const WIDTHS = [640, 480, 320];

/**
 * How large the pictures are and how many may be on their way at once.
 *
 * A slow network (the round trip less the server's own time) makes them smaller, a fast one larger
 * again; a server that drops what it is sent gets one at a time for a while.
 */
export class Pace {
  constructor() {
    this.reset();
  }

  reset() {
    this.step = 0;
    this.network = new Median(15);
    this.changedMs = -Infinity;
    this.singleUntilMs = -Infinity;
    this.dropped = 0;
  }

  get widthPx() {
    return WIDTHS[this.step];
  }

  /** Pictures that may be unanswered at this time. */
  inFlight(nowMs) {
    return nowMs < this.singleUntilMs ? 1 : 2;
  }

  /** Learn from one answer: round trip and the server's share of it in ms, drops so far. */
  answered(nowMs, roundTripMs, serverMs, dropped) {
    this.network.add(Math.max(roundTripMs - serverMs, 0));
    if (dropped > this.dropped) this.singleUntilMs = nowMs + 5000;
    this.dropped = dropped;
    if (nowMs - this.changedMs < 3000 || this.network.values.length < 10) return;
    const network = this.network.value;
    const step = this.step + (network > 350 ? 1 : network < 120 ? -1 : 0);
    if (step !== this.step && step >= 0 && step < WIDTHS.length) {
      this.step = step;
      this.changedMs = nowMs;
      this.network.reset();
    }
  }
}
