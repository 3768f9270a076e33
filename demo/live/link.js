// The way to the server and back: one WebSocket, reopened when it is lost.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;
const SILENCE_MS = 8000; // a server that answers nothing for so long is as good as gone
const PATIENCE = 3; // pictures refused one after the other, until the refusal is shown
const OF_A_PICTURE = new Set(["failed", "unsupported", "too_large"]); // errors in place of an answer

/** How long to wait before the nth try in a row, with some chance so that not all come at once. */
export function waitMs(tries, chance = Math.random()) {
  return Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS) * (0.75 + 0.5 * chance);
}

/** What to tell a person about an error the server named. */
export function serverFault({ code = "", message = "" } = {}) {
  switch (code) {
    case "full":
      return `The server is full (${message.split(":")[0]}). Trying again by itself.`;
    case "closing":
      return "The server is closing or starting anew. Trying again by itself.";
    case "idle":
    case "slow":
      return "The connection was too slow. Trying again by itself.";
    default:
      return `The server cannot read these pictures: ${message || code || "no reason given"}`;
  }
}

/** What to tell a person about a connection that is gone, tried again so many times. */
export function lostWords(tries) {
  if (tries <= 3) return "The connection was lost. Trying again by itself.";
  return "The server cannot be reached. Is it still running? If it asks for a login, reload this page.";
}

/**
 * Sends pictures, hands out answers, comes back after a loss.
 *
 * `on` holds callbacks: `open()`, `answer(row, {sentMs, picture})`, `fault(words)` for what
 * the server refuses, `lost(tries)` when the connection is gone and tried again, and
 * `release(picture)` for each picture that is done with.
 */
export class Link {
  constructor(url, on, { top = 20 } = {}) {
    this.url = url;
    this.on = on;
    this.options = { top };
    this.tries = 0;
    this.over = false;
    this.refused = 0;
    this._begin();
  }

  get ready() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Pictures on their way. */
  get unanswered() {
    return this.waiting.length;
  }

  /** Bytes that the network has not taken yet. */
  get backlog() {
    return this.socket?.bufferedAmount ?? 0;
  }

  /** Send one picture; `picture` comes back with its answer. */
  send(blob, picture, nowMs) {
    if (!this.ready) {
      this.on.release(picture);
      return;
    }
    this.socket.send(blob);
    this.waiting.push({ number: this.sent, sentMs: nowMs, picture });
    this.sent += 1;
    this._listen();
  }

  /** Close for good. */
  close() {
    this.over = true;
    clearTimeout(this.timer);
    this._drop();
    this.socket?.close(1000);
  }

  _begin() {
    this.waiting = [];
    this.sent = 0;
    this.dropped = 0;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.named = null; // the error the server gave before it closed
    socket.onopen = () => {
      socket.send(JSON.stringify(this.options));
      this.on.open();
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.socket && !this.over) this._take(JSON.parse(data));
    };
    socket.onclose = () => {
      if (socket === this.socket && !this.over) this._again();
    };
  }

  /** One message: an answer, or an error. */
  _take(message) {
    if (message.error) {
      this.named = message.error;
      if (!OF_A_PICTURE.has(message.error.code)) return;
      this.refused += 1;
      this._release(this.waiting.shift());
      if (this.refused >= PATIENCE) this.on.fault(serverFault(message.error));
      return;
    }
    if (!("faces" in message)) return;
    this.tries = 0;
    this.refused = 0;
    this.named = null;
    const at = this.waiting.findIndex(({ number }) => number === message.frame);
    // Pictures before the one answered were dropped for newer ones.
    for (const passed of this.waiting.splice(0, Math.max(at, 0))) this._release(passed);
    const answered = this.waiting.shift();
    this._listen();
    if (!answered) return;
    this.on.answer(message, answered);
    this.on.release(answered.picture);
  }

  /** Hold the silence against the server while something is unanswered. */
  _listen() {
    clearTimeout(this.timer);
    if (this.waiting.length) {
      this.timer = setTimeout(() => this.socket.close(4000, "no answer"), SILENCE_MS);
    }
  }

  _again() {
    clearTimeout(this.timer);
    this._drop();
    const wait = waitMs(this.tries);
    this.tries += 1;
    if (this.named) this.on.fault(serverFault(this.named));
    else this.on.lost(this.tries);
    this.timer = setTimeout(() => this._begin(), wait);
  }

  _release(entry) {
    if (entry) this.on.release(entry.picture);
  }

  _drop() {
    for (const entry of this.waiting) this._release(entry);
    this.waiting = [];
  }
}
