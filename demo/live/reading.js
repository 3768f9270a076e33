// The right side of the panel: one person's reading, and tabs when there are several.

import { Bars, fill, make, percent } from "./bars.js";
import { drawPlane, signed } from "./plane.js";
import { Arrangement } from "./ranking.js";

const SHOWN_MOVES = 5;
const LEAST_MOVE = 0.1; // weaker movements are noise
const FULL_BAR = 0.12; // a word this likely fills its bar; with 135 words few are likelier
const MOST_TABS = 8;

export class Reading {
  constructor(root, { families, familyOf, toneOf, colourOf }, onPick) {
    const one = (selector) => root.querySelector(selector);
    this.familyOf = familyOf;
    this.arrangement = new Arrangement(familyOf);
    this.toneOf = toneOf;
    this.colourOf = colourOf;
    this.onPick = onPick;
    this.room = one(".right");
    this.panel = one(".reading");
    this.empty = one(".empty");
    this.tabs = one(".people");
    this.word = one(".label .word");
    this.unsure = one(".unsure");
    this.strengthName = one(".strength .name");
    this.strength = one(".strength .bar");
    this.strengthValue = one(".strength .value");
    this.quiet = one(".quiet");
    this.affect = one(".affect");
    const [words, spokenWords] = root.querySelectorAll(".words ol");
    this.words = new Bars(words, { size: 10, spoken: spokenWords });
    const [moves, spokenMoves] = root.querySelectorAll(".moves ul");
    this.moves = new Bars(moves, { size: SHOWN_MOVES, spoken: spokenMoves });
    this._families([...families, "neutral"], one(".stack"), one(".legend"));
    this.tabOf = new Map();
    this.tabs.addEventListener("keydown", (event) => this._step(event));
    this.clear();
  }

  clear() {
    this.shownId = null;
    this.words.clear();
    this.moves.clear();
    this.arrangement.clear();
    this.panel.hidden = true;
    this.empty.hidden = false;
    this.room.style.minHeight = "";
    this.several = false;
    this.tabs.hidden = true;
    this.tabs.replaceChildren();
    this.tabOf.clear();
  }

  /** Show the picked person's reading, and tabs if there are others. */
  show(people, nowMs) {
    const { person } = people;
    // Where the face has gone, its room stays: nothing below moves.
    if (!person && !this.panel.hidden) this.room.style.minHeight = `${this.room.offsetHeight}px`;
    this._people(people);
    this.panel.hidden = !person;
    this.empty.hidden = !!person;
    if (!person) return;
    if (person.id !== this.shownId) {
      this.words.clear();
      this.moves.clear();
      this.arrangement.clear();
      this.shownId = person.id;
    }
    this.panel.dataset.tone = person.tone;
    text(this.word, person.label);
    this.unsure.hidden = !person.uncertain;
    // Of a face that shows nothing it says how surely: a bare 0 % would read as the contrary.
    const still = person.label === "neutral";
    const much = still ? person.neutral : person.intensity;
    text(this.strengthName, still ? "Neutral" : "Strength");
    fill(this.strength, much);
    text(this.strengthValue, percent(much));
    this._affect(person);
    this._words(person, nowMs);
    this._shares(person.families);
    this._moves(person.movements, nowMs);
  }

  _words(person, nowMs) {
    const quiet = person.label === "neutral";
    const full = Math.max(FULL_BAR, person.words[0]?.p ?? 0);
    // Words of a face that shows nothing are a hint at most.
    const words = quiet
      ? person.words.slice(0, 1)
      : this.arrangement.show(person.words, person.label, nowMs / 1000);
    const rows = words.map(({ word, p, joined }) => ({
      joined,
      key: word,
      text: word,
      value: percent(p),
      share: p / full,
      tone: this.toneOf(word, this.familyOf),
    }));
    this.words.show(rows, nowMs);
    this.quiet.hidden = !quiet;
    this.words.list.classList.toggle("faint", quiet || person.uncertain);
  }

  _affect({ way, tone }) {
    const now = way.list[way.list.length - 1];
    this.affect.hidden = !now;
    if (!now) return;
    const [canvas, valence, arousal] = this.affect.querySelectorAll("canvas, [data-valence], [data-arousal]");
    drawPlane(canvas, way.list, { tone: this.colourOf(tone), line: this.colourOf("neutral") });
    text(valence, signed(now.valence));
    text(arousal, signed(now.arousal));
  }

  _moves(movements, nowMs) {
    const strongest = Object.entries(movements)
      .filter(([, value]) => value >= LEAST_MOVE)
      .sort((a, b) => b[1] - a[1])
      .slice(0, SHOWN_MOVES);
    // By name, so that rows of nearly the same strength do not keep changing places.
    strongest.sort((a, b) => a[0].localeCompare(b[0]));
    const rows = strongest.map(([name, value]) => ({
      key: name,
      text: name,
      value: percent(value),
      share: value,
      tone: "plain",
    }));
    this.moves.show(rows, nowMs);
  }

  _families(names, stack, legend) {
    this.parts = names.map((name) => {
      const part = make("span", "part");
      const entry = make("li");
      const value = make("span", "value", "–");
      part.dataset.tone = entry.dataset.tone = name;
      entry.dataset.name = name;
      entry.append(make("i", "dot"), make("span", "name", name), value);
      stack.append(part);
      legend.append(entry);
      return { name, part, value };
    });
  }

  /** Families side by side in one bar: each is moved to where the ones before it end. */
  _shares(families) {
    let before = 0;
    for (const { name, part, value } of this.parts) {
      const share = families[name] ?? 0;
      part.style.transform = `translateX(${(100 * before).toFixed(2)}%) scaleX(${share.toFixed(4)})`;
      text(value, percent(share));
      before += share;
    }
  }

  /** Tabs once there have been several people; arrow keys go from one to the next. */
  _people({ lately, here, person: picked }) {
    const shown = lately.slice(0, MOST_TABS);
    if (picked && !shown.includes(picked)) shown[MOST_TABS - 1] = picked;
    // They stay when others leave, or all below would move each time.
    this.several ||= shown.length > 1;
    this.tabs.hidden = !this.several || !shown.length;
    if (this.tabs.hidden) this.panel.removeAttribute("role");
    else this.panel.setAttribute("role", "tabpanel");
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, tab] of this.tabOf) {
      if (ids.has(id)) continue;
      tab.remove();
      this.tabOf.delete(id);
    }
    for (const person of shown) {
      const tab = this.tabOf.get(person.id) ?? this._tab(person.id);
      const current = person === picked;
      tab.dataset.tone = person.tone;
      tab.classList.toggle("away", !here.includes(person));
      if (current && tab.getAttribute("aria-selected") !== "true") {
        this.tabs.scrollTo({ left: tab.offsetLeft - 40, behavior: "smooth" });
      }
      tab.setAttribute("aria-selected", current);
      tab.tabIndex = current ? 0 : -1;
      text(tab.querySelector(".says"), person.label);
    }
  }

  _tab(id) {
    const tab = make("button", "tab");
    tab.type = "button";
    tab.dataset.id = id;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "reading");
    tab.append(make("i", "dot"), make("b", "", `Person ${id}`), make("span", "says"));
    tab.addEventListener("click", () => this.onPick(id));
    this.tabOf.set(id, tab);
    this.tabs.append(tab);
    return tab;
  }

  _step(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const tabs = [...this.tabs.children];
    const at = tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    if (!by || at < 0) return;
    event.preventDefault();
    const next = tabs[(at + by + tabs.length) % tabs.length];
    this.onPick(Number(next.dataset.id));
    next.focus();
  }
}

function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
