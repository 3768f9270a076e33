// The last seconds as a strip: a column per answer, as high as the attention the moment got.

export const SPAN_S = 12;

/** Moments of one face: `{timeS, attention, tone}`; the oldest fall out. */
export class Moments {
  constructor(spanS = SPAN_S) {
    this.spanS = spanS;
    this.list = [];
  }

  add(timeS, attention, tone) {
    this.list.push({ timeS, attention, tone });
    while (this.list.length && timeS - this.list[0].timeS > this.spanS) this.list.shift();
  }

  /** The attention that is usual, for the scale: shares shrink as a clip fills. */
  get usual() {
    if (!this.list.length) return 0;
    const sorted = this.list.map(({ attention }) => attention).sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  }

  /** Columns, `{x0, x1, height, tone}` in shares of the strip; now is at the right edge. */
  columns(nowS) {
    const usual = this.usual || 1;
    const columns = [];
    let beforeS = null;
    for (const { timeS, attention, tone } of this.list) {
      // A column reaches back to the moment before, but not over a time without the face.
      const sinceS = Math.max(beforeS ?? timeS - 0.1, timeS - 0.5);
      beforeS = timeS;
      const [x0, x1] = [sinceS, timeS].map((at) => 1 - (nowS - at) / this.spanS);
      const height = Math.min(Math.max(attention / (2 * usual), 0.04), 1);
      if (x1 > 0) columns.push({ x0: Math.max(x0, 0), x1: Math.min(x1, 1), height, tone });
    }
    return columns;
  }
}

/** Draw columns into a canvas; `colourOf(tone)` gives CSS colours. */
export function drawStrip(canvas, columns, colourOf) {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const brush = canvas.getContext("2d");
  brush.clearRect(0, 0, width, height);
  for (const { x0, x1, height: share, tone } of columns) {
    brush.fillStyle = colourOf(tone);
    const left = Math.round(x0 * width);
    const right = Math.max(Math.round(x1 * width), left + 1);
    const top = Math.round((1 - share) * height);
    brush.fillRect(left, top, right - left, height - top);
  }
}
