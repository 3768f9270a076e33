// Looking through a scored clip: the video, what is read at the moment, the timeline, the summary.

import { Bars, make, percent } from "../../live/bars.js";
import { movements } from "../../live/names.js";
import { PLANE, WAY_S, drawPlane, signed } from "../../live/plane.js";
import { Arrangement } from "../../live/ranking.js";
import { addTones, toneOf } from "../../live/tones.js";
import { Timeline, clock } from "./timeline.js";

const FILES = {
  "rows.jsonl": ["JSON lines", "every frame, every face"],
  "rows.csv": ["CSV", "a row per face and frame"],
  "subtitles.vtt": ["Subtitles", "WebVTT, the leading words"],
  "annotated.mp4": ["Video", "MP4 with everything drawn in"],
  "annotated.png": ["Picture", "PNG with everything drawn in"],
};

const VIEW = `
  <header class="fs-clip-head">
    <div><h2 tabindex="-1"></h2><p class="fs-small" data-facts></p></div>
    <div class="fs-choices">
      <button type="button" class="fs-button" data-do="delete">Delete, choose another</button>
    </div>
  </header>
  <div class="fs-stage">
    <div class="fs-left">
      <div class="fs-video"><video playsinline preload="auto" muted disablepictureinpicture
        disableremoteplayback></video></div>
      <section class="fs-time" aria-label="Timeline">
        <div class="fs-play">
          <button type="button" class="fs-button round" data-do="play" aria-label="Play">
            <svg viewBox="0 0 24 24" aria-hidden="true"><path class="go" d="M8 5.5v13l11-6.5z"/>
            <path class="halt" d="M7 5.5h3.5v13H7zM13.5 5.5H17v13h-3.5z"/></svg></button>
          <span data-clock></span>
          <label class="fs-speed">Speed <select name="speed">
            <option value="0.25">¼</option><option value="0.5">½</option>
            <option value="1" selected>1</option></select></label>
          <span class="fs-small fs-hint">Drag along the timeline, or use the arrow keys</span>
        </div>
        <div class="fs-timeline"></div>
      </section>
    </div>
    <section class="fs-now" aria-label="At this moment">
      <div class="fs-faces" role="group" aria-label="Faces"></div>
      <div><div class="fs-lead"><i class="fs-dot"></i><b data-label></b><em hidden>uncertain</em></div>
        <p class="fs-much fs-small"><span data-much></span><span data-time></span></p></div>
      <div class="fs-title"><h3>Closest words</h3>
        <span class="fs-small" data-quiet hidden>nothing shows; faintly this one</span></div>
      <ol class="fs-bars"></ol>
      <ol class="fs-unseen" aria-label="Most fitting words"></ol>
      <section class="fs-affect" aria-label="Valence and arousal" hidden>${PLANE}</section>
      <h3>Families</h3>
      <div class="fs-families" aria-hidden="true"></div>
      <ul class="fs-legend" aria-label="Families"></ul>
      <ul class="fs-moves" aria-label="Movements of the face"></ul>
    </section>
  </div>
  <section aria-labelledby="fs-summary-name">
    <h3 id="fs-summary-name">Over the whole clip</h3>
    <div class="fs-summary"></div>
  </section>
  <section aria-labelledby="fs-files-name">
    <h3 id="fs-files-name">Download</h3>
    <ul class="fs-files"></ul>
  </section>`;

export class Viewer {
  /**
   * `view` is the server's document, `drawn` the address of the video or, where it is one picture,
   * of that; `files` is a list of {name, href}.
   */
  constructor(root, view, { drawn, files }) {
    this.view = view;
    this.root = root;
    addTones(document, view.legend.colours);
    root.innerHTML = VIEW;
    this.find = (selector) => root.querySelector(selector);
    this.find("h2").textContent = view.source;
    this.find("[data-facts]").textContent = facts(view);
    this.video = this.find("video");
    this.bars = new Bars(this.find(".fs-bars"), { size: 10, spoken: this.find(".fs-unseen") });
    this.arrangement = new Arrangement(view.legend.family_of);
    this.tellsAffect = view.faces.some(({ moments }) => moments[0]?.va);
    this.face = view.faces[0] ?? null;
    this.timeS = view.still ? (this.face?.t[0] ?? 0) : 0;
    this._faces();
    if (view.still) this._still(drawn);
    else this._moving(drawn);
    this._summary();
    this._files(files);
    this.choose(this.face);
  }

