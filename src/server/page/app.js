"use strict";

// The page of `rag-query serve`: asks, shows the answer while it is written, and opens its sources.
//
// Answers and documents are hostile until shown otherwise. Nothing of them becomes markup: every
// element is built by `element`, with texts as text nodes. Links in them stay text.

const texts = JSON.parse(document.getElementById("texts").textContent);
const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------- storage of this browser

/** What is stored for this tab or, in `localStorage`, for this browser; null where there is nothing. */
function stored(storage, name) {
  try {
    return window[storage].getItem(`rag-query-${name}`);
  } catch {
    return null; // storage is switched off
  }
}

function store(storage, name, value) {
  try {
    window[storage].setItem(`rag-query-${name}`, value);
  } catch {
    // Storage is full or switched off: the page works, but forgets when it is reloaded.
  }
}

// ---------------------------------------------------------------- words and numbers

let language = stored("localStorage", "language")
  ?? (navigator.language.toLowerCase().startsWith("vi") ? "vi" : "en");
if (!(language in texts)) language = "en";

/** The text of this name in the reader's language, with `{n}` and the like filled in. */
function text(name, values = {}) {
  return texts[language][name].replace(/\{(\w+)\}/g, (_, value) => values[value]);
}

function number(value, digits = 0) {
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, format).format(value);
}

function duration(ms) {
  if (ms < 1000) return `${number(ms, ms < 10 ? 1 : 0)} ${text("ms")}`;
  return `${number(ms / 1000, 1)} ${text("s")}`;
}

/** Without control characters, and without those that turn the direction of what follows. */
function printable(value) {
  return String(value ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "");
}

function oneLine(value) {
  return printable(String(value ?? "").replace(/[\n\r\t\u2028\u2029\u0085]/g, " "));
}

/** Where a passage stands in its file: `lines 3–9`. */
function place(passage) {
  if (passage.seconds) {
    const clock = (s) => [s / 3600, (s / 60) % 60, s % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
    return passage.seconds.map(clock).join("–");
  }
  for (const unit of ["line", "page", "row", "slide"]) {
    const ends = passage[`${unit}s`];
    if (!ends) continue;
    const [first, last] = ends;
    return first === last ? text(unit, { n: first }) : text(`${unit}s`, { n: `${first}–${last}` });
  }
  return "";
}

/** Heading and place of a passage, in one line. */
function whereabouts(passage) {
  const recognized = passage.recognized && text("recognized");
  const heading = oneLine(passage.heading).replaceAll(" > ", " › ");
  return [heading, [place(passage), recognized].filter(Boolean).join(", ")].filter(Boolean).join(" · ");
}

// ---------------------------------------------------------------- elements

/** An element with attributes, listeners (`onclick`) and children; strings become text nodes. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false && child !== ""));
  return made;
}

function translate() {
  document.documentElement.lang = language;
  for (const shown of document.querySelectorAll("[data-text]")) shown.textContent = text(shown.dataset.text);
  for (const shown of document.querySelectorAll("[data-label]")) shown.setAttribute("aria-label", text(shown.dataset.label));
  for (const shown of document.querySelectorAll("[data-hint]")) shown.title = text(shown.dataset.hint);
  byId("language").lang = language === "vi" ? "en" : "vi";
  byId("question").placeholder = text(turns.length ? "placeholder_next" : "placeholder");
  for (const turn of turns) turn.draw();
  showHealth();
}

/** Tells screen readers what is happening. */
function speak(words) {
  byId("spoken").textContent = words;
}

// ---------------------------------------------------------------- Markdown: a small, safe part of it

const MAX_DEPTH = 6;
/** Longer paragraphs are shown as they are: nobody writes them, and parsing them takes time. */
const MAX_PARAGRAPH = 20_000;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const isRule = (line) => /^(-{3,}|\*{3,}|_{3,})$/.test(line.replaceAll(" ", "").trim());
const isTableRule = (line) => line?.includes("-") && line.includes("|") && /^[\s|:-]+$/.test(line);
const startsBlock = (line) => !line.trim() || FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || /^ {0,3}>/.test(line) || isRule(line);

/** The blocks of a Markdown text. Each knows its source, so that only what changed is drawn anew. */
function blocks(source) {
  const lines = source.split("\n");
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const start = at;
    const block = readBlock(lines, at);
    at = Math.max(block.end, start + 1);
    if (block.kind) found.push({ ...block, source: `${block.kind}\n${lines.slice(start, at).join("\n")}` });
  }
  return found;
}

