// <ferstream-live>: the live panel as a custom element. It wires camera, server and views together.

import { CameraError, closeCamera, listCameras, openCamera } from "./camera.js";
import { Link, lostWords } from "./link.js";
import { Sender } from "./sender.js";
import { partsOf, template } from "./template.js";
import { Views } from "./views.js";
import { Voice } from "./voice.js";

const HIDDEN_MS = 10_000; // out of sight for so long, the place at the server is given up
const HERE = new URL(".", import.meta.url);

class FerstreamLive extends HTMLElement {
  connectedCallback() {
    if (!this.shadowRoot) this._build();
    this.views.theme.watch();
    document.addEventListener("visibilitychange", this._onVisibility);
    window.addEventListener("pagehide", this._onLeave);
    navigator.mediaDevices?.addEventListener?.("devicechange", this._onDevices);
    this.sizes.observe(this);
  }

  disconnectedCallback() {
    this.stop();
    this.views.theme.unwatch();
    document.removeEventListener("visibilitychange", this._onVisibility);
    window.removeEventListener("pagehide", this._onLeave);
    navigator.mediaDevices?.removeEventListener?.("devicechange", this._onDevices);
    this.sizes.disconnect();
  }

  /** Open camera and connection; only after consent. */
  async start() {
    if (!this.parts.agree.checked || this.stream || this.opening) return;
    this._fault("");
    this.opening = true;
    this._state("starting");
    const { video, cameras } = this.parts;
    try {
      await this.views.load();
      const stream = await openCamera(cameras.value);
      if (!this.opening || !this.isConnected) {
        closeCamera(stream);
        return;
      }
      this.stream = stream;
      for (const track of stream.getTracks()) track.onended = this._onEnded;
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      this.stop("");
      this._fault(error instanceof CameraError ? error.message : `It did not start: ${error.message}`);
      return;
    } finally {
      this.opening = false;
    }
    if (this.stream) this._show();
  }

  /** Free the camera, close the connection, forget what was seen; `words` say why. */
  stop(words = "The camera is off.") {
    const focused = this.shadowRoot?.activeElement === this.parts?.stop;
    this.opening = false;
    closeCamera(this.stream);
    this.stream = null;
    this.parts.video.srcObject = null;
    this._disconnect();
    this.sender.end();
    this.views.clear();
    this._hint("");
    this.parts.rate.textContent = this.parts.delay.textContent = "–";
    if (this.parts.panel.dataset.state !== "idle") {
      this._state("off");
      this.parts.off.textContent = words;
      this.voice.say(words);
      if (focused) this.parts.start.focus();
    }
  }

  _build() {
    const root = this.attachShadow({ mode: "open" });
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("live.css", HERE);
    const body = document.createElement("div");
    body.className = "root";
    body.innerHTML = template();
    // Nothing is shown until it can be shown as it is meant.
    style.onload = style.onerror = () => (body.style.visibility = "visible");
    root.append(style, body);
    const parts = (this.parts = partsOf(root));
    parts.host.textContent = location.host;
    this.views = new Views(this, parts, parts.video);
    this.voice = new Voice(parts.said);
    this.sender = new Sender(parts.video);
    this._onVisibility = () => this._visibility();
    this._onLeave = () => this.stop();
    this._onDevices = () => this._cameras();
    this._onEnded = () => {
      this.stop();
      this._fault("The camera was disconnected. Connect it, then start again.");
    };
    // A panel on a page's other tab has no size: nobody sees that the camera is on.
    this.sizes = new ResizeObserver(() => {
      if (this.stream && !this.offsetWidth) this.stop("The camera was switched off when you left this part of the page.");
    });
    this._controls(parts);
  }

  _controls(parts) {
    parts.agree.addEventListener("change", () => (parts.start.disabled = !parts.agree.checked));
    parts.consent.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    parts.stop.addEventListener("click", () => this.stop());
    parts.cameras.addEventListener("change", async () => {
      this.stop();
      await this.start();
    });
    const kept = (name, otherwise) => (store(name) ?? otherwise) === "yes";
    parts.mirror.checked = kept("mirror", "yes");
    parts.blur.checked = kept("blur", "no");
    for (const name of ["mirror", "blur"]) {
      parts[name].addEventListener("change", () => {
        store(name, parts[name].checked ? "yes" : "no");
        this._looks();
      });
    }
    this._looks();
  }

