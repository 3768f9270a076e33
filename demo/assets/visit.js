// A visit: what this page asks of the server, and its end when the page is closed.

const HERE_MS = 20000;

/** An answer of the server that says what is wrong. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** One page's visit; it begins with the first request that needs it. */
export class Visit {
  /** `onGone` is called when the server has ended the visit. */
  constructor(onGone = () => {}) {
    this.onGone = onGone;
    this.token = null;
    this.beginning = null;
    addEventListener("pagehide", () => this.end());
    // A page that comes back from the browser's memory begins anew.
    addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  }

  /** The token; asks for one where there is none. */
  async begin() {
    if (this.token) return this.token;
    this.beginning ??= this._begin().finally(() => (this.beginning = null));
    return this.beginning;
  }

  end() {
    clearInterval(this.timer);
    if (this.token) navigator.sendBeacon(at(`visits/${this.token}/end`));
    this.token = null;
  }

  /** The address of something of this visit. */
  url(path) {
    return at(`visits/${this.token}/${path}`);
  }

  /** A request within the visit; the answer's JSON, or null. Throws `Refused`. */
  async ask(path, options = {}) {
    await this.begin();
    try {
      return await answer(fetch(this.url(path), options));
    } catch (error) {
      if (error.code === "SESSION_GONE") this.token = null;
      throw error;
    }
  }

  async _begin() {
    const told = await answer(fetch(at("visits"), { method: "POST" }));
    this.token = told.visit;
    clearInterval(this.timer);
    this.timer = setInterval(() => this._here(), HERE_MS);
    return this.token;
  }

  async _here() {
    if (!this.token) return;
    try {
      await this.ask("here", { method: "POST" });
    } catch (error) {
      if (error.code === "SESSION_GONE") this.onGone();
    }
  }

  /** Send a file; `onShare` is told how much of it has gone, 0..1. Returns {done, abort}. */
  send(path, file, onShare) {
    const request = new XMLHttpRequest();
    const done = this.begin().then(
      () =>
        new Promise((resolve, reject) => {
          request.open("POST", this.url(path));
          request.setRequestHeader("Content-Type", "application/octet-stream");
          request.upload.onprogress = ({ loaded, total }) => total && onShare(loaded / total);
          request.onload = () => {
            const body = parsed(request.responseText);
            if (request.status < 300) resolve(body);
            else reject(refusal(request.status, body));
          };
          request.onerror = () => reject(lost());
          request.onabort = () => reject(new Refused(0, "ABORTED", "called off"));
          request.send(file);
        }),
    );
    return { done, abort: () => request.abort() };
  }
}

const at = (path) => new URL(`../${path}`, import.meta.url).href;

async function answer(asked) {
  const response = await asked.catch(() => {
    throw lost();
  });
  if (response.status === 204) return null;
  const body = parsed(await response.text());
  if (!response.ok) throw refusal(response.status, body);
  return body;
}

const lost = () => new Refused(0, "LOST", "The server does not answer. Is it still running?");

function refusal(status, body) {
  const { code = "FAILED", message = `the server answered ${status}` } = body?.error ?? {};
  return new Refused(status, code, message);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