  _tone(word) {
    return toneOf(word, this.view.legend.family_of, "plain");
  }

  /** A picture is shown as one: nothing plays, nothing is scrubbed. */
  _still(drawn) {
    const picture = make("img");
    picture.src = drawn;
    picture.alt = `${this.view.source}, annotated`;
    this.video.replaceWith(picture);
    this.video = null;
    this.find(".fs-time").remove();
    this.find("#fs-summary-name").textContent = "In the picture";
  }

  _moving(drawn) {
    this.video.setAttribute("aria-label", `${this.view.source}, annotated`);
    this.timeline = new Timeline(this.find(".fs-timeline"), this.view, {
      seek: (timeS) => this.seek(timeS),
      choose: (face) => this.choose(face),
      toggle: () => this.toggle(),
    });
    this.video.addEventListener("click", () => this.toggle());
    this.find("[data-do=play]").addEventListener("click", () => this.toggle());
    this.find("[name=speed]").addEventListener("change", ({ target }) => {
      this.video.playbackRate = Number(target.value);
    });
    for (const name of ["play", "pause", "ended"]) {
      this.video.addEventListener(name, () => this._playing(!this.video.paused));
    }
    for (const name of ["seeking", "seeked", "loadeddata", "pause"]) {
      this.video.addEventListener(name, () => this.show(this.video.currentTime));
    }
    this.video.addEventListener("play", () => this._run());
    this.video.addEventListener("error", () => {
      this.find(".fs-video").append(
        make("p", "fs-fault", "This browser cannot play the video; it can be downloaded below."),
      );
    });
    this.video.src = drawn;
  }

  close() {
    cancelAnimationFrame(this.running);
    this.video?.removeAttribute("src");
    this.video?.load();
  }

  /** Play, from the start again where it is at its end, or pause. */
  toggle() {
    if (!this.video.paused) this.video.pause();
    else this.video.play().catch(() => {});
  }

  _playing(on) {
    const button = this.find("[data-do=play]");
    button.setAttribute("aria-label", on ? "Pause" : "Play");
    button.classList.toggle("on", on);
  }

  seek(timeS) {
    const last = Math.max(this.view.duration_s - this.view.step_s / 2, 0);
    this.wanted = Math.min(Math.max(timeS, 0), last);
    this.video.currentTime = this.wanted;
    this.show(this.wanted);
  }

