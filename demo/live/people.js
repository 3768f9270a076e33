// The people in view: each one's smoothed reading, and who is looked at. No DOM in here.

import { movements } from "./names.js";
import { leader, Ranking, Smooth } from "./ranking.js";
import { Way } from "./plane.js";
import { Moments } from "./strip.js";
import { toneOf } from "./tones.js";

const KEEP_S = 3; // a person out of view stays selected for so long

/** One face over time. */
export class Person {
  constructor(id, familyOf) {
    this.id = id;
    this.familyOf = familyOf;
    this.ranking = new Ranking();
    this.basic = new Smooth();
    this.shares = new Smooth();
    this.parts = new Smooth();
    this.moves = new Smooth(0.2);
    this.place = new Smooth(0.2);
    this.way = new Way();
    this.moments = new Moments();
    this.lead = null;
    this.words = [];
  }

  update(face, nowS) {
    this.seenS = nowS;
    this.box = face.box;
    this.words = this.ranking.update(face.top, nowS);
    this.lead = leader(this.basic.update(face.basic8, nowS), this.lead);
    this.families = this.shares.update({ ...face.families, neutral: face.neutral }, nowS);
    const parts = { intensity: face.intensity, uncertain: face.uncertain ? 1 : 0 };
    this.measures = this.parts.update(parts, nowS);
    // Older bundles do not tell valence and arousal.
    if (face.valence !== undefined) {
      const { valence, arousal } = this.place.update({ valence: face.valence, arousal: face.arousal }, nowS);
      this.way.add(nowS, valence, arousal);
    }
    this.movements = this.moves.update(movements(face.blendshapes), nowS);
    this.moments.add(nowS, face.attention, this.tone);
  }

  /** `neutral` where that leads the basic expressions, else the best word. */
  get label() {
    return this.lead === "neutral" ? "neutral" : (this.words[0]?.word ?? "neutral");
  }

  /** How surely the face shows nothing, 0..1. */
  get neutral() {
    return this.families.neutral;
  }

  get tone() {
    return toneOf(this.label, this.familyOf);
  }

  get uncertain() {
    return this.measures.uncertain > 0.5;
  }

  get intensity() {
    return this.measures.intensity ?? 0;
  }
}

/** Everybody in view, and the one whose reading is shown. */
export class People {
  constructor(familyOf) {
    this.familyOf = familyOf;
    this.clear();
  }

  clear() {
    this.all = new Map();
    this.here = [];
    this.picked = null;
    this.byHand = false;
  }

  /** Take in an answer's faces. */
  update(faces, nowS) {
    this.here = faces.map((face) => {
      if (!this.all.has(face.id)) this.all.set(face.id, new Person(face.id, this.familyOf));
      const person = this.all.get(face.id);
      person.update(face, nowS);
      return person;
    });
    for (const [id, { seenS }] of this.all) if (nowS - seenS > KEEP_S) this.all.delete(id);
    if (!this.all.has(this.picked)) {
      this.picked = this._largest()?.id ?? null;
      this.byHand = false;
    }
    // Somebody in view comes before one who has left, unless that one was chosen.
    const gone = !this.here.some(({ id }) => id === this.picked);
    if (gone && !this.byHand && this.here.length) this.picked = this._largest().id;
  }

  pick(id) {
    if (!this.all.has(id)) return;
    this.picked = id;
    this.byHand = true;
  }

  /** Those in view and those who left a moment ago, by id: what does not jump about. */
  get lately() {
    return [...this.all.values()].sort((a, b) => a.id - b.id);
  }

  get person() {
    return this.all.get(this.picked) ?? null;
  }

  _largest() {
    const size = ({ box }) => box[2] * box[3];
    return this.here.reduce((best, one) => (best && size(best) >= size(one) ? best : one), null);
  }
}
