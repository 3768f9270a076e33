// Sends pictures of the video as fast as it is of use, and measures how that goes.

import { Median, Pace, Rate } from "./meter.js";
import { everyPicture, Pictures } from "./pictures.js";

const EVERY_MS = 50; // twenty pictures a second: more would show nothing new
const MOST_BACKLOG = 400_000; // bytes the network has yet to take

export class Sender {
  constructor(video) {
    this.video = video;
    this.pictures = new Pictures();
    this.pace = new Pace();
    this.rate = new Rate();
    this.delay = new Median(20);
    this.link = null;
  }

  /** Follow the video until `end`; pictures go to the link of the moment, if there is one. */
  begin() {
    this.dueMs = -Infinity;
    this.halt = everyPicture(this.video, () => this._send());
  }

  end() {
    this.halt?.();
    this.pictures.clear();
    this.use(null);
  }

  /** Send to this link from now on; a new connection is measured anew. */
  use(link) {
    this.link = link;
    this.pace.reset();
    this.forget();
  }

  /** Start measuring anew. */
  forget() {
    this.rate.reset();
    this.delay.reset();
  }

  /** Learn from an answer to the picture taken at `sentMs`. */
  answered(row, sentMs, nowMs) {
    this.pace.answered(nowMs, nowMs - sentMs, row.server_ms, row.dropped);
    this.rate.add(nowMs);
    this.delay.add(nowMs - sentMs);
  }

  /** Send the present picture, if there is room for it on the way. */
  async _send() {
    const nowMs = performance.now();
    const { link } = this;
    if (this.taking || !link?.ready || document.hidden) return;
    if (nowMs < this.dueMs || link.backlog > MOST_BACKLOG) return;
    if (link.unanswered >= this.pace.inFlight(nowMs)) return;
    this.taking = true;
    // On average, as the camera's pictures rarely come just when one is due.
    this.dueMs = Math.max(this.dueMs, nowMs - EVERY_MS) + EVERY_MS;
    try {
      const { canvas, blob } = await this.pictures.take(this.video, this.pace.widthPx);
      if (blob && link === this.link) link.send(blob, canvas, nowMs);
      else this.pictures.giveBack(canvas);
    } finally {
      this.taking = false;
    }
  }
}