  /** Show what is read in one face. */
  choose(face) {
    this.face = face;
    for (const button of this.root.querySelectorAll("[data-face]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.face) === face?.id));
    }
    this.timeline?.choose(face);
    this.bars.clear();
    this.arrangement.clear();
    this.show(this.timeS);
  }

  show(timeS) {
    this.timeS = timeS;
    const moment = this.face && momentAt(this.face, timeS, this.view.step_s);
    if (this.timeline) {
      this.timeline.show(timeS, said(timeS, moment, this.view));
      this.find("[data-time]").textContent = clock(timeS);
      this.find("[data-clock]").textContent = `${clock(timeS)} / ${clock(this.view.duration_s)}`;
    }
    this.find(".fs-now").classList.toggle("empty", !moment);
    this._lead(moment);
    this._words(moment);
    this._affect(moment, timeS);
    this._families(moment);
    this._moves(moment);
  }

  _lead(moment) {
    const label = moment ? moment.l : this.view.faces.length ? "not in the picture" : "no face";
    this.find("[data-label]").textContent = label;
    this.find(".fs-dot").dataset.tone = moment ? this._tone(moment.l) : "";
    this.find(".fs-lead em").hidden = !moment?.u;
    this.find("[data-much]").textContent = moment ? much(moment) : "";
  }

  _words(moment) {
    const { words } = this.view.legend;
    const quiet = moment?.l === "neutral";
    const named = (moment?.w ?? []).map(([at, p]) => ({ word: words[at], p }));
    // While it plays the words keep their places; where it stands they are in order.
    const stands = this.video?.paused ?? true;
    const ranked = quiet
      ? named
      : this.arrangement.show(named, moment?.l, performance.now() / 1000, stands);
    const longest = Math.max(named[0]?.p ?? 0, 0.05);
    this.find("[data-quiet]").hidden = !quiet;
    this.bars.list.classList.toggle("faint", Boolean(quiet || moment?.u));
    this.bars.show(
      ranked.map(({ word, p, joined }) => ({
        key: word,
        text: word,
        value: percent(p),
        share: p / longest,
        tone: this._tone(word),
        joined,
      })),
      performance.now(),
    );
  }

  _affect(moment, timeS) {
    const part = this.find(".fs-affect");
    part.hidden = !this.tellsAffect;
    part.classList.toggle("away", !moment?.va);
    if (!moment?.va) return;
    const way = placesTo(this.face, timeS);
    const [canvas, valence, arousal] = part.querySelectorAll("canvas, [data-valence], [data-arousal]");
    const style = getComputedStyle(this.find(".fs-lead .fs-dot"));
    const line = getComputedStyle(part).borderColor;
    drawPlane(canvas, way, { tone: style.getPropertyValue("--tone"), line });
    valence.textContent = signed(moment.va[0]);
    arousal.textContent = signed(moment.va[1]);
  }

  _families(moment) {
    const { families } = this.view.legend;
    const bar = this.find(".fs-families");
    const list = this.find(".fs-legend");
    if (!bar.children.length) {
      for (const name of [...families, "neutral"]) {
        const part = bar.appendChild(make("i"));
        part.dataset.tone = name;
        const item = list.appendChild(make("li"));
        const dot = item.appendChild(make("i", "fs-dot"));
        dot.dataset.tone = name;
        item.append(make("span", "", name), make("span", "fs-value"));
      }
    }
    const shares = moment ? [...moment.f, moment.n] : [];
    [...bar.children].forEach((part, at) => (part.style.flexGrow = shares[at] ?? 0));
    [...list.children].forEach((item, at) => {
      item.lastChild.textContent = moment ? percent(shares[at]) : "";
    });
  }

  _moves(moment) {
    const { units } = this.view.legend;
    const named = Object.fromEntries((moment?.m ?? []).map(([at, value]) => [units[at], value]));
    const strongest = Object.entries(movements(named)).filter(([, value]) => value >= 0.15);
    this.find(".fs-moves").replaceChildren(
      ...strongest.slice(0, 4).map(([name, value]) => {
        const item = make("li", "", name);
        item.style.setProperty("--much", value);
        return item;
      }),
    );
  }

  _faces() {
    const group = this.find(".fs-faces");
    group.hidden = this.view.faces.length < 2;
    group.append(
      ...this.view.faces.slice(0, 12).map((face) => {
        const button = make("button", "fs-chip", `Face ${face.id}`);
        button.type = "button";
        button.dataset.face = face.id;
        button.addEventListener("click", () => this.choose(face));
        return button;
      }),
    );
  }

  _summary() {
    const cards = this.view.faces.slice(0, 12).map((face) => this._card(face));
    const { still } = this.view;
    if (!cards.length) cards.push(make("p", "", `Nobody was seen in this ${still ? "picture" : "clip"}.`));
    const more = this.view.faces.length - 12;
    if (more > 0) cards.push(make("p", "fs-small", `and ${more} more${still ? "" : ", seen for a shorter time"}`));
    this.find(".fs-summary").append(...cards);
  }

  _card(face) {
    const card = make("article", "fs-card");
    const head = make("header");
    const dot = head.appendChild(make("i", "fs-dot"));
    dot.dataset.tone = this._tone(face.label);
    head.append(make("b", "", face.label), make("span", "fs-small", `Face ${face.id}`));
    const words = make("ul", face.label === "neutral" ? "fs-words faint" : "fs-words");
    const longest = Math.max(face.top[0]?.p ?? 0, 0.01);
    for (const { word, p } of face.top.slice(0, 5)) {
      const item = words.appendChild(make("li"));
      const bar = item.appendChild(make("i"));
      bar.style.transform = `scaleX(${(p / longest).toFixed(3)})`;
      bar.dataset.tone = this._tone(word);
      item.append(make("span", "", word), make("span", "fs-value", percent(p)));
    }
    const seen = `${clock(face.from_s)} to ${clock(face.to_s)}`;
    const { still } = this.view;
    const doubt = face.uncertain > 0.5 ? `, uncertain${still ? "" : " for most of it"}` : "";
    const line = `${still ? "" : `Seen ${seen}. `}${shows(face)}${doubt}.`;
    card.append(head, words, make("p", "fs-small", line));
    return card;
  }

  _files(files) {
    this.find(".fs-files").append(
      ...files.map(({ name, href }) => {
        const [title, what] = FILES[name] ?? [name, ""];
        const item = make("li");
        const link = item.appendChild(make("a", "fs-file"));
        link.href = href;
        link.setAttribute("download", "");
        link.append(make("b", "", title), make("span", "fs-small", what));
        return item;
      }),
    );
  }

  _run() {
    cancelAnimationFrame(this.running);
    const step = () => {
      this.show(this.video.currentTime);
      if (!this.video.paused && !this.video.ended) this.running = requestAnimationFrame(step);
    };
    step();
  }
}

/** What is read in a face at a time, or null where it is not seen. */
export function momentAt(face, timeS, stepS) {
  const times = face.t;
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= timeS + 1e-3) low = middle + 1;
    else high = middle;
  }
  const at = low - 1;
  return at >= 0 && timeS - times[at] <= Math.max(2 * stepS, 0.1) ? face.moments[at] : null;
}