  _looks() {
    this.views.stage.setMirrored(this.parts.mirror.checked);
    if (this.views.stage.blurred !== this.parts.blur.checked) {
      this.views.stage.setBlurred(this.parts.blur.checked);
    }
  }

  /** The camera is open: show it, connect, send. */
  _show() {
    const { video, stage, stop } = this.parts;
    const ratio = (video.videoWidth || 16) / (video.videoHeight || 9);
    stage.style.setProperty("--ratio", ratio.toFixed(4));
    const { facingMode } = this.stream.getVideoTracks()[0].getSettings();
    if (facingMode === "environment") this.views.stage.setMirrored(false);
    this._state("live");
    this.views.begin("webcam");
    this.voice.say("The camera is on.");
    stop.focus({ preventScroll: true });
    this._cameras();
    this.sender.begin();
    this._connect();
  }

  _connect() {
    const url = new URL(this.getAttribute("socket") ?? "v1/live", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    this._hint("Connecting …");
    this.link = new Link(url, {
      open: () => {
        this.views.join();
        this._hint("Looking for faces …");
      },
      answer: (row, entry) => this._answer(row, entry),
      fault: (words) => this._lost(words),
      lost: (tries) => this._lost(lostWords(tries)),
      release: (picture) => this.sender.pictures.giveBack(picture),
    });
    this.sender.use(this.link);
  }

  _disconnect() {
    this.sender.use(null);
    this.link?.close();
    this.link = null;
  }

  _lost(words) {
    this.voice.say(words);
    this._hint(words);
    this.views.clear();
    this.sender.forget();
    this._numbers(performance.now(), true);
  }

  _answer(row, { sentMs, picture }) {
    const nowMs = performance.now();
    this.sender.answered(row, sentMs, nowMs);
    this.views.show(row, nowMs, { picture, atMs: sentMs });
    this._hint(row.faces.length ? "" : "No face in view");
    this._numbers(nowMs);
    const { person } = this.views.people;
    if (person) this.voice.label(person.uncertain ? "uncertain" : person.label, nowMs);
  }

  _numbers(nowMs, atOnce = false) {
    if (!atOnce && nowMs - (this.numbersMs ?? 0) < 500) return;
    this.numbersMs = nowMs;
    const hz = this.sender.rate.hz(nowMs);
    this.parts.rate.textContent = hz ? hz.toFixed(hz < 9.95 ? 1 : 0) : "–";
    this.parts.delay.textContent = hz ? `${Math.round(this.sender.delay.value)} ms` : "–";
  }

  async _cameras() {
    const { pick, cameras } = this.parts;
    const found = await listCameras();
    const current = this.stream?.getVideoTracks()[0]?.getSettings().deviceId ?? cameras.value;
    cameras.replaceChildren(
      ...found.map(({ id, label }) => new Option(label, id, false, id === current)),
    );
    pick.hidden = found.length < 2;
  }

  _visibility() {
    clearTimeout(this.hiddenTimer);
    if (!this.stream) return;
    if (document.hidden) {
      this.hiddenTimer = setTimeout(() => this._disconnect(), HIDDEN_MS);
    } else if (!this.link) {
      this.views.clear();
      this._connect();
    }
  }

  _state(name) {
    this.parts.panel.dataset.state = name;
    const label = { starting: "Starting …", off: "Start again" }[name] ?? "Start camera";
    this.parts.start.querySelector("span").textContent = label;
    this.parts.start.disabled = name === "starting" || !this.parts.agree.checked;
  }

  _fault(words) {
    this.parts.fault.textContent = words;
    this.parts.fault.hidden = !words;
  }

  _hint(words) {
    const { hint } = this.parts;
    if (hint.textContent === words) return;
    hint.textContent = words;
    hint.hidden = !words;
  }
}

/** Read or keep a setting in this browser; where storage is forbidden nothing is kept. */
function store(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(`ferstream-${name}`);
    localStorage.setItem(`ferstream-${name}`, value);
  } catch {
    // Private windows may forbid it; the setting then lasts as long as the page.
  }
  return null;
}

if (!customElements.get("ferstream-live")) customElements.define("ferstream-live", FerstreamLive);
