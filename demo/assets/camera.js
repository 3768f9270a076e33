// The camera tab: an address, the camera's pictures, and what is read in them. The views are the
// live panel's own.

import { Rate } from "../../live/meter.js";
import { partsOf, template } from "../../live/template.js";
import { Views } from "../../live/views.js";

const LIVE = new URL("../../live/", import.meta.url);
const SOCKET = new URL("../camera", import.meta.url);

const FORM = `
  <h2>Watch a network camera</h2>
  <ul>
    <li>The server opens the camera, reads its pictures in memory and drops them. Nothing is
      recorded.</li>
    <li>People in view of a camera must know of it. In the EU, emotion recognition is prohibited at
      work and in education (AI Act, Art.&nbsp;5(1)(f)).</li>
  </ul>
  <p class="fault" role="alert" hidden></p>
  <label class="address"><span>Address</span>
    <input name="address" type="text" inputmode="url" autocomplete="off" spellcheck="false"
      autocapitalize="none" placeholder="rtsp://user:password@camera/stream" required></label>
  <label class="agree"><input type="checkbox" name="agree">
    <span>Everyone in view knows this and agrees</span></label>
  <button class="main start" type="submit" disabled><span>Watch</span></button>`;

const STYLE = `
  .address { display: grid; gap: 4px; font-weight: 600; }
  .address input { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
    font-weight: 400; min-height: 44px; padding: 0 12px; width: 100%; }
  .switch.mirror { display: none; }
  .consent .start { padding-inline: 18px; }
  .picture { height: 100%; inset: 0; object-fit: contain; position: absolute; width: 100%; }
  .panel:not([data-state="live"]) .picture { visibility: hidden; }`;

class Camera extends HTMLElement {
  connectedCallback() {
    if (!this.shadowRoot) this._build();
    this.views.theme.watch();
    this.sizes.observe(this);
  }

  disconnectedCallback() {
    this.stop();
    this.sizes.disconnect();
    this.views.theme.unwatch();
  }

  async start() {
    const { address } = this.form.elements;
    this._fault("");
    this.state = "starting";
    this._button("Connecting …", true);
    try {
      await this.views.load();
    } catch (error) {
      this.stop(`It did not start: ${error.message}`);
      return;
    }
    const url = new URL(SOCKET);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      socket.send(JSON.stringify({ address: address.value.trim(), blur: this.parts.blur.checked }));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this._told(JSON.parse(data));
      else this._picture(data, socket);
    };
    socket.onclose = () => {
      if (socket === this.socket) this.stop(this.last || "The connection to the server was lost.");
    };
  }

  stop(words = "") {
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.last = "";
    this.views.clear();
    this.picture.removeAttribute("src");
    URL.revokeObjectURL(this.shown);
    this._hint("");
    this.parts.panel.dataset.state = "idle";
    this.state = "idle";
    this._button("Watch", !this.parts.agree.checked);
    this._fault(words);
  }

  _build() {
    const root = this.attachShadow({ mode: "open" });
    const look = document.createElement("link");
    look.rel = "stylesheet";
    look.href = new URL("live.css", LIVE);
    const own = document.createElement("style");
    own.textContent = STYLE;
    const body = document.createElement("div");
    body.className = "root";
    body.innerHTML = template(location.host);
    look.onload = look.onerror = () => (body.style.visibility = "visible");
    root.append(look, own, body);
    this.form = root.querySelector(".consent");
    this.form.innerHTML = FORM;
    this.parts = partsOf(root);
    const { parts } = this;
    // The camera is somebody else's: its pictures come one by one and are never mirrored.
    this.picture = document.createElement("img");
    this.picture.className = "picture";
    this.picture.alt = "The camera's picture";
    parts.video.replaceWith(this.picture);
    parts.mirror.closest(".switch").classList.add("mirror");
    parts.stop.querySelector("span").textContent = "Stop watching";
    parts.stop.setAttribute("aria-label", "Stop watching");
    // On a page's other tab nobody sees it.
    this.sizes = new ResizeObserver(() => {
      if (this.socket && !this.offsetWidth) this.stop("Watching ended when you left this tab.");
    });
    this.rate = new Rate();
    this.views = new Views(this, parts, this.picture);
    this.views.stage.setMirrored(false);
    const ready = () => (parts.start.disabled = !parts.agree.checked || this.state === "starting");
    parts.agree.addEventListener("change", ready);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (parts.agree.checked && !this.socket) this.start();
    });
    parts.stop.addEventListener("click", () => {
      this.stop();
      parts.start.focus();
    });
    parts.blur.addEventListener("change", () => {
      // The server blurs: nothing else of a face ever comes here.
      if (this.socket) {
        this.stop();
        this.start();
      }
    });
  }

  _told({ error, state, source, message }) {
    if (error) {
      this.last = error.message;
      return;
    }
    if (message) this.last = message;
    if (state === "live") {
      this.last = "";
      // The name without a password; a camera that came back goes on where it was.
      if (this.state !== "live") this.views.begin(source);
      return;
    }
    const words = { connecting: "Connecting to the camera …", stalled: "The camera is silent …" };
    const said = message || words[state] || "";
    if (this.state === "live") {
      this.views.clear();
      this._hint(said);
    } else if (message) {
      this._fault(`${message}. Trying again …`);
    }
  }

  async _picture(data, socket) {
    const length = new DataView(data).getUint32(0);
    const row = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const url = URL.createObjectURL(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
    const nowMs = performance.now();
    if (this.state !== "live") {
      const [width, height] = row.size;
      this.state = "live";
      this._fault("");
      this.parts.stage.style.setProperty("--ratio", (width / height).toFixed(4));
      this.parts.panel.dataset.state = "live";
      this.parts.stop.focus({ preventScroll: true });
    }
    this.picture.src = url;
    URL.revokeObjectURL(this.shown);
    this.shown = url;
    if (socket !== this.socket) return;
    this.rate.add(nowMs);
    this.views.show(row, nowMs);
    this._hint(row.faces.length ? "" : "No face in view");
    this._numbers(nowMs, row.server_ms);
  }

  _numbers(nowMs, delayMs) {
    if (nowMs - (this.numbersMs ?? 0) < 500) return;
    this.numbersMs = nowMs;
    const hz = this.rate.hz(nowMs);
    this.parts.rate.textContent = hz.toFixed(hz < 9.95 ? 1 : 0);
    this.parts.delay.textContent = `${Math.round(delayMs)} ms`;
  }

  _button(words, disabled) {
    this.parts.start.querySelector("span").textContent = words;
    this.parts.start.disabled = disabled;
  }

  _fault(words) {
    this.parts.fault.textContent = words;
    this.parts.fault.hidden = !words;
  }

  _hint(words) {
    this.parts.hint.textContent = words;
    this.parts.hint.hidden = !words;
  }
}

customElements.get("ferstream-camera") || customElements.define("ferstream-camera", Camera);
