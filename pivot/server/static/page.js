// The page of one member. A WebSocket says that something changed, a GET says what it is now: so nothing has to be
// patched here. Everything from the server becomes text (`textContent`, never HTML), and the Content-Security-Policy that
// the page comes with lets nothing else run. Start at `start`, at the end.

const PAGE_ROWS = 20;
const RETRY_MS_MIN = 500, RETRY_MS_MAX = 8000;
const READ_EVERY_MS = 150; // what changes all the time is read this often
const READ_AGAIN_MS = 2000; // what could not be read is tried again after this
const PREVIEW_CHARACTERS = 90;
const TYPING_MS = 200;

const at = (id) => document.getElementById(id);

// Building -----------------------------------------------------------------------------------------------------------

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A table that is laid out as cards, on a narrow screen, is one for screen readers only when the roles are said.
const tr = (...cells) => element("tr", { role: "row" }, ...cells);

function cell(label, content, className = "") {
  const made = element("td", { className, role: "cell" }, content);
  made.dataset.label = label;
  return made;
}

function head(label, content) {
  const made = element("th", { scope: "row", role: "rowheader" }, content);
  made.dataset.label = label;
  return made;
}

function fill(body, rows, none) {
  const columns = body.closest("table").querySelectorAll("thead th").length;
  const nothing = () => tr(element("td", { className: "none", role: "cell", colSpan: columns, textContent: none }));
  body.replaceChildren(...(rows.length ? rows : [nothing()]));
}

function time(ns) {
  const date = new Date(JSON.stringify(ns) / 1e6);
  return element("time", { dateTime: date.toISOString(), textContent: date.toLocaleString([], {
    dateStyle: "medium", timeStyle: "medium" }) });
}

function link(address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) return element("span", { textContent: address });
  return element("a", { href: url.href, textContent: address, rel: "noreferrer" });
}

function shown(value) {
  const text = JSON.stringify(value);
  if (text.length <= PREVIEW_CHARACTERS) return element("code", { textContent: text });
  const whole = element("pre", { tabIndex: 0 });
  const made = element("details", {},
    element("summary", {}, element("code", { textContent: text.slice(0, PREVIEW_CHARACTERS) + "…" })), whole);
  made.addEventListener("toggle", () => { whole.textContent = made.open ? JSON.stringify(value, null, 2) : ""; });
  return made;
}

// Reading ------------------------------------------------------------------------------------------------------------

// Numbers that JavaScript would round keep their digits: they are objects then, which `JSON.stringify` writes as they came.
const keepsDigits = "rawJSON" in JSON;
const exact = (_, value, { source } = {}) =>
  keepsDigits && typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value;

// What is at a path of this member; null when there is nothing.
async function read(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!response.ok && response.status !== 404) throw new Error(`${path}: ${response.status}`);
  return response.ok ? JSON.parse(await response.text(), exact) : null;
}

// Calls `work` as often as is asked, but never twice at a time nor all the time; the last call is never left out.
function coalesced(work) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      let pause = READ_EVERY_MS;
      try {
        await work();
      } catch (error) {
        console.warn(error);
        again = true;
        pause = READ_AGAIN_MS;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    running = false;
  };
}

