// What visitors are told first, until they have said that they read it.

import { bare } from "./bare.js";

const READ = "ferstream.notice.1";

class Notice extends HTMLElement {
  connectedCallback() {
    bare(this);
    if (this.firstChild) return;
    if (remembered()) {
      this._short();
      return;
    }
    this.innerHTML = `
      <section class="fs-notice" role="region" aria-label="Before you begin">
        <div>
          <p><b>This page estimates expressions, not feelings,</b> and it errs. Do not decide about
            people by it. Show only faces of people who agreed.</p>
          <details><summary>What it does, and the law</summary>
            <p>It names how a face would read to people who see it. It does not know what anybody
              feels, wants or is. The fine words are a machine's judgement.</p>
            <p>In the European Union, inferring emotions of people at work or in education is
              prohibited (AI Act, Art. 5(1)(f), since 2 February 2025), and people exposed to such
              a system must be told (Art. 50(3), since 2 August 2026).</p>
          </details>
        </div>
        <button type="button" class="fs-button">I understand</button>
      </section>`;
    // On a phone it would fill the first screen.
    this.querySelector("details").open = window.matchMedia("(min-width: 700px)").matches;
    this.querySelector("button").addEventListener("click", () => {
      remember();
      this._short();
    });
  }

  _short() {
    this.innerHTML = `<p class="fs-reminder">Estimates how expressions read, not what people feel.</p>`;
  }
}

function remembered() {
  try {
    return localStorage.getItem(READ) === "yes";
  } catch {
    return false;
  }
}

function remember() {
  try {
    localStorage.setItem(READ, "yes");
  } catch {
    // A browser that keeps nothing shows it again next time.
  }
}

customElements.get("ferstream-notice") || customElements.define("ferstream-notice", Notice);