/** The block that begins at a line, and the line `end` after it; without a kind if there is none. */
function readBlock(lines, at) {
  const line = lines[at];
  const until = (holds) => {
    let end = at + 1;
    while (end < lines.length && holds(lines[end])) end += 1;
    return end;
  };
  if (!line.trim()) return { end: at + 1 };
  const fence = FENCE.exec(line)?.[1];
  if (fence) {
    const end = until((next) => !(next.trim().startsWith(fence) && next.trim().replaceAll(fence[0], "") === ""));
    return { kind: "code", text: lines.slice(at + 1, end).join("\n"), end: end + 1 };
  }
  const heading = HEADING.exec(line);
  if (heading) return { kind: "heading", level: heading[1].length, text: heading[2].trim(), end: at + 1 };
  if (isRule(line)) return { kind: "rule", end: at + 1 };
  if (/^ {0,3}>/.test(line)) {
    const end = until((next) => /^ {0,3}>/.test(next));
    return { kind: "quote", text: lines.slice(at, end).map((quoted) => quoted.replace(/^ {0,3}> ?/, "")).join("\n"), end };
  }
  if (ITEM.test(line)) return readList(lines, at);
  if (line.includes("|") && isTableRule(lines[at + 1])) {
    const end = until((next) => next.includes("|"));
    return { kind: "table", rows: lines.slice(at, end).filter((_, row) => row !== 1).map(cells), end };
  }
  const end = until((next) => !startsBlock(next));
  return { kind: "paragraph", text: lines.slice(at, end).join("\n"), end };
}

function cells(row) {
  const inside = row.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inside.replaceAll("\\|", "\u0000").split("|").map((cell) => cell.replaceAll("\u0000", "|").trim());
}

function readList(lines, at) {
  const [, indent, marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const items = [];
  let within = 0;
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const item = ITEM.exec(line);
    const begins = item && item[1].length < indent.length + 2;
    if (begins) {
      if (/\d/.test(item[2]) !== ordered || isRule(line)) break;
      within = item[1].length + item[2].length + 1;
      items.push([item[4]]);
    } else if (line.trim() === "") {
      const next = lines.slice(end + 1).find((later) => later.trim());
      if (next === undefined || !(ITEM.test(next) || /^\s{2}/.test(next))) break;
      items.at(-1).push("");
    } else {
      const indented = /^\s{2}/.test(line);
      if (!indented && (lines[end - 1].trim() === "" || startsBlock(line))) break;
      const spaces = /^\s*/.exec(line)[0].length;
      items.at(-1).push(line.slice(Math.min(spaces, within)));
    }
  }
  return { kind: "list", ordered, start: parseInt(marker, 10), items: items.map((item) => item.join("\n")), end };
}

/** Elements for a block; `cite` makes those of a citation. */
function drawBlock(block, cite, depth = 0) {
  const inline = (source) => drawInline(source, cite);
  const within = (source) => (depth < MAX_DEPTH
    ? blocks(source).map((inner) => drawBlock(inner, cite, depth + 1))
    : [source]);
  switch (block.kind) {
    case "code": return element("pre", { tabindex: 0 }, element("code", {}, block.text));
    // The question is a heading of the second level.
    case "heading": return element(`h${Math.min(block.level + 2, 6)}`, {}, inline(block.text));
    case "rule": return element("hr");
    case "quote": return element("blockquote", {}, within(block.text));
    case "list": {
      const items = block.items.map((item) => {
        const drawn = within(item);
        const tight = !item.includes("\n\n") && drawn[0]?.tagName === "P";
        return element("li", {}, tight ? [...drawn[0].childNodes] : drawn[0], drawn.slice(1));
      });
      return block.ordered ? element("ol", { start: block.start }, items) : element("ul", {}, items);
    }
    case "table": {
      const [head, ...rows] = block.rows;
      const row = (name) => (values) => element("tr", {}, values.map((value) => element(name, {}, inline(value))));
      const table = element("table", {}, element("thead", {}, row("th")(head)), element("tbody", {}, rows.map(row("td"))));
      return element("div", { class: "wide", tabindex: 0 }, table);
    }
    default: return element("p", {}, inline(block.text));
  }
}