// Calls `changed` when a key changes, and whenever a connection to it is there again; returns what ends it.
function watch(path, changed, lost = () => {}) {
  let socket, timer, wait = RETRY_MS_MIN, ended = false;
  const open = () => {
    const url = new URL("/" + path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    socket = new WebSocket(url);
    socket.onmessage = () => { wait = RETRY_MS_MIN; changed(); };
    socket.onclose = () => {
      if (ended) return;
      lost();
      timer = setTimeout(open, wait);
      wait = Math.min(2 * wait, RETRY_MS_MAX);
    };
  };
  open();
  return () => { ended = true; clearTimeout(timer); socket.close(); };
}

// The member ---------------------------------------------------------------------------------------------------------

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const unread = (collection) => collection.follows ? Math.max(0, collection.place.head - collection.place.cursor) : 0;

// How many changes a peer lacks, or we lack of its. A leader notes how far its nodes are once in a while (`collect_s`).
function behind(status, peer) {
  if (peer.role === "leader") return String(sum(status.collections.map(unread)));
  const lacking = status.collections.flatMap((each) => each.followers.filter(({ name }) => name === peer.address)
    .map(({ cursor }) => Math.max(0, each.head - cursor)));
  return !lacking.length ? "not known yet" : sum(lacking) ? `at most ${sum(lacking)}` : "0";
}

function showAbout(status) {
  at("member").textContent = status.member;
  at("role").textContent = { pivot: "leader", node: "node", mixed: "leader and node" }[status.role];
  at("role").hidden = false;
  document.title = `${status.member} - Pivot`;
  const facts = [
    ["Follows", status.pivotIP ? link(status.pivotIP) : "nobody"],
    ["Reading from", status.readingFrom.join(", ")],
    ["Durability", status.durability],
    ["Cluster", status.cluster_id],
    ["Store", status.store],
    ["Epoch", status.epoch],
    ["Newest write seen", Number(JSON.stringify(status.clock)) ? time(status.clock) : ""],
    ["Conflicts since start", String(status.conflicts)],
    ["Last error", status.last_error],
  ];
  at("about").replaceChildren(...facts.filter(([, fact]) => fact !== "").map(([name, fact]) =>
    element("div", {}, element("dt", { textContent: name }), element("dd", {}, fact))));
}

function showPeers(status) {
  fill(at("peers"), status.peers.map((peer) => {
    const health = element("span", { className: peer.healthy ? "good" : "bad",
      textContent: peer.healthy ? "● healthy" : `▲ away: ${peer.reason}` });
    return tr(head("Peer", link(peer.address)), cell("Role", peer.role), cell("Health", health),
      cell("Since", time(peer.since_ns)), cell("Behind", behind(status, peer), "number"));
  }), "Nobody yet.");
}

function showCollections(status) {
  fill(at("collections"), status.collections.map((each) => tr(
    head("Key", each.path ? element("code", { textContent: each.path }) : "everything else, kept here only"),
    cell("Led", each.path === "" ? "–" : each.follows ? "elsewhere" : "here"),
    cell("Entries", String(each.entries), "number"),
    cell("Tombstones", String(each.tombstones), "number"),
    cell("Not confirmed", each.follows ? String(each.outbox) : "–", "number"),
    cell("Not read yet", each.follows ? String(unread(each)) : "–", "number"))), "None.");
}

function showBanner(status) {
  const away = status.peers.filter((peer) => peer.role === "leader" && !peer.healthy);
  const waiting = sum(status.collections.filter((each) => each.follows).map((each) => each.outbox));
  const text = !away.length ? "" : `The leader ${away.map((peer) => peer.address).join(", ")} does not answer. Reads and `
    + `writes go on here; ${waiting} ${waiting === 1 ? "change waits" : "changes wait"} for it.`;
  at("banner").hidden = !text;
  if (at("banner").textContent !== text) at("banner").textContent = text; // or it is read aloud again
}

// Links to the leader, and to those who registered under the nodes key.
async function showMembers(status, nodesKey) {
  const nodes = nodesKey ? await read("/" + nodesKey) : [];
  const registered = nodes.map(({ data }) => `http://${data?.ip ?? data?.IP}:${data?.port ?? data?.Port}`);
  const urls = [status.pivotIP, ...status.peers.map((peer) => peer.address), ...registered];
  const others = urls.filter((url) => URL.canParse(url)).map((url) => new URL(url))
    .filter((url) => ["http:", "https:"].includes(url.protocol) && url.origin !== location.origin);
  const unique = [...new Set(others.map((url) => url.origin))].sort();
  at("members").hidden = !unique.length;
  at("member-links").replaceChildren(...unique.map((url) => element("li", {}, link(url))));
}

async function showConflicts() {
  const version = ({ entry, deleted, origin, stamp }) => element("div", {},
    deleted ? element("em", { textContent: "deleted" }) : shown(entry.data),
    element("p", { className: "note" }, `store ${origin}, `, time(stamp)));
  const lost = await read("/_pivot/conflicts");
  fill(at("conflicts"), lost.reverse().map((one) => tr(head("Key", element("code", { textContent: one.key })),
    cell("Won", version(one.winner)), cell("Lost", version(one.loser)))), "None since it started.");
}

// The entries --------------------------------------------------------------------------------------------------------

let page = 1;
const rows = new Map(); // key -> the row that shows it, kept while it is on the page, so that the focus stays

const path = (key) => "/" + key.split("/").map(encodeURIComponent).join("/");

class Row {
  constructor(key) {
    this.key = key;
    this.entry = null; // as it was read last; null = nothing is here
    this.json = null; // its value
    this.valueCell = cell("Value", "");
    this.timeCell = cell("Written", "", "when");
    const button = (verb) => element("button",
      { type: "button", textContent: verb, ariaLabel: `${verb} ${key}`, disabled: true });
    this.editButton = button("Edit");
    this.deleteButton = button("Delete");
    this.editButton.addEventListener("click", () => editing.open(this));
    this.deleteButton.addEventListener("click", () => deleting.open(this));
    this.element = tr(head("Key", element("code", { textContent: key })), this.valueCell, this.timeCell,
      cell("Changes", element("span", {}, this.editButton, this.deleteButton), "changing"));
    const show = coalesced(() => this.show());
    show(); // a browser connects its WebSockets one after another
    this.end = watch(key, show);
  }

  async show() {
    if (rows.get(this.key) !== this) return;
    this.entry = await read(path(this.key));
    const json = this.entry && JSON.stringify(this.entry.data);
    this.element.classList.toggle("gone", !this.entry);
    this.editButton.disabled = !this.entry || !keepsDigits;
    this.deleteButton.disabled = !this.entry;
    this.timeCell.replaceChildren(this.entry ? time(this.entry.updated || this.entry.created) : "");
    if (json !== null && json === this.json) return;
    this.json = json;
    const wasOpen = this.valueCell.querySelector("details")?.open;
    this.valueCell.replaceChildren(this.entry ? shown(this.entry.data) : "deleted");
    if (wasOpen) this.valueCell.querySelector("details")?.setAttribute("open", "");
    if (editing.row === this) at("edit-meanwhile").hidden = false;
  }
}

const showRows = coalesced(async () => {
  const filter = at("filter").value;
  const found = await read(`/?api=keys&page=${page}&limit=${PAGE_ROWS}&filter=${encodeURIComponent(filter)}`);
  const pages = Math.max(1, Math.ceil(found.total / PAGE_ROWS));
  if (page > pages) { page = pages; return void showRows(); }
  for (const [key, row] of rows) {
    if (!found.keys.includes(key)) { row.end(); row.element.remove(); rows.delete(key); }
  }
  for (const key of found.keys) if (!rows.has(key)) rows.set(key, new Row(key));
  const wanted = found.keys.map((key) => rows.get(key).element);
  if (!wanted.length) fill(at("rows"), [], filter ? "No key contains that." : "Nothing is here yet.");
  else if (wanted.some((row, i) => at("rows").children[i] !== row) || at("rows").children.length !== wanted.length) {
    const focused = document.activeElement;
    at("rows").replaceChildren(...wanted);
    if (at("rows").contains(focused)) focused.focus();
  }
  const first = (page - 1) * PAGE_ROWS + 1;
  at("place").textContent = found.total ? `${first} to ${first + found.keys.length - 1} of ${found.total}` : "none";
  at("previous").disabled = page <= 1;
  at("next").disabled = page >= pages;
});

// Changing -----------------------------------------------------------------------------------------------------------

async function change(method, key, body) {
  const response = await fetch(path(key), { method, body, headers: { "Content-Type": "application/json" } });
  if (response.ok || (method === "DELETE" && response.status === 404)) return;
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `the member answered ${response.status}`);
}

