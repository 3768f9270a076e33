// The clip tab: choose a clip, watch it being scored, look through what was found.

import { bare } from "./bare.js";
import { Viewer } from "./viewer.js";
import { Visit } from "./visit.js";

const ASK_MS = 300;
const GONE = "This visit was open for long and has ended; its clip is deleted.";

const CHOOSE = `
  <div class="fs-drop">
    <svg viewBox="0 0 48 48" aria-hidden="true" class="fs-icon"><path d="M8 12h24v24H8zM32 21l9-5v16l-9-5"/></svg>
    <h2>Score a clip</h2>
    <p>Drop a video or picture here, or</p>
    <div class="fs-choices">
      <button type="button" class="fs-button main" data-do="choose">Choose a clip</button>
      <button type="button" class="fs-button" data-do="sample">Try the sample</button>
    </div>
    <input type="file" accept="video/*,image/*,.mkv,.avi,.ts,.m2ts" hidden tabindex="-1">
    <label class="fs-check"><input type="checkbox" name="blur"> Blur faces in the video</label>
    <p class="fs-small"><span data-limits></span> The clip stays on the server that gave you this
      page and is deleted when you close the page.</p>
    <p class="fs-fault" role="alert"></p>
  </div>`;

const WORKING = `
  <div class="fs-working">
    <h2 data-name></h2>
    <p data-phase aria-live="polite"></p>
    <progress max="1" aria-label="Progress"></progress>
    <button type="button" class="fs-button" data-do="cancel">Cancel</button>
  </div>`;

class Clip extends HTMLElement {
  connectedCallback() {
    bare(this);
    if (this.visit) return;
    this.visit = new Visit(() => {
      this.turn = (this.turn ?? 0) + 1;
      if (this.dataset.state !== "choose") this._choose(GONE);
    });
    this.blur = false;
    this.limits = { bytes: Infinity, seconds: Infinity };
    this._choose();
    this.addEventListener("click", ({ target }) => {
      const todo = target.closest("[data-do]")?.dataset.do;
      if (todo) this[`_do_${todo}`]?.();
    });
    this.addEventListener("dragover", (event) => this._over(event, true));
    this.addEventListener("dragleave", (event) => this._over(event, false));
    this.addEventListener("drop", (event) => {
      this._over(event, false);
      const [file] = event.dataTransfer?.files ?? [];
      if (file && this.dataset.state === "choose") this._send(file);
    });
  }

  _show(state, markup) {
    this.viewer?.close();
    this.viewer = null;
    this.dataset.state = state;
    this.innerHTML = markup;
  }

  _choose(fault = "") {
    this._show("choose", CHOOSE);
    const input = this.querySelector("input[type=file]");
    input.addEventListener("change", () => input.files[0] && this._send(input.files[0]));
    const blur = this.querySelector("[name=blur]");
    blur.checked = this.blur;
    blur.addEventListener("change", () => (this.blur = blur.checked));
    this.querySelector(".fs-fault").textContent = fault;
    const { bytes, seconds } = JSON.parse(this.getAttribute("limits") ?? "{}");
    if (bytes) {
      this.limits = { bytes, seconds };
      const length = seconds % 60 ? `${seconds} seconds` : `${seconds / 60} minutes`;
      this.querySelector("[data-limits]").textContent =
        `Up to ${Math.round(bytes / 2 ** 20)} MB and ${length}.`;
    }
  }

  _over(event, over) {
    if (this.dataset.state !== "choose") return;
    event.preventDefault();
    this.querySelector(".fs-drop").classList.toggle("over", over);
  }

  _do_choose() {
    this.querySelector("input[type=file]").click();
  }

  _do_sample() {
    this._work("sample", (query) => this.visit.ask(`sample?${query}`, { method: "POST" }));
  }

  _do_cancel() {
    this.sending?.abort();
    this._do_delete();
  }

  /** Delete the clip and go back to the beginning. */
  _do_delete() {
    this.turn = (this.turn ?? 0) + 1;
    if (this.visit.token) this.visit.ask("clip", { method: "DELETE" }).catch(() => {});
    this._choose();
    this.querySelector("[data-do=choose]").focus();
  }

  _send(file) {
    if (file.size > this.limits.bytes) {
      const most = Math.round(this.limits.bytes / 2 ** 20);
      this._choose(`${file.name} is larger than ${most} MB: cut it or make it smaller.`);
      return;
    }
    this._work(file.name, (query) => {
      const name = encodeURIComponent(file.name);
      this.sending = this.visit.send(`clip?name=${name}&${query}`, file, (share) =>
        this._phase(`Sending, ${Math.round(100 * share)} %`, share, share === 1),
      );
      return this.sending.done;
    });
  }

  /** Have a clip scored and show it; `begin` sends it. */
  async _work(name, begin) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this._show("working", WORKING);
    this.querySelector("[data-name]").textContent = name;
    this._phase("Sending", null, true);
    try {
      let job = await begin(`blur=${this.blur ? 1 : 0}`);
      while (this.turn === turn && (job.state === "waiting" || job.state === "scoring")) {
        if (job.state === "waiting") this._phase(waiting(job.before), null, true);
        else this._phase(`Reading faces, ${Math.round(100 * job.share)} %`, job.share || null);
        await new Promise((resolve) => setTimeout(resolve, ASK_MS));
        if (this.turn === turn) job = await this.visit.ask("clip");
      }
      if (this.turn !== turn) return;
      if (job.state !== "done") throw new Error(job.message || "The clip was called off.");
      const view = await this.visit.ask(`clips/${job.clip}/view.json`);
      if (this.turn === turn) this._view(view, job);
    } catch (error) {
      if (this.turn === turn) this._choose(error.message);
    } finally {
      this.sending = null;
    }
  }

  /** Say where things stand; screen readers hear of it a few times only. */
  _phase(text, share, always = false) {
    const phase = this.querySelector("[data-phase]");
    if (!phase) return;
    const step = Math.floor(4 * (share ?? 0));
    phase.ariaLive = always || step !== this.step ? "polite" : "off";
    this.step = step;
    phase.textContent = text;
    const bar = this.querySelector("progress");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  _view(view, job) {
    this._show("view", "");
    const url = (name) => this.visit.url(`clips/${job.clip}/${name}`);
    this.viewer = new Viewer(this, view, {
      drawn: url(view.still ? "annotated.png" : "annotated.mp4"),
      files: job.files.map((name) => ({ name, href: `${url(name)}?download` })),
    });
    this.querySelector("h2").focus();
  }
}

const waiting = (before) =>
  before ? `Waiting: ${before} ${before === 1 ? "clip" : "clips"} before yours` : "Your turn is next";

customElements.get("ferstream-clip") || customElements.define("ferstream-clip", Clip);
