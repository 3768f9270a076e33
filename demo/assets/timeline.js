// The clip over time: a row per face with bands of its leading word and its strength; scrubbed by
// pointer or keys.

import { make } from "../../live/bars.js";
import { toneOf } from "../../live/tones.js";

const MOST_ROWS = 6;
const WIDE = 1000;
const TALL = 100;

export class Timeline {
  /** `view` is the server's document; `seek`, `choose` and `toggle` tell the viewer. */
  constructor(root, view, { seek, choose, toggle }) {
    this.view = view;
    this.seek = seek;
    this.root = root;
    this.duration = Math.max(view.duration_s, 0.04);
    const shown = view.faces.slice(0, MOST_ROWS);
    this.rows = shown.map((face) => this._row(face, choose));
    this.names = make("div", "fs-names");
    this.track = make("div", "fs-tracks");
    this.head = make("div", "fs-playhead");
    this.track.append(...this.rows.map(({ track }) => track), this._scale(), this.head);
    this.names.append(...this.rows.map(({ name }) => name));
    root.append(this.names, this.track);
    this._slider(toggle);
  }

  /** Move the playhead; `text` is what a screen reader says of the place. */
  show(timeS, text) {
    this.timeS = timeS;
    this.head.style.left = `${(100 * Math.min(timeS, this.duration)) / this.duration}%`;
    this.track.setAttribute("aria-valuenow", timeS.toFixed(2));
    this.track.setAttribute("aria-valuetext", text);
  }

  choose(face) {
    for (const row of this.rows) row.track.classList.toggle("chosen", row.face === face);
  }

  _row(face, choose) {
    const name = make("button", "fs-chip", `Face ${face.id}`);
    name.type = "button";
    name.dataset.face = face.id;
    name.addEventListener("click", () => choose(face));
    const track = make("div", "fs-track");
    track.append(this._strength(face), ...face.bands.map((band) => this._band(band)));
    return { face, name, track };
  }

  _band(band) {
    const element = make("div", "fs-band", band.label);
    element.style.left = `${(100 * band.from) / this.duration}%`;
    element.style.width = `${(100 * (band.to - band.from)) / this.duration}%`;
    element.dataset.tone = toneOf(band.label, this.view.legend.family_of, "plain");
    element.classList.toggle("unsure", Boolean(band.u));
    element.title = `${band.label}${band.u ? " (uncertain)" : ""}, ${clock(band.from)} to ${clock(band.to)}`;
    return element;
  }

  /** How strong the expression is over time. */
  _strength(face) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDE} ${TALL}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const gap = Math.max(4 * this.view.step_s, 0.3);
    let stretch = [];
    const flush = () => {
      if (stretch.length) svg.append(this._area(stretch));
      stretch = [];
    };
    face.t.forEach((timeS, at) => {
      if (at && timeS - face.t[at - 1] > gap) flush();
      stretch.push([timeS, face.moments[at].i]);
    });
    flush();
    return svg;
  }

  _area(points) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const x = (timeS) => ((WIDE * timeS) / this.duration).toFixed(1);
    const last = points[points.length - 1][0] + this.view.step_s;
    const line = points.map(([timeS, much]) => `L${x(timeS)} ${(TALL * (1 - much)).toFixed(1)}`);
    const end = (TALL * (1 - points[points.length - 1][1])).toFixed(1);
    path.setAttribute("d", `M${x(points[0][0])} ${TALL}${line.join("")}L${x(last)} ${end}V${TALL}Z`);
    return path;
  }

  _scale() {
    const scale = make("div", "fs-scale");
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60].find((s) => this.duration / s <= 8) ?? 120;
    for (let timeS = 0; timeS < this.duration * 0.97; timeS += step) {
      const mark = scale.appendChild(make("span", "", clock(timeS, step)));
      mark.style.left = `${(100 * timeS) / this.duration}%`;
    }
    return scale;
  }

  _slider(toggle) {
    const track = this.track;
    track.tabIndex = 0;
    track.setAttribute("role", "slider");
    track.setAttribute("aria-label", "Place in the clip");
    track.setAttribute("aria-valuemin", "0");
    track.setAttribute("aria-valuemax", this.duration.toFixed(2));
    const at = ({ clientX }) => {
      const { left, width } = track.getBoundingClientRect();
      this.seek(((clientX - left) / width) * this.duration);
    };
    track.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      track.setPointerCapture(event.pointerId);
      at(event);
    });
    track.addEventListener("pointermove", (event) => {
      if (track.hasPointerCapture(event.pointerId)) at(event);
    });
    track.addEventListener("keydown", (event) => {
      const step = this.view.step_s;
      const to = {
        ArrowLeft: this.timeS - Math.max(step, 0.1),
        ArrowRight: this.timeS + Math.max(step, 0.1),
        ArrowDown: this.timeS - step,
        ArrowUp: this.timeS + step,
        PageDown: this.timeS - 1,
        PageUp: this.timeS + 1,
        Home: 0,
        End: this.duration,
      }[event.key];
      if (to !== undefined) this.seek(to);
      else if (event.key === " ") toggle();
      else return;
      event.preventDefault();
    });
  }
}

/** Seconds as 0:03.4; whole seconds where `step` is a second or more. */
export function clock(timeS, step = 0) {
  const tenths = Math.round(timeS * 10);
  const minutes = Math.floor(tenths / 600);
  const seconds = (tenths % 600) / 10;
  const text = step >= 1 ? String(Math.round(seconds)).padStart(2, "0") : seconds.toFixed(1).padStart(4, "0");
  return `${minutes}:${text}`;
}
