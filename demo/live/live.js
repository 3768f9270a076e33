// The live panel's element; the rest follows.
customElements.get("ferstream-live") || customElements.define("ferstream-live", class extends HTMLElement {});
