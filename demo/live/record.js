// What was read since the camera started, kept in this browser for as long as the page is open, and
// saved on demand in the forms that a clip's readings have. No pictures. Pure but for `save`.

const MOST_CHARS = 50_000_000; // about half an hour of one face; then the oldest go
const WORDS = 10;
const ABSENT = 5; // columns that a row without a face has

/** The rows of one session with one camera. */
export class Record {
  /** `columns` are those of a clip's CSV; `about` stands in the header of JSON lines. */
  constructor({ columns, about }, mostChars = MOST_CHARS) {
    this.columns = columns;
    this.about = about;
    this.mostChars = mostChars;
    this.begin("");
  }

  /** A new session: what was kept is dropped. */
  begin(source) {
    this.source = source;
    this.lines = [];
    this.chars = 0;
    this.count = 0;
    this.startMs = null;
    this.size = null;
    this.highest = 0;
    this.join();
  }

  /** A new connection: the server counts people from 1 again, and no two share a number here. */
  join() {
    this.before = this.highest;
  }

  get seconds() {
    return this.lines.length ? this.lastS : 0;
  }

  /** Keep an answer to the picture taken at `atMs`. */
  add({ schema, faces, size, left_out: leftOut }, atMs) {
    this.startMs ??= atMs;
    this.size ??= size;
    this.lastS = Math.max(atMs - this.startMs, 0) / 1000;
    const row = {
      schema,
      source: this.source,
      frame: this.count,
      time_s: rounded(this.lastS, 6),
      faces: faces.map(({ blendshapes, eyes, ...face }) => ({
        ...face,
        id: this.before + face.id,
        top: face.top.slice(0, WORDS),
        frame_emotions: { ...face.frame_emotions, top: face.frame_emotions.top.slice(0, WORDS) },
      })),
      ...(leftOut ? { left_out: leftOut } : {}),
    };
    this.highest = Math.max(this.highest, ...row.faces.map(({ id }) => id));
    this.count += 1;
    const line = JSON.stringify(row);
    this.lines.push(line);
    this.chars += line.length;
    let old = 0;
    while (this.chars > this.mostChars && old < this.lines.length - 1) this.chars -= this.lines[old++].length;
    if (old) this.lines.splice(0, old);
  }

  /** As JSON lines, a header first. */
  jsonl() {
    const header = {
      schema: this.about.schema, kind: "header", source: this.source, size: this.size, rate_hz: null, live: true,
      ...this.about.facts,
    };
    return [JSON.stringify(header), ...this.lines, ""].join("\n");
  }

  /** As CSV, a row per face and frame. */
  csv() {
    const { purpose } = this.about.facts;
    const head = purpose ? [`# purpose: ${purpose}`] : [];
    const rows = this.lines.flatMap((line) => this._table(JSON.parse(line)));
    return [...head, ...[this.columns, ...rows].map((row) => row.map(quoted).join(",")), ""].join("\n");
  }

  _table(row) {
    if (row.faces.length) return row.faces.map((face) => this.columns.map((name) => cell(name, row, face)));
    const absent = [row.frame, -1, row.time_s.toFixed(4), 0, 0];
    return [this.columns.map((name, at) => (at < ABSENT ? absent[at] : name === "source" ? row.source : ""))];
  }
}

const BOX = ["box_x", "box_y", "box_w", "box_h"];

/** What stands in a column of a face's row. */
function cell(name, row, face) {
  const alone = face.frame_emotions;
  const own = {
    frame: () => row.frame,
    face_id: () => face.id,
    timestamp: () => row.time_s.toFixed(4),
    confidence: () => face.quality.score.toFixed(3),
    success: () => 1,
    pose_yaw: () => face.quality.yaw_deg.toFixed(1),
    pose_pitch: () => face.quality.pitch_deg.toFixed(1),
    label: () => face.label,
    uncertain: () => Number(face.uncertain),
    frame_label: () => alone.label,
    source: () => row.source,
  }[name];
  if (own) return own();
  if (BOX.includes(name)) return face.box[BOX.indexOf(name)].toFixed(1);
  const [, place, p] = /^top(\d+)(_p)?$/.exec(name) ?? [];
  if (place) {
    const entry = face.top[place - 1];
    return p ? share(entry?.p) : (entry?.word ?? "");
  }
  const [, frame, group, label] = /^(frame_)?(?:(basic8|family)_)?(.+)$/.exec(name);
  const reading = frame ? alone : face;
  return share(group ? reading[group === "family" ? "families" : group][label] : reading[label]);
}

const share = (value) => value?.toFixed(4) ?? "";
const rounded = (value, digits) => Number(value.toFixed(digits));

/** A field as CSV has it. */
function quoted(value) {
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Offer a text to be saved as a file. */
export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
