// A list of bars whose rows keep their identity: they glide to their places and lengths.

/** An element with a class and, where given, text. */
export function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

/** A share as people read it: 43 %, 8.1 %, below 0.1 %. */
export function percent(p) {
  const value = 100 * p;
  if (value >= 9.95) return `${Math.round(value)} %`;
  return value >= 0.05 ? `${value.toFixed(1)} %` : "0 %";
}

/** Fill a bar to a share of its track: it is pushed in from the left, its round end unspoilt. */
export function fill(bar, share) {
  const out = 100 * (Math.min(Math.max(share, 0), 1) - 1);
  bar.style.transform = `translateX(${out.toFixed(2)}%)`;
}

/**
 * Rows `{key, text, value, share, tone}`: `value` is what is written, `share` (0..1) the bar's
 * length, `tone` the name of its colour, `joined` whether it is tied to the row above. What moves are transforms only, so that nothing is laid
 * out anew. For those who read with a screen reader the rows stand in a list of their own, in
 * order, renewed every two seconds.
 */
export class Bars {
  constructor(list, { size, spoken }) {
    this.list = list;
    this.size = size;
    this.spoken = spoken;
    this.spokenMs = -Infinity;
    this.rows = new Map();
    this.spare = [];
    list.setAttribute("aria-hidden", "true");
    list.style.setProperty("--rows", size);
  }

  show(items, nowMs) {
    const shown = new Set(items.map(({ key }) => key));
    for (const [key, row] of this.rows) {
      if (shown.has(key)) continue;
      this.rows.delete(key);
      row.element.classList.add("gone");
      row.goneMs = nowMs;
      this.spare.push(row);
    }
    items.slice(0, this.size).forEach((item, at) => this._place(item, at, nowMs));
    if (nowMs - this.spokenMs > 2000) {
      this.spokenMs = nowMs;
      this.spoken?.replaceChildren(
        ...items.map(({ text, value }) => make("li", "", `${text}, ${value}`)),
      );
    }
  }

  clear() {
    this.rows.clear();
    this.spare = [];
    this.list.replaceChildren();
    this.spoken?.replaceChildren();
    this.spokenMs = -Infinity;
  }

  _place(item, at, nowMs) {
    let row = this.rows.get(item.key);
    if (!row) {
      row = this._row(nowMs);
      // A row that takes up a new word begins at its place instead of flying there.
      row.element.classList.add("new");
      row.element.dataset.key = item.key;
      set(row, "text", item.text, (text) => (row.name.textContent = text));
      set(row, "at", at, () => row.element.style.setProperty("--at", at));
      set(row, "share", 0, () => fill(row.bar, 0));
      void row.element.offsetWidth;
      row.element.classList.remove("new", "gone");
      this.rows.set(item.key, row);
    }
    set(row, "at", at, () => row.element.style.setProperty("--at", at));
    set(row, "value", item.value, (value) => (row.value.textContent = value));
    set(row, "share", item.share, () => fill(row.bar, item.share));
    set(row, "tone", item.tone, (tone) => (row.element.dataset.tone = tone));
    set(row, "joined", Boolean(item.joined), (on) => row.element.classList.toggle("joined", on));
  }

  /** A row that has faded out by now, or a new one. */
  _row(nowMs) {
    const at = this.spare.findIndex(({ goneMs }) => nowMs - goneMs > 300);
    if (at >= 0) return this.spare.splice(at, 1)[0];
    const row = {
      element: make("li", "row gone"),
      name: make("span", "name"),
      bar: make("span", "bar"),
      value: make("span", "value"),
      shown: {},
    };
    const track = make("span", "track");
    track.append(row.bar);
    row.element.append(row.name, track, row.value);
    this.list.append(row.element);
    return row;
  }
}

/** Touch the page only where something changed. */
function set(row, field, value, change) {
  if (row.shown[field] === value) return;
  row.shown[field] = value;
  change(value);
}