/** Where a face was in the plane of valence and arousal, up to a time. */
function placesTo(face, timeS) {
  const places = [];
  face.t.forEach((at, place) => {
    const va = face.moments[place].va;
    if (va && at <= timeS + 1e-3 && at > timeS - WAY_S) {
      places.push({ timeS: at, valence: va[0], arousal: va[1] });
    }
  });
  return places;
}

/** How strong an expression is, or how surely there is none. */
const much = ({ l, n, i }) => (l === "neutral" ? share(n) : `strength ${share(i)}`);

/** What a face showed over the clip, in one sentence. */
function shows(face) {
  if (face.label === "neutral") return `Neutral ${share(face.neutral)}, nothing else shows`;
  const affect =
    face.valence === undefined
      ? ""
      : `, valence ${signed(face.valence)}, arousal ${signed(face.arousal)}`;
  const some = face.expressive < 1 ? `Shows in ${share(face.expressive)} of it, with strength` : "Strength";
  return `${some} ${share(face.intensity)}${affect}`;
}

function said(timeS, moment, view) {
  if (!moment) return `${clock(timeS)}, no face`;
  const [at, p] = moment.w[0];
  const label = moment.l === "neutral" ? `neutral, ${percent(moment.n)}` : `${view.legend.words[at]}, ${percent(p)}`;
  return `${clock(timeS)}, ${label}${moment.u ? ", uncertain" : ""}`;
}

/** A share that is not broken at the end of a line. */
const share = (p) => percent(p).replace(" ", "\u00a0");

function facts(view) {
  const count = view.faces.length;
  const faces = count === 1 ? "1 face" : `${count || "no"} faces`;
  const length = view.still ? ["picture"] : [clock(view.duration_s), `${view.frames} frames`];
  const parts = [...length, faces];
  if (view.blurred) parts.push(`faces blurred in the ${view.still ? "picture" : "video"}`);
  return [parts.join(" · "), ...view.notes].join(" · ");
}
