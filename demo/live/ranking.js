// Words in an order that the eye can follow. Pure; times are arguments.

import { ease } from "./meter.js";

const TAU_S = 0.35; // a value has come two thirds of its way after this time
const CLEARLY = 1.06; // a word overtakes the one before it when it is this much likelier
const TIDY_S = 1.5; // so often the order is put right even where no lead is clear

/**
 * Smoothed probabilities of words and a steady order of the best of them.
 *
 * The server names its best words only; one that it no longer names fades towards nothing.
 */
export class Ranking {
  constructor(size = 10, tauS = TAU_S) {
    this.size = size;
    this.tauS = tauS;
    this.reset();
  }

  reset() {
    this.p = new Map();
    this.order = [];
    this.timeS = null;
    this.tidyS = -Infinity;
  }

  /** Take in `[{word, p}]` seen at `nowS`; returns the best, `[{word, p}]`, best first. */
  update(top, nowS) {
    const fresh = this.timeS === null;
    const dtS = fresh ? 0 : nowS - this.timeS;
    this.timeS = nowS;
    const target = new Map(top.map(({ word, p }) => [word, p]));
    for (const [word, p] of target) {
      // A newcomer starts from nothing, so that a flash of one frame does not lead the list.
      const before = this.p.get(word) ?? (fresh ? p : 0);
      this.p.set(word, ease(before, p, dtS, this.tauS));
    }
    for (const [word, p] of this.p) {
      if (target.has(word)) continue;
      const faded = ease(p, 0, dtS, this.tauS);
      if (faded < 1e-4) this.p.delete(word);
      else this.p.set(word, faded);
    }
    const tidy = nowS - this.tidyS >= TIDY_S;
    if (tidy) this.tidyS = nowS;
    this._sort(tidy ? 1 : CLEARLY);
    return this.best();
  }

  best() {
    return this.order.slice(0, this.size).map((word) => ({ word, p: this.p.get(word) }));
  }

  /** Insertion sort from the last order: only a lead by this margin moves a known word up. */
  _sort(clearly) {
    const kept = this.order.filter((word) => this.p.has(word));
    const known = new Set(kept);
    const fresh = [...this.p.keys()].filter((word) => !known.has(word));
    fresh.sort((a, b) => this.p.get(b) - this.p.get(a));
    const order = [];
    for (const word of [...kept, ...fresh]) {
      let at = order.length;
      const margin = known.has(word) ? clearly : 1;
      while (at > 0 && this.p.get(word) > this.p.get(order[at - 1]) * margin) at -= 1;
      order.splice(at, 0, word);
    }
    this.order = order;
  }
}

const NEAR = 0.85; // a word this near to the one that leads a run of them is a near tie

/**
 * The same words, best first, near ties in clusters: within a run of words that are about as likely
 * those of one family stand together. `joined` says that a word is tied to the one before it.
 */
export function clustered(words, familyOf) {
  const order = [];
  for (let from = 0; from < words.length; ) {
    let to = from + 1;
    while (to < words.length && words[to].p >= NEAR * words[from].p) to += 1;
    const run = words.slice(from, to);
    const families = [...new Set(run.map(({ word }) => familyOf[word]))];
    for (const family of families) {
      run
        .filter(({ word }) => familyOf[word] === family)
        .forEach((one, at) => order.push({ ...one, joined: at > 0 }));
    }
    from = to;
  }
  return order;
}

const HOLD_S = 1.5; // so long words keep their places, unless another one leads

/**
 * Words at places that the eye can follow: they are put in order, as `clustered` has it, every
 * `HOLD_S` and whenever another word leads. In between a word that comes in goes to the end.
 */
export class Arrangement {
  constructor(familyOf, holdS = HOLD_S) {
    this.familyOf = familyOf;
    this.holdS = holdS;
    this.clear();
  }

  clear() {
    this.order = [];
    this.tiedTo = new Map();
    this.lead = null;
    this.atS = -Infinity;
  }

  /** `[{word, p, joined}]` of `[{word, p}]`, best first; `anew` puts them in order at once. */
  show(words, lead, nowS, anew = false) {
    const fresh = anew || lead !== this.lead || nowS - this.atS >= this.holdS || nowS < this.atS;
    if (fresh) this._arrange(words, lead, nowS);
    const p = new Map(words.map((one) => [one.word, one.p]));
    const kept = this.order.filter((word) => p.has(word));
    const known = new Set(kept);
    this.order = [...kept, ...words.map(({ word }) => word).filter((word) => !known.has(word))];
    return this.order.map((word, at) => ({
      word,
      p: p.get(word),
      joined: at > 0 && this.tiedTo.get(word) === this.order[at - 1],
    }));
  }

  _arrange(words, lead, nowS) {
    const found = clustered(words, this.familyOf);
    this.order = found.map(({ word }) => word);
    this.tiedTo = new Map(found.flatMap(({ word, joined }, at) => (joined ? [[word, found[at - 1].word]] : [])));
    this.lead = lead;
    this.atS = nowS;
  }
}

/** Named numbers, smoothed together: the eight emotions, families, muscle movements. */
export class Smooth {
  constructor(tauS = TAU_S) {
    this.tauS = tauS;
    this.values = {};
    this.timeS = null;
  }

  /** Take in `{name: value}`; a name that is missing moves towards 0. Returns the smoothed. */
  update(values, nowS) {
    const fresh = this.timeS === null;
    const dtS = fresh ? 0 : nowS - this.timeS;
    this.timeS = nowS;
    for (const name of new Set([...Object.keys(values), ...Object.keys(this.values)])) {
      const to = values[name] ?? 0;
      const from = this.values[name] ?? (fresh ? to : 0);
      const value = ease(from, to, dtS, this.tauS);
      if (name in values || value > 1e-3) this.values[name] = value;
      else delete this.values[name];
    }
    return this.values;
  }
}

/** The name of the largest number; the one held until now stays unless clearly beaten. */
export function leader(values, held = null) {
  let best = held !== null && held in values ? held : null;
  for (const [name, value] of Object.entries(values)) {
    if (best === null || value > values[best] * CLEARLY) best = name;
  }
  return best;
}
