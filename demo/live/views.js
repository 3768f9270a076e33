// What every panel shows of the faces in view: boxes in the picture, a reading, the strip of
// moments, and what was read so far, to be saved. A panel gives it answers; where pictures and
// answers come from is the panel's own.

import { People } from "./people.js";
import { Reading } from "./reading.js";
import { Record, save } from "./record.js";
import { Stage } from "./stage.js";
import { drawStrip } from "./strip.js";
import { Theme } from "./theme.js";
import { addTones, toneOf } from "./tones.js";

const HERE = new URL(".", import.meta.url);

export class Views {
  /** `picture` is the element that shows the camera; `parts` are the template's. */
  constructor(host, parts, picture) {
    this.root = host.shadowRoot;
    this.strip = parts.strip;
    this.theme = new Theme(host);
    this.pick = this.pick.bind(this);
    this.stage = new Stage({ video: picture, canvas: parts.covered, boxes: parts.boxes }, this.pick);
    this.people = null;
    this.reading = null;
    this.record = null;
    this.kept = parts.kept;
    this.save = parts.save;
    parts.save.addEventListener("click", ({ target }) => this._save(target.name));
  }

  /** Get the families and their words, once; raises Error where the server does not give them. */
  async load() {
    if (this.people) return;
    const answer = await fetch(new URL("words.json", HERE));
    if (!answer.ok) throw new Error("the server did not give the list of words; reload the page");
    const { families, family_of: familyOf, colours, columns, about } = await answer.json();
    addTones(this.root, colours);
    this.record = new Record({ columns, about });
    const colourOf = (tone) => this.theme.colour(tone);
    this.people = new People(familyOf);
    this.reading = new Reading(this.root, { families, familyOf, toneOf, colourOf }, this.pick);
  }

  /** A camera was started: what was read of another is dropped. */
  begin(source) {
    this.record.begin(source);
    this.save.hidden = false;
    this.shownS = null;
    this._kept();
  }

  /** Another connection to the server, whose numbers of people begin anew. */
  join() {
    this.record.join();
  }

  /**
   * Show an answer's row and keep it. `picture` is what it was read in, where faces are covered
   * here, taken at `atMs`.
   */
  show(row, nowMs, { picture = null, atMs = nowMs } = {}) {
    this.record.add(row, atMs);
    this._kept();
    this.people.update(row.faces, nowMs / 1000);
    this.size = row.size;
    this._draw(nowMs, picture);
  }

  /** Nobody is in view any more. */
  clear() {
    this.people?.clear();
    this.reading?.clear();
    this.stage.clear();
    this.strip.getContext("2d").clearRect(0, 0, this.strip.width, this.strip.height);
  }

  pick(id) {
    this.people.pick(id);
    this._draw(performance.now());
  }

  /** Say how much there is to save. */
  _kept() {
    const whole = Math.floor(this.record.seconds);
    if (whole === this.shownS) return;
    this.shownS = whole;
    const clock = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    this.kept.textContent = `${clock} read; only this browser has it`;
  }

  _save(kind) {
    const at = new Date(Date.now() - 60_000 * new Date().getTimezoneOffset());
    const name = `ferstream-${at.toISOString().slice(0, 19).replaceAll(":", "-")}`;
    if (kind === "jsonl") save(`${name}.jsonl`, this.record.jsonl(), "application/x-ndjson");
    if (kind === "csv") save(`${name}.csv`, this.record.csv(), "text/csv");
  }

  _draw(nowMs, picture = null) {
    const { person, here } = this.people;
    const several = here.length > 1;
    const faces = here.map((one) => ({
      id: one.id,
      box: one.box,
      number: several ? String(one.id) : "",
      text: one.uncertain ? "uncertain" : one.label,
      tone: one.uncertain ? "neutral" : one.tone,
      picked: several && one === person,
    }));
    if (this.size) this.stage.show(faces, this.size, picture, nowMs);
    this.reading.show(this.people, nowMs);
    const columns = person?.moments.columns(nowMs / 1000) ?? [];
    drawStrip(this.strip, columns, (tone) => this.theme.colour(tone));
  }
}
