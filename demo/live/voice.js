// What a screen reader says: changes of state at once, the reading seldom and only once it holds.

const HOLD_MS = 1500;
const APART_MS = 6000;

export class Voice {
  constructor(element) {
    this.element = element;
    this.candidate = "";
    this.sinceMs = 0;
    this.said = "";
    this.saidMs = -Infinity;
  }

  say(words) {
    if (this.element.textContent !== words) this.element.textContent = words;
  }

  /** The reading of now; it is said once it has held, and not soon after the last. */
  label(label, nowMs) {
    if (label !== this.candidate) {
      this.candidate = label;
      this.sinceMs = nowMs;
    }
    const holds = nowMs - this.sinceMs >= HOLD_MS && nowMs - this.saidMs >= APART_MS;
    if (!holds || label === this.said) return;
    this.said = label;
    this.saidMs = nowMs;
    this.say(`Reads as ${label}`);
  }
}
