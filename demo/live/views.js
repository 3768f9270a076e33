// What every panel shows of the faces in view: boxes in the picture, a reading, the strip of
// moments. A panel gives it answers; where pictures and answers come from is the panel's own.

import { People, toneOf } from "./people.js";
import { Reading } from "./reading.js";
import { Stage } from "./stage.js";
import { drawStrip } from "./strip.js";
import { Theme } from "./theme.js";

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
  }

  /** Get the families and their words, once; raises Error where the server does not give them. */
  async load() {
    if (this.people) return;
    const answer = await fetch(new URL("words.json", HERE));
    if (!answer.ok) throw new Error("the server did not give the list of words; reload the page");
    const { families, family_of: familyOf } = await answer.json();
    const colourOf = (tone) => this.theme.colour(tone);
    this.people = new People(familyOf);
    this.reading = new Reading(this.root, { families, familyOf, toneOf, colourOf }, this.pick);
  }

  /** Show an answer's row; `picture` is what it was read in, where faces are covered here. */
  show(row, nowMs, picture = null) {
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
