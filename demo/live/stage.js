// The picture: the video with a box per face, or, blurred, answered pictures with covered faces.
//
// A face that comes into view is found a moment later. Blurred, pictures are therefore held back
// for longer than that takes, and a face is covered in them before it was found, too.

import { make } from "./bars.js";

const HOLD_MS = 700; // the server looks for new faces every half second
const REMEMBER_MS = 1500; // a face not found for a moment stays covered where it was
const GROW = 1.5; // covers are this much larger than the face's box
const CELLS = 7; // a covered face has this many cells across

/** A box `[x, y, w, h]` grown about its centre, within a picture of `[width, height]`. */
export function grown([x, y, w, h], factor, [width, height]) {
  const [cx, cy] = [x + w / 2, y + h / 2];
  const left = Math.max(Math.floor(cx - (w * factor) / 2), 0);
  const top = Math.max(Math.floor(cy - (h * factor) / 2), 0);
  const right = Math.min(Math.ceil(cx + (w * factor) / 2), width);
  const bottom = Math.min(Math.ceil(cy + (h * factor) / 2), height);
  return [left, top, Math.max(right - left, 0), Math.max(bottom - top, 0)];
}

/** Pixelate a part of a canvas so coarsely that nobody can be told from it. */
export function pixelate(brush, [x, y, w, h], small, cells = CELLS) {
  if (w < 1 || h < 1) return;
  small.width = cells;
  small.height = Math.max(Math.round((cells * h) / w), 1);
  const tiny = small.getContext("2d");
  tiny.imageSmoothingQuality = "high"; // an average of all pixels, not a few of them
  tiny.drawImage(brush.canvas, x, y, w, h, 0, 0, small.width, small.height);
  brush.imageSmoothingEnabled = false;
  brush.drawImage(small, 0, 0, small.width, small.height, x, y, w, h);
  brush.imageSmoothingEnabled = true;
}

/**
 * Where faces are to be covered in a picture of the time `atMs`.
 *
 * `seen` holds `{id, box, timeMs}` of what was found before and since. A face that was not found
 * in the picture itself, but shortly before or after, is covered at its nearest place in time.
 */
export function placesAt(seen, atMs) {
  const nearest = new Map();
  for (const { id, box, timeMs } of seen) {
    const apart = Math.abs(timeMs - atMs);
    if (timeMs < atMs - REMEMBER_MS || apart >= (nearest.get(id)?.apart ?? Infinity)) continue;
    nearest.set(id, { box, apart });
  }
  return [...nearest.values()].map(({ box }) => box);
}

/** Draws into the elements of the panel's stage. */
export class Stage {
  constructor({ video, canvas, boxes }, onPick) {
    this.video = video;
    this.canvas = canvas;
    this.layer = boxes;
    this.onPick = onPick;
    this.small = document.createElement("canvas");
    this.held = [];
    this.spare = [];
    this.seen = [];
    this.boxes = new Map();
    this.mirrored = true;
    this.blurred = false;
  }

  setMirrored(mirrored) {
    this.mirrored = mirrored;
    this.video.classList.toggle("mirrored", mirrored);
    this.canvas.classList.toggle("mirrored", mirrored);
  }

  /** Blurred, the video itself is never shown. */
  setBlurred(blurred) {
    this.blurred = blurred;
    // Not taken out of the page: some browsers would stop playing it.
    this.video.classList.toggle("veiled", blurred);
    this.canvas.hidden = !blurred;
    this.clear();
  }

  /** Show an answer: `faces` as `{id, box, number, text, tone, picked}`, boxes in pixels of `size`. */
  show(faces, size, picture, nowMs) {
    if (!this.blurred) {
      this._boxes(faces, size);
      return;
    }
    if (picture) this._hold(faces, size, picture, nowMs);
    let due = null;
    while (this.held.length && nowMs - this.held[0].timeMs >= HOLD_MS) {
      if (due) this.spare.push(due.canvas);
      due = this.held.shift();
    }
    if (!due) return;
    this._drawCovered(due);
    this._boxes(due.faces, due.size);
    this.spare.push(due.canvas);
  }

  clear() {
    for (const box of this.boxes.values()) box.remove();
    this.boxes.clear();
    this.held = [];
    this.spare = [];
    this.seen = [];
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Keep a copy of the picture until its time has come. */
  _hold(faces, size, picture, timeMs) {
    const canvas = this.spare.pop() ?? document.createElement("canvas");
    resize(canvas, size);
    canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0, ...size);
    this.held.push({ canvas, size, faces, timeMs });
    for (const { id, box } of faces) this.seen.push({ id, box, timeMs });
    const oldestMs = timeMs - HOLD_MS - REMEMBER_MS - 500;
    while (this.seen.length && this.seen[0].timeMs < oldestMs) this.seen.shift();
  }

  _drawCovered({ canvas, size, timeMs }) {
    resize(this.canvas, size);
    const brush = this.canvas.getContext("2d");
    brush.drawImage(canvas, 0, 0);
    for (const box of placesAt(this.seen, timeMs)) pixelate(brush, grown(box, GROW, size), this.small);
  }

  _boxes(faces, size) {
    const there = new Set(faces.map(({ id }) => id));
    this.layer.classList.toggle("several", faces.length > 1);
    for (const [id, box] of this.boxes) {
      if (there.has(id)) continue;
      box.remove();
      this.boxes.delete(id);
    }
    for (const face of faces) this._box(face, size);
  }

  /** Place one face's box, in shares of the stage, so that it fits at every size. */
  _box({ id, box: [x, y, w, h], number, text, tone, picked }, [width, height]) {
    let box = this.boxes.get(id);
    if (!box) {
      box = make("button", "face");
      box.type = "button";
      box.tabIndex = -1; // the tabs of people do the same for the keyboard
      box.dataset.id = id;
      const tag = make("span", "tag");
      tag.append(make("b"), make("span"));
      box.append(tag);
      box.addEventListener("click", () => this.onPick(id));
      this.boxes.set(id, box);
      this.layer.append(box);
    }
    const left = this.mirrored ? width - x - w : x;
    box.style.left = `${(100 * left) / width}%`;
    box.style.top = `${(100 * y) / height}%`;
    box.style.width = `${(100 * w) / width}%`;
    box.style.height = `${(100 * h) / height}%`;
    box.dataset.tone = tone;
    box.classList.toggle("picked", picked);
    // Where there is no room above the box, or to its right, the tag goes elsewhere.
    box.classList.toggle("high", y / height < 0.09);
    box.classList.toggle("far", left / width > 0.7);
    const [own, words] = box.firstChild.children;
    own.textContent = number;
    words.textContent = text;
    box.setAttribute("aria-label", `Person ${id}: ${text}`);
  }
}

function resize(canvas, [width, height]) {
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}
