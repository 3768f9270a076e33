// Pictures of the video, small enough to send.

const QUALITY = 0.8;

/** The size of a picture at most `widthPx` wide, in the video's proportions. */
export function fitted(width, height, widthPx) {
  const scale = Math.min(1, widthPx / Math.max(width, 1));
  return [Math.max(Math.round(width * scale), 1), Math.max(Math.round(height * scale), 1)];
}

/** Takes JPEG pictures; each keeps its canvas until it is given back, to draw the answer on. */
export class Pictures {
  constructor() {
    this.free = [];
  }

  /** The video's present picture, `{canvas, blob}`; blob is null where it cannot be encoded. */
  async take(video, widthPx) {
    const [width, height] = fitted(video.videoWidth, video.videoHeight, widthPx);
    const canvas = this.free.pop() ?? document.createElement("canvas");
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    return { canvas, blob };
  }

  giveBack(canvas) {
    if (canvas && this.free.length < 4) this.free.push(canvas);
  }

  /** Forget every picture. */
  clear() {
    this.free = [];
  }
}

/** Call `each` at every new picture of the video until the returned function is called. */
export function everyPicture(video, each) {
  let over = false;
  const again = () => {
    if (over) return;
    each();
    wait();
  };
  const wait = () => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(again);
    else setTimeout(again, 33);
  };
  wait();
  return () => {
    over = true;
  };
}