// A dialog about one entry; its button does something that may fail.
class Dialog {
  constructor(id, { prepare = () => {}, work }) {
    this.id = id;
    this.prepare = prepare;
    this.row = null;
    this.dialog = at(id);
    this.dialog.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await work(this.row.key);
        this.dialog.close();
      } catch (error) {
        at(`${id}-error`).textContent = `Not done: ${error.message}`;
      }
    });
    at(`${id}-cancel`).addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => { this.row = null; });
  }

  open(row) {
    this.row = row;
    at(`${this.id}-key`).textContent = row.key;
    at(`${this.id}-error`).textContent = "";
    this.prepare(row);
    this.dialog.showModal();
  }
}

const editing = new Dialog("edit", {
  prepare(row) {
    at("edit-value").value = JSON.stringify(row.entry.data, null, 2);
    at("edit-meanwhile").hidden = true;
  },
  async work(key) {
    const text = at("edit-value").value;
    JSON.parse(text); // tells what is wrong without asking
    await change("POST", key, text);
  },
});
const deleting = new Dialog("delete", { work: (key) => change("DELETE", key) });

// Start --------------------------------------------------------------------------------------------------------------

async function start() {
  let conflicts = -1, feeds = "", nodesKey = null;
  const showStatus = coalesced(async () => {
    nodesKey ??= (await read("/?api=info")).nodesKey;
    const status = await read("/_pivot/status");
    showAbout(status);
    showPeers(status);
    showCollections(status);
    showBanner(status);
    at("live").textContent = "● live";
    at("live").className = "good";
    const heads = JSON.stringify(status.collections.map(({ path, head, entries }) => [path, head, entries]));
    if (heads !== feeds) {
      feeds = heads;
      showRows();
    }
    if (status.conflicts !== conflicts) {
      conflicts = status.conflicts;
      await showConflicts();
    }
    await showMembers(status, nodesKey);
  });
  watch("pivot/status", showStatus, () => {
    if (at("live").className === "bad") return;
    at("live").className = "bad";
    at("live").textContent = `▲ this member has not answered since ${new Date().toLocaleTimeString()}; what is shown is older`;
  });

  let typing;
  at("filter").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { page = 1; showRows(); }, TYPING_MS);
  });
  at("previous").addEventListener("click", () => { page -= 1; showRows(); });
  at("next").addEventListener("click", () => { page += 1; showRows(); });
  at("editing").addEventListener("change", () => document.body.classList.toggle("editing", at("editing").checked));
  at("editing").checked = false; // a browser may remember it over a reload
}

start();
