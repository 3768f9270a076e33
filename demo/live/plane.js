// Valence and arousal as a plane: where the reading is, and the way of the last seconds.

export const WAY_S = 3;

/** The last places of one face: `{timeS, valence, arousal}`; the oldest fall out. */
export class Way {
  constructor(spanS = WAY_S) {
    this.spanS = spanS;
    this.list = [];
  }

  add(timeS, valence, arousal) {
    this.list.push({ timeS, valence, arousal });
    while (timeS - this.list[0].timeS > this.spanS) this.list.shift();
  }
}

/** A number from -1 to 1 with its sign: +0.59. */
export function signed(value) {
  return `${value < -0.005 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

/** Where a place lies in a square of this side: pleasant is right, agitated is up. */
export function placeIn(side, { valence, arousal }) {
  const [x, y] = [valence, arousal].map((value) => Math.min(Math.max(value, -1), 1));
  return [((x + 1) / 2) * side, ((1 - y) / 2) * side];
}

/** Draw places, the last of them now, into a square canvas; colours are CSS's. */
export function drawPlane(canvas, places, { tone, line }) {
  const scale = Math.min(window.devicePixelRatio || 1, 2);
  const side = Math.round(canvas.clientWidth * scale);
  if (!side) return;
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const brush = canvas.getContext("2d");
  brush.clearRect(0, 0, side, side);
  brush.strokeStyle = line;
  brush.lineWidth = scale;
  for (const [x, y] of [[1, 0], [0, 1]]) {
    brush.beginPath();
    brush.moveTo((side / 2) * (1 - x), (side / 2) * (1 - y));
    brush.lineTo((side / 2) * (1 + x), (side / 2) * (1 + y));
    brush.stroke();
  }
  if (!places.length) return;
  const points = places.map((place) => placeIn(side, place));
  brush.strokeStyle = brush.fillStyle = tone;
  brush.lineCap = "round";
  brush.lineWidth = 2.5 * scale;
  for (let at = 1; at < points.length; at += 1) {
    brush.globalAlpha = 0.1 + (0.6 * at) / points.length; // the older, the fainter
    brush.beginPath();
    brush.moveTo(...points[at - 1]);
    brush.lineTo(...points[at]);
    brush.stroke();
  }
  brush.globalAlpha = 1;
  brush.beginPath();
  brush.arc(...points[points.length - 1], 6 * scale, 0, 2 * Math.PI);
  brush.fill();
}

/** The markup around a plane; its parts are `canvas` and two `data-` numbers. */
export const PLANE = `
  <canvas role="img" aria-label="Valence to the right, arousal upwards"></canvas>
  <dl>
    <div><dt>Valence</dt><dd data-valence>–</dd><dd class="what">unpleasant to pleasant</dd></div>
    <div><dt>Arousal</dt><dd data-arousal>–</dd><dd class="what">sleepy to agitated</dd></div>
  </dl>`;
