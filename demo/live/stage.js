// The picture: the video with a box per face, or, blurred, the last picture that was answered.

import { make } from "./bars.js";

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

/** The places to cover: faces now and those seen within the last moment and a half. */
export class Covers {
  constructor() {
    this.seen = new Map();
  }

  update(faces, nowMs) {
    for (const { id, box } of faces) this.seen.set(id, { box, nowMs });
    for (const [id, { nowMs: then }] of this.seen) {
      if (nowMs - then > REMEMBER_MS) this.seen.delete(id);
    }
    return [...this.seen.values()].map(({ box }) => box);
  }
}

/** Draws into the elements of the panel's stage. */
export class Stage {
  constructor({ video, canvas, boxes }, onPick) {
    this.video = video;
    this.canvas = canvas;
    this.layer = boxes;
    this.onPick = onPick;
    this.small = document.createElement("canvas");
    this.covers = new Covers();
    this.boxes = new Map();
    this.mirrored = true;
    this.blurred = false;
  }

  setMirrored(mirrored) {
    this.mirrored = mirrored;
    this.video.classList.toggle("mirrored", mirrored);
    this.canvas.classList.toggle("mirrored", mirrored);
  }

  /** Blurred, the video itself is never shown: only answered pictures, their faces covered. */
  setBlurred(blurred) {
    this.blurred = blurred;
    this.video.hidden = blurred;
    this.canvas.hidden = !blurred;
    const brush = this.canvas.getContext("2d");
    brush.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Show an answer: `faces` as `{id, box, text, tone, picked}`, boxes in pixels of `size`. */
  show(faces, size, picture, nowMs) {
    const places = this.covers.update(faces, nowMs);
    if (this.blurred && picture) this._drawCovered(picture, size, places);
    const there = new Set(faces.map(({ id }) => id));
    for (const [id, box] of this.boxes) {
      if (there.has(id)) continue;
      box.remove();
      this.boxes.delete(id);
    }
    for (const face of faces) this._box(face, size);
  }

  clear() {
    for (const box of this.boxes.values()) box.remove();
    this.boxes.clear();
    this.covers = new Covers();
    this.setBlurred(this.blurred);
  }

  _drawCovered(picture, [width, height], places) {
    const { canvas } = this;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const brush = canvas.getContext("2d", { alpha: false });
    brush.drawImage(picture, 0, 0, width, height);
    for (const box of places) pixelate(brush, grown(box, GROW, [width, height]), this.small);
  }

  /** Place one face's box, in shares of the stage, so that it fits at every size. */
  _box({ id, box: [x, y, w, h], text, tone, picked }, [width, height]) {
    let box = this.boxes.get(id);
    if (!box) {
      box = make("button", "face");
      box.type = "button";
      box.tabIndex = -1; // the tabs of people do the same for the keyboard
      box.dataset.id = id;
      box.append(make("span", "tag"));
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
    box.firstChild.textContent = text;
    box.setAttribute("aria-label", `Person ${id}: ${text}`);
  }
}
