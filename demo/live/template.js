// The panel's markup.

import { PLANE } from "./plane.js";

const ICONS = {
  play: '<path d="M8 5.5v13l11-6.5z"/>',
  stop: '<rect x="6.5" y="6.5" width="11" height="11" rx="1.5"/>',
};
const icon = (name) =>
  `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${ICONS[name]}</svg>`;

/** All of the panel. */
export const template = () => `
<div class="panel" data-state="idle">
  <section class="left" aria-label="Camera">
    <div class="stage">
      <video muted playsinline disablepictureinpicture aria-label="Your camera"></video>
      <canvas class="covered" hidden role="img" aria-label="Your camera, faces covered"></canvas>
      <div class="boxes"></div>
      <p class="hint" hidden></p>
      <div class="gate">
        <form class="consent">
          <h2>Before the camera starts</h2>
          <ul>
            <li>This estimates the <b>expression</b> a face shows. It cannot know what a person
              feels, and it is often wrong.</li>
            <li>Pictures go to this page’s server (<b class="host"></b>), are read in memory and
              dropped. What was read stays in this browser, until you close the page.</li>
            <li>In the EU, emotion recognition is prohibited at work and in education (AI Act,
              Art.&nbsp;5(1)(f)); elsewhere the people concerned must be told (Art.&nbsp;50(3)).</li>
          </ul>
          <p class="off"></p>
          <p class="fault" role="alert" hidden></p>
          <label class="agree"><input type="checkbox" name="agree">
            <span>Everyone in view knows this and agrees</span></label>
          <button class="main start" type="submit" disabled>${icon("play")}<span>Start camera</span></button>
        </form>
      </div>
    </div>
    <div class="tools">
      <button class="main stop" type="button" aria-label="Stop camera">${icon("stop")}
        <span>Stop<i class="roomy"> camera</i></span></button>
      <label class="pick" hidden><span class="unseen">Camera</span><select></select></label>
      <label class="switch"><input type="checkbox" role="switch" name="mirror" checked>
        <span class="knob"></span>Mirror</label>
      <label class="switch" title="Covers faces on this screen; the picture then comes 0.7 s late">
        <input type="checkbox" role="switch" name="blur"><span class="knob"></span>Blur faces</label>
      <dl class="stats" aria-label="Speed">
        <div><dt>updates/s</dt><dd class="rate">–</dd></div>
        <div><dt>delay</dt><dd class="delay">–</dd></div>
      </dl>
    </div>
    <div class="save" role="group" aria-label="Save what was read" hidden>
      <span class="kept"></span>
      <button type="button" name="jsonl">Save JSON lines</button>
      <button type="button" name="csv">Save CSV</button>
    </div>
    <figure class="past">
      <figcaption><h3>Attention</h3><span>the moments that make the reading, last 12 seconds</span>
      </figcaption>
      <canvas class="strip" role="img" aria-label="Attention over the last 12 seconds"></canvas>
    </figure>
  </section>
  <section class="right" aria-label="Reading">
    <div class="people" role="tablist" aria-label="People in view" hidden></div>
    <div class="reading" id="reading" hidden>
      <header class="lead">
        <p class="label"><i class="dot"></i><span class="word">–</span><em class="unsure" hidden>uncertain</em></p>
        <div class="strength"><span class="name">Strength</span>
          <span class="track"><span class="bar"></span></span><span class="value">–</span></div>
      </header>
      <section class="words" aria-label="Closest words">
        <div class="title"><h3>Closest words</h3>
          <span class="quiet" hidden>nothing shows; faintly this one</span></div>
        <ol class="bars"></ol><ol class="unseen spoken"></ol>
      </section>
      <section class="affect" aria-label="Valence and arousal" hidden>${PLANE}</section>
      <section class="families" aria-label="Families">
        <h3>Families</h3>
        <div class="stack" aria-hidden="true"></div>
        <ul class="legend"></ul>
      </section>
      <section class="moves" aria-label="Muscle movements">
        <h3>Muscle movements</h3>
        <ul class="bars"></ul><ul class="unseen spoken"></ul>
      </section>
    </div>
    <p class="empty">The reading appears here once a face is in view.</p>
  </section>
  <p class="unseen said" role="status" aria-live="polite"></p>
</div>`;

/** The named parts of the panel within `root`. */
export function partsOf(root) {
  const one = (selector) => root.querySelector(selector);
  return {
    panel: one(".panel"),
    video: one("video"),
    covered: one(".covered"),
    boxes: one(".boxes"),
    hint: one(".hint"),
    stage: one(".stage"),
    consent: one(".consent"),
    host: one(".host"),
    agree: one("[name=agree]"),
    start: one(".start"),
    fault: one(".fault"),
    off: one(".off"),
    stop: one(".stop"),
    pick: one(".pick"),
    cameras: one("select"),
    mirror: one("[name=mirror]"),
    blur: one("[name=blur]"),
    rate: one(".rate"),
    delay: one(".delay"),
    strip: one(".strip"),
    said: one(".said"),
    save: one(".save"),
    kept: one(".kept"),
  };
}