const CITATION = /\[(\d{1,4}(?:\s*,\s*\d{1,4})*)\]/y;
const LINK = /!?\[([^[\]]*)\]\(([^()\s]*)[^()]*\)/y;
const SPECIAL = /[\\`[!*_~\n]/g;
const isSpace = (letter) => !letter || /\s/.test(letter);
const isMark = (letter) => /[\p{P}\p{S}]/u.test(letter);

/** Nodes for a text with code, emphasis and citations. Links become their words and their address. */
function drawInline(source, cite) {
  if (source.length > MAX_PARAGRAPH) return [source];
  const nodes = [];
  const openers = [];
  const match = (pattern, at) => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  for (let at = 0; at < source.length; ) {
    const letter = source[at];
    const citation = letter === "[" && match(CITATION, at);
    const link = !citation && (letter === "[" || letter === "!") && match(LINK, at);
    if (letter === "\\" && at + 1 < source.length && isMark(source[at + 1])) {
      nodes.push(source[at + 1]);
      at += 2;
    } else if (letter === "\n") {
      nodes.push(element("br"));
      at += 1;
    } else if (letter === "`") {
      const ticks = /^`+/.exec(source.slice(at))[0];
      const end = source.indexOf(ticks, at + ticks.length);
      nodes.push(end < 0 ? ticks : element("code", {}, source.slice(at + ticks.length, end).trim()));
      at = end < 0 ? at + ticks.length : end + ticks.length;
    } else if (citation) {
      attach(nodes);
      nodes.push(...cite(citation[1].split(",").map(Number), citation[0]));
      at += citation[0].length;
    } else if (link) {
      const [all, words, address] = link;
      nodes.push(words, words && address && words !== address ? ` (${address})` : words ? "" : address);
      at += all.length;
    } else if ("*_~".includes(letter)) {
      let end = at + 1;
      while (source[end] === letter) end += 1;
      emphasis(nodes, openers, letter, end - at, source[at - 1], source[end]);
      at = end;
    } else {
      SPECIAL.lastIndex = at + 1;
      const end = SPECIAL.exec(source)?.index ?? source.length;
      nodes.push(source.slice(at, end));
      at = end;
    }
  }
  for (const opener of openers) nodes[opener.at] = opener.letter.repeat(opener.count);
  return nodes;
}

/** A citation stays on the line of what it belongs to. */
function attach(nodes) {
  if (typeof nodes.at(-1) === "string") nodes.push(nodes.pop().replace(/ $/, "\u00a0"));
}

/** Adds a run of marks, and wraps what an earlier run of the same marks began. */
function emphasis(nodes, openers, letter, length, before, after) {
  let count = length;
  const opensHere = !isSpace(after) && (!isMark(after) || isSpace(before) || isMark(before));
  const closesHere = !isSpace(before) && (!isMark(before) || isSpace(after) || isMark(after));
  const within = letter === "_" && opensHere && closesHere;
  if (closesHere && !within) {
    while (count > 0) {
      const index = openers.findLastIndex((opener) => opener.letter === letter && (letter !== "~" || opener.count === count));
      if (index < 0) break;
      const opener = openers[index];
      const used = Math.min(opener.count, count, 2);
      // Runs inside that nothing closed are what they look like.
      for (const inner of openers.splice(index + 1)) nodes[inner.at] = inner.letter.repeat(inner.count);
      const inside = nodes.splice(opener.at + 1);
      const name = letter === "~" ? "s" : used === 2 ? "strong" : "em";
      nodes.push(element(name, {}, inside));
      opener.count -= used;
      count -= used;
      if (opener.count === 0) {
        nodes[opener.at] = "";
        openers.splice(index, 1);
      }
    }
  }
  if (count === 0) return;
  nodes.push(letter.repeat(count));
  if (opensHere && !within) openers.push({ at: nodes.length - 1, letter, count });
}

// ---------------------------------------------------------------- the server

let key = stored("sessionStorage", "key");

/** What a reader is told instead of an answer. */
class Problem extends Error {
  constructor(message, hint = "") {
    super(message);
    this.hint = hint;
  }
}

/** Posts to the server, and asks for its key where it wants one. */
async function post(path, body, signal) {
  for (;;) {
    const headers = { "Content-Type": "application/json" };
    if (key) headers.Authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      showHealth(null);
      throw new Problem(text("offline"), text("offline_next"));
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await problem(response);
    await askForKey(signal);
  }
}

async function problem(response) {
  const known = { 403: "forbidden", 413: "too_long", 429: "busy", 503: "busy" }[response.status];
  const fallback = known ? text(known) : text("failed", { n: response.status });
  try {
    const body = await response.json();
    const error = body.error?.message ? body.error : body;
    const message = typeof body.error === "string" ? body.error : error.message;
    return new Problem(oneLine(message || fallback), oneLine(error.hint));
  } catch {
    return new Problem(fallback);
  }
}

/** The events of a stream as they come. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have broken off already
  }
}

/** Resolves once the reader has given a key. */
function askForKey(signal) {
  const dialog = byId("key");
  byId("key-wrong").hidden = !key;
  byId("key-value").value = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    const finished = new AbortController();
    const listen = (target, event, heard) => target.addEventListener(event, heard, { signal: finished.signal });
    const end = (settle, value) => {
      finished.abort();
      dialog.close();
      settle(value);
    };
    listen(byId("key-form"), "submit", (event) => {
      event.preventDefault();
      // Other characters cannot be sent in a header, and no key has them.
      const given = byId("key-value").value.trim();
      if (!/^[\x21-\x7e]+$/.test(given)) {
        byId("key-wrong").hidden = false;
        return;
      }
      key = given;
      store("sessionStorage", "key", key);
      end(resolve);
    });
    listen(dialog, "close", () => end(reject, new Problem(text("key_title"))));
    if (signal) listen(signal, "abort", () => end(reject, new DOMException("stopped", "AbortError")));
  });
}

let health;

async function checkHealth() {
  try {
    const response = await fetch("health");
    showHealth(response.ok ? await response.json() : null);
  } catch {
    showHealth(null);
  }
}

/** Shows the server's state; null if it does not answer. */
function showHealth(now = health) {
  health = now;
  const shown = byId("health");
  if (health === undefined) return;
  shown.dataset.state = health ? (health.llm?.state ?? "") : "offline";
  if (!health) {
    shown.textContent = text("health_offline");
    return;
  }
  const { llm, profile, chunks } = health;
  const where = llm && [llm.device, llm.state in texts.en ? text(llm.state) : llm.state].filter(Boolean).join(", ");
  const parts = [llm && `${llm.name} (${where})`, profile, Number.isFinite(chunks) && text("health_passages", { n: number(chunks) })];
  shown.textContent = oneLine(parts.filter(Boolean).join(" · "));
  shown.title = shown.textContent;
}

// ---------------------------------------------------------------- a question and its answer

const STEPS = ["rewrite", "load_index", "embed", "search", "rerank", "load_llm", "prefill", "judge", "decode", "check"];

class Turn {
  /** `state` is what a reload brings back: see `save`. */
  constructor(state) {
    Object.assign(this, { text: "", thinking: "", notices: [], steps: [], ...state });
    this.drawn = [];
    const heading = element("h2", { dir: "auto" }, printable(this.question));
    this.now = element("summary");
    this.list = element("div", { class: "steps" });
    this.progress = element("details", { class: "progress" }, this.now, this.list);
    this.reasoning = element("details", { class: "thinking", hidden: true }, element("summary"), element("div", { dir: "auto" }));
    this.body = element("div", { class: "answer", dir: "auto", "aria-live": "polite" });
    this.after = element("div", { class: "after" });
    this.article = element("article", {}, heading, this.progress, this.reasoning, this.body, this.after);
    byId("conversation").append(this.article);
    this.draw();
  }

  get running() {
    return Boolean(this.began);
  }

  /** What a follow-up needs to know of it; null if nothing was answered. */
  get remembered() {
    const answer = this.answer ? this.answer.answered && this.answer.answer : this.text;
    return answer ? { question: this.question, answer } : null;
  }

  get saved() {
    const { question, text, thinking, notices, mode, query, answer, error, took, rate } = this;
    return { question, text, thinking, notices, mode, query, answer, error, took, rate, stopped: this.stopped || this.running };
  }

  begin() {
    this.began = performance.now();
    this.stage = { name: "starting" };
    this.clock = setInterval(() => this.drawProgress(), 200);
    this.body.setAttribute("aria-busy", "true");
    this.draw();
  }

  end() {
    this.took = performance.now() - this.began;
    this.began = undefined;
    clearInterval(this.clock);
    this.body.removeAttribute("aria-busy");
    this.draw();
    const said = this.after.querySelector(".refused, .warning")?.textContent;
    speak(said ?? "");
  }

  /** Takes what the server says. */
  hear(event) {
    const finished = (step) => this.steps.push([step, event.took_ms]);
    const next = (name, values) => {
      this.stage = { name, values };
      speak(text(name, values));
    };
    switch (event.event) {
      case "queued": next("queued", { n: event.ahead }); break;
      case "rewriting": next("rewriting"); break;
      case "understood": finished("rewrite"); this.query = event; next("searching"); break;
      case "searched": finished("search"); next("ranking"); break;
      case "reranked": finished("rerank"); next("reading"); break;
      case "loading_llm": next("loading_llm"); break;
      case "llm_loaded": finished("load_llm"); next("reading"); checkHealth(); break;
      case "judging": next("judging"); break;
      case "judged": finished("judge"); next("reading"); break;
      case "answering": next(event.mode === "extractive" ? "quoting" : "writing"); this.mode = event.mode; break;
      case "text": this.text += event.text; break;
      case "thinking": this.thinking += event.text; break;
      case "retracted": this.thinking += this.text; this.text = ""; break;
      case "answered": finished("decode"); this.rate = event.tokens_per_second; next("checking"); break;
      case "notice": this.notices.push(event.text); break;
      case "done": this.answer = event.answer; this.mode = event.answer.mode; break;
      case "error": this.error = { message: event.message, hint: event.hint }; break;
      // The rest is told by notices, in words, or by a newer server.
    }
    this.drawSoon();
  }

  /** At most once for each picture of the screen: pieces of text come faster. */
  drawSoon() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      const follow = isAtEnd();
      this.drawProgress();
      this.drawAnswer();
      if (follow) scrollToEnd();
    });
  }

  draw() {
    this.drawn = [];
    this.body.replaceChildren();
    this.drawProgress();
    this.drawAnswer();
    this.drawAfter();
  }

  drawProgress() {
    this.progress.hidden = !this.running && !this.answer;
    this.progress.classList.toggle("running", this.running);
    const total = this.running ? performance.now() - this.began : this.took;
    const parts = [total > 0 && duration(total)];
    if (this.running) parts.unshift(`${text(this.stage.name, this.stage.values)}…`);
    else if (this.answer) {
      const { model, placement, mode } = this.answer;
      if (this.rate > 0) parts.push(`${number(this.rate, 1)} ${text("tokens_per_second")}`);
      if (mode === "generative" && model) parts.push(text("ran_on", { model, device: placement?.llm ?? "?" }));
    }
    this.now.textContent = oneLine(parts.filter(Boolean).join(" · "));
    this.now.title = text("steps");
    const timings = this.answer && STEPS.map((step) => [step, this.answer.timings_ms?.[step]]);
    const steps = (timings ?? this.steps).filter(([, ms]) => ms > 0);
    const longest = Math.max(...steps.map(([, ms]) => ms));
    const rows = steps.map(([step, ms]) => {
      const bar = element("span", { class: "bar" });
      bar.style.inlineSize = `${(100 * ms) / longest}%`;
      return element("li", {}, element("span", {}, text(`time_${step}`)), element("span", { class: "ms" }, duration(ms)), bar);
    });
    const { prompt, generated } = this.answer?.tokens ?? {};
    const tokens = generated > 0 && text("tokens", { read: number(prompt), written: number(generated) });
    this.list.replaceChildren(element("ol", {}, rows), ...(tokens ? [element("p", {}, tokens)] : []));
  }

  drawAnswer() {
    this.reasoning.hidden = !this.thinking;
    if (this.thinking) {
      this.reasoning.firstChild.textContent = text("thinking");
      this.reasoning.lastChild.textContent = printable(this.thinking);
    }
    const source = printable(this.answer ? this.answer.answer : this.text).trim();
    const parts = this.mode === "extractive"
      ? source.split(/\n+/).filter(Boolean).map((line) => ({ kind: "paragraph", text: line, source: line }))
      : blocks(source);
    const cite = (numbers, written) => this.cite(numbers, written);
    parts.forEach((part, at) => {
      if (this.drawn[at]?.source === part.source && this.drawn[at].complete === Boolean(this.answer)) return;
      const node = this.mode === "extractive" ? element("p", {}, quotation(part.text, cite)) : drawBlock(part, cite);
      if (this.drawn[at]) this.drawn[at].node.replaceWith(node);
      else this.body.append(node);
      this.drawn[at] = { source: part.source, complete: Boolean(this.answer), node };
    });
    this.drawn.length = parts.length;
    while (this.body.children.length > parts.length) this.body.lastChild.remove();
  }

  /** Buttons that open the sources; text where there is none of this number. */
  cite(numbers, written) {
    if (!this.answer) {
      const plausible = this.running && numbers.every((n) => n > 0 && n < 100);
      return plausible ? numbers.map((n) => element("button", { type: "button", class: "cite", disabled: true }, String(n))) : [written];
    }
    const passages = numbers.map((n) => this.answer.passages.find((passage) => passage.n === n));
    if (!passages.some(Boolean)) return [element("span", { class: "no-source", title: text("no_source", { n: numbers.join(", ") }) }, written)];
    return passages.map((passage, at) => (passage
      ? element("button", {
        type: "button",
        class: "cite",
        "aria-label": text("open_source", { n: passage.n }),
        title: oneLine(passage.document),
        onclick: () => openSource(passage),
      }, String(passage.n))
      : element("span", { class: "no-source", title: text("no_source", { n: numbers[at] }) }, `[${numbers[at]}]`)));
  }

  /** What stands below the answer: how it ended, warnings, sources. */
  drawAfter() {
    const { answer, error } = this;
    const warning = (...children) => element("p", { class: "warning", dir: "auto" }, ...children);
    const parts = [];
    const refused = answer && !answer.answered && answer.reason !== "interrupted";
    if (error) {
      const hint = error.hint && element("span", { class: "hint" }, printable(error.hint));
      parts.push(element("div", { class: "warning", role: "alert", dir: "auto" }, element("p", {}, printable(error.message) || text("error")), hint && element("p", {}, hint)));
    } else if (this.stopped) {
      parts.push(warning(text(this.text ? "interrupted" : "stopped_early")));
    } else if (refused) {
      const reason = answer.reason in texts.en ? answer.reason : "no_match";
      parts.push(element("div", { class: "refused" }, element("p", {}, text(reason)), element("p", {}, text(`${reason}_next`))));
    } else if (answer?.reason in texts.en) {
      parts.push(warning(text(answer.reason)));
    }
    if (answer?.mode === "extractive" && answer.answered) parts.push(element("p", { class: "faint" }, text("quoted")));
    if (this.query?.query) parts.push(element("p", { class: "faint", dir: "auto" }, text(this.query.by_llm ? "searched_for" : "joined", { text: oneLine(this.query.query) })));
    for (const notice of this.notices.map(printable)) {
      const said = withoutSymbol(notice);
      parts.push(notice.startsWith("ℹ") ? element("p", { class: "faint", dir: "auto" }, said) : warning(said));
    }
    parts.push(...unsupported(answer?.unsupported ?? []));
    parts.push(...this.sources());
    if (!this.running) parts.push(this.actions());
    this.after.replaceChildren(...parts);
  }

  sources() {
    const passages = this.answer?.passages ?? [];
    const cited = passages.filter((passage) => passage.cited);
    const others = passages.filter((passage) => !passage.cited);
    const list = (of) => element("ol", { class: "sources" }, of.map((passage) => element("li", {}, card(passage))));
    const parts = [];
    if (cited.length) parts.push(element("h3", {}, text("sources")), list(cited));
    if (others.length) {
      const summary = this.answer.answered ? text("read_too", { n: others.length }) : text("closest");
      parts.push(element("details", { class: "others" }, element("summary", {}, summary), list(others)));
    }
    return parts;
  }

  actions() {
    const failed = this.error || this.stopped;
    const copy = (event) => copyAnswer(this, event.currentTarget);
    return element("p", { class: "actions" },
      this.remembered && element("button", { type: "button", class: "quiet", onclick: copy }, text("copy")),
      failed && element("button", { type: "button", class: "quiet again", onclick: () => askAgain(this) }, text("again")));
  }
}

/** A quoted line: as it stands in the document, but for the citations behind it. */
function quotation(line, cite) {
  const nodes = [];
  line.split(/(\[\d{1,4}\])/).forEach((part, at) => {
    if (at % 2) attach(nodes);
    nodes.push(...(at % 2 ? cite([Number(part.slice(1, -1))], part) : [part]));
  });
  return nodes;
}

/** A notice without the symbol that stands before it on a terminal. */
function withoutSymbol(notice) {
  return notice.replace(/^[\p{Extended_Pictographic}\ufe0f\s]+/u, "");
}

/** All sentences without support, where the notice about them has only the first. */
function unsupported(sentences) {
  if (sentences.length < 2) return [];
  const head = text("unsupported", { n: sentences.length });
  const items = sentences.map((sentence) => element("li", { dir: "auto" }, printable(sentence.text)));
  return [element("details", { class: "warning" }, element("summary", {}, head), element("ul", {}, items))];
}

function card(passage) {
  return element("button", { type: "button", class: "card", onclick: () => openSource(passage) },
    element("span", { class: "n" }, String(passage.n)),
    element("span", { class: "name", dir: "auto" }, oneLine(passage.document)),
    element("span", { class: "where", dir: "auto" }, whereabouts(passage)));
}

async function copyAnswer(turn, button) {
  const cited = (turn.answer?.passages ?? []).filter((passage) => passage.cited);
  const source = (passage) => [`[${passage.n}] ${oneLine(passage.document)}`, whereabouts(passage)].filter(Boolean).join(" · ");
  const sources = cited.length ? `\n\n${text("sources")}:\n${cited.map(source).join("\n")}` : "";
  let done = "copied";
  try {
    await navigator.clipboard.writeText(turn.remembered.answer.trim() + sources);
  } catch {
    done = "not_copied";
  }
  button.textContent = text(done);
  speak(text(done));
  setTimeout(() => { button.textContent = text("copy"); }, 2000);
}

// ---------------------------------------------------------------- a source

async function openSource(passage) {
  const body = byId("source-text");
  byId("source-name").textContent = oneLine(passage.document);
  byId("source-place").textContent = whereabouts(passage);
  body.replaceChildren(element("p", { class: "faint" }, text("loading_source")));
  byId("source").showModal();
  const opening = (openSource.last = {});
  let shown;
  try {
    const response = await post("v1/source", { document_id: passage.document_id });
    shown = drawSource(await response.json(), passage);
  } catch (error) {
    // The passage itself is here, whatever has become of its document.
    const why = error instanceof Problem ? [error.message, error.hint].filter(Boolean).join(" ") : "";
    shown = [element("p", { class: "warning" }, `${text("source_failed")} ${why}`), quote(passage)];
  }
  if (openSource.last !== opening) return;
  body.replaceChildren(...shown);
  body.scrollTop = 0;
  body.querySelector("mark")?.scrollIntoView({ block: "center" });
}

function quote(passage) {
  return element("section", { dir: "auto" }, element("mark", {}, printable(passage.text)));
}

/** The document's sections, in which the passage is marked. */
function drawSource(source, passage) {
  const sections = sectionsOf(source.passages ?? []);
  const likely = [...sections].sort((a, b) => Number(b.heading === passage.heading) - Number(a.heading === passage.heading));
  let marked;
  let span;
  for (const section of likely) {
    span = find(section.text, passage.text);
    if (span) {
      marked = section;
      break;
    }
  }
  const drawn = sections.map((section) => {
    const parts = section !== marked ? [printable(section.text)] : [
      printable(section.text.slice(0, span[0])),
      element("mark", {}, printable(section.text.slice(...span))),
      printable(section.text.slice(span[1])),
    ];
    return element("section", {}, section.heading && element("h3", { dir: "auto" }, oneLine(section.heading).replaceAll(" > ", " › ")), element("p", { dir: "auto" }, parts));
  });
  if (marked) return drawn;
  return [element("p", { class: "warning" }, text("source_changed")), quote(passage), element("h3", {}, text("whole_document")), ...drawn];
}

/** Passages that follow one another under a heading, as one text: they may overlap. */
function sectionsOf(passages) {
  const sections = [];
  for (const { heading, text: words } of passages) {
    const last = sections.at(-1);
    if (last && last.heading === heading) last.text += afterOverlap(last.text, words);
    else sections.push({ heading, text: words });
  }
  return sections;
}

/** What of `next` does not already end `whole`, with a line break before it where it is all new. */
function afterOverlap(whole, next) {
  const head = next.slice(0, 16);
  for (let at = whole.indexOf(head, Math.max(0, whole.length - next.length)); head && at >= 0; at = whole.indexOf(head, at + 1)) {
    if (next.startsWith(whole.slice(at))) return next.slice(whole.length - at);
  }
  return `\n${next}`;
}

/** Where `wanted` stands in `whole`, whatever white space either has: `[start, end]`, or undefined. */
function find(whole, wanted) {
  const squeezed = wanted.replace(/\s+/g, "");
  const positions = [];
  let letters = "";
  for (let at = 0; at < whole.length; at += 1) {
    if (/\s/.test(whole[at])) continue;
    positions.push(at);
    letters += whole[at];
  }
  const at = squeezed ? letters.indexOf(squeezed) : -1;
  return at < 0 ? undefined : [positions[at], positions[at + squeezed.length - 1] + 1];
}

// ---------------------------------------------------------------- the conversation

const turns = [];
let asking;

function isAtEnd() {
  return window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 80;
}

function scrollToEnd() {
  window.scrollTo({ top: document.documentElement.scrollHeight });
}

/** Keeps the conversation for a reload of this tab; an answer under way counts as stopped. */
function save() {
  store("sessionStorage", "turns", JSON.stringify(turns.map((turn) => turn.saved)));
}

function restore() {
  try {
    for (const state of JSON.parse(stored("sessionStorage", "turns") ?? "[]")) turns.push(new Turn(state));
  } catch {
    // Written by another version of this page.
    turns.length = 0;
    byId("conversation").replaceChildren();
  }
}

function drawConversation() {
  byId("welcome").hidden = turns.length > 0;
  byId("new").hidden = turns.length === 0;
  byId("send").hidden = Boolean(asking);
  byId("stop").hidden = !asking;
  byId("question").placeholder = text(turns.length ? "placeholder_next" : "placeholder");
}

async function ask(question) {
  const history = turns.map((turn) => turn.remembered).filter(Boolean);
  const turn = new Turn({ question });
  turns.push(turn);
  const stop = (asking = new AbortController());
  turn.begin();
  save();
  drawConversation();
  scrollToEnd();
  try {
    const extractive = byId("extractive").checked;
    const response = await post("v1/answer", { question, history, lang: language, extractive }, stop.signal);
    for await (const event of eventsOf(response)) {
      turn.hear(event);
      if (turn.answer || turn.error) break;
    }
    if (!turn.answer && !turn.error) throw new Problem(text("lost"));
  } catch (error) {
    if (stop.signal.aborted) turn.stopped = true;
    else if (error instanceof Problem) turn.error = { message: error.message, hint: error.hint };
    else turn.error = { message: text("lost") };
  }
  if (asking === stop) asking = undefined;
  const follow = isAtEnd();
  turn.end();
  save();
  drawConversation();
  if (follow) scrollToEnd();
  checkHealth();
}

function askAgain(turn) {
  if (asking) return;
  turns.splice(turns.indexOf(turn), 1);
  turn.article.remove();
  ask(turn.question);
  byId("question").focus();
}

function submit() {
  const field = byId("question");
  const question = field.value.trim();
  if (asking || !question) return;
  field.value = "";
  fit();
  field.focus();
  ask(question);
}

function stop() {
  asking?.abort();
  byId("question").focus();
}

function startAnew() {
  asking?.abort();
  turns.length = 0;
  byId("conversation").replaceChildren();
  save();
  drawConversation();
  byId("question").focus();
}

/** The field grows with its text; the style sheet says how far. */
function fit() {
  const field = byId("question");
  field.style.blockSize = "";
  if (field.value) field.style.blockSize = `${field.scrollHeight}px`;
}

// ---------------------------------------------------------------- hands

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("question").addEventListener("input", fit);
byId("question").addEventListener("keydown", (event) => {
  // While an input method composes a letter, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
byId("stop").addEventListener("click", stop);
byId("new").addEventListener("click", startAnew);
byId("language").addEventListener("click", () => {
  language = language === "vi" ? "en" : "vi";
  store("localStorage", "language", language);
  translate();
});
byId("source-close").addEventListener("click", () => byId("source").close());
byId("source").addEventListener("click", (event) => {
  if (event.target === byId("source")) byId("source").close(); // beside the dialog
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && asking && !document.querySelector("dialog[open]")) stop();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) checkHealth();
});

restore();
translate();
drawConversation();
checkHealth();
