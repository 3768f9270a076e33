// Light or dark, as the page around the panel is, and the colours for what is drawn on canvases.

import { broughtColour } from "./tones.js";

export class Theme {
  constructor(host) {
    this.host = host;
    this.media = window.matchMedia("(prefers-color-scheme: dark)");
    this.change = () => this._apply();
    this.observer = new MutationObserver(this.change);
    this._apply();
  }

  watch() {
    const watched = { attributes: true, attributeFilter: ["class"] };
    this.observer.observe(document.documentElement, watched);
    this.observer.observe(document.body, watched);
    this.media.addEventListener("change", this.change);
    this._apply();
  }

  unwatch() {
    this.observer.disconnect();
    this.media.removeEventListener("change", this.change);
  }

  /** The colour of a tone, as the style sheet has it. */
  colour(tone) {
    if (!this.colours.has(tone)) {
      const style = getComputedStyle(this.host);
      const known = broughtColour(tone) ?? style.getPropertyValue(`--${tone}`);
      const found = known || style.getPropertyValue("--neutral");
      // Before the style sheet is there nothing is remembered.
      if (!found) return "gray";
      this.colours.set(tone, found.trim());
    }
    return this.colours.get(tone);
  }

  _apply() {
    // Gradio decides by itself and marks the body; any other page follows the browser.
    const marked = [document.body, document.documentElement].some(
      (element) => element.classList.contains("dark"),
    );
    const decides = document.querySelector("gradio-app, .gradio-container") !== null;
    const dark = marked || (!decides && this.media.matches);
    this.host.dataset.theme = dark ? "dark" : "light";
    this.colours = new Map();
  }
}
