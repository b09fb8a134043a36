// The page: a photo comes in, its cut-out is chosen, a run is followed, its mesh is looked at and taken away.
// All addresses are relative: the page may stand under a proxy's prefix. The run's id stands behind # in the address, so
// that a reload, or a phone that slept, comes back to it.
"use strict";

import { Brush } from "./brush.js";
import { readGlb } from "./glb.js";

const $ = (id) => document.getElementById(id);
const STEPS = { prepare: "Cut-out", shape: "Body", generate: "Six views", depth: "Depth", decode: "Decoding", reconstruct: "Surface", export: "Mesh" };
const WAYS = { alpha: "Transparency", plain: "Plain background", u2netp: "Network", grabcut: "By colours", mask: "Mask" };
const SIDES = ["back", "left", "right"];
const VIEWS = ["front", "front_right", "right", "back", "left", "front_left"];
const OPEN = ["queued", "running"];
const MOST = 64 * 1024 * 1024; // bytes of an upload, as the server has it
const STILL = 5000; // ms between two looks at a run while the page is hidden: an open stream would use up a connection

const page = { photo: null, others: {}, adding: null, cutouts: null, run: null, news: null, viewer: null, timer: 0, look: 0, relist: 0, skew: 0 };
const brush = new Brush($("paint"), $("ring"), brushed);

// ------------------------------------------------------------------------------------------------ asking the server

async function ask(method, path, body) {
  let answer;
  try {
    const json = body && !(body instanceof FormData);
    answer = await fetch(path, { method, body: json ? JSON.stringify(body) : body, headers: json ? { "Content-Type": "application/json" } : {} });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(worded(told.detail) || `The server answered ${answer.status}.`);
  return told;
}

// Seconds on the server's clock: a phone's may be wrong by minutes.
function now() { return Date.now() / 1000 - page.skew; }

function worded(told) {
  if (typeof told !== "string" || !told) return "";
  // what one would type in a terminal is no help here
  const detail = told.replace(/\s*\([^()]*--\w[^()]*\)|[,;]\s*(or\s+)?[^,;]*--\w[^,;]*/g, "");
  return detail.charAt(0).toUpperCase() + detail.slice(1) + (/[.!?]$/.test(detail) ? "" : ".");
}

function say(text) {
  $("message").textContent = text || "";
  $("message").hidden = !text;
  if (text) $("message").scrollIntoView({ block: "nearest" });
}

// Run `work` and say what went wrong, if something did.
const told = (work) => async (...words) => {
  say("");
  try { return await work(...words); } catch (error) { say(error.message); }
};

function show(name) {
  for (const id of ["start", "cut", "run"]) $(id).hidden = id !== name;
  $("another").hidden = name === "start";
  if (name !== "run") document.title = "img2mv3d";
}

// -------------------------------------------------------------------------------------------------- a photo comes in

const arrive = told(async (file) => {
  if (!file) return;
  if (file.size > MOST) throw new Error("This photo has more than 64 MB. Reduce it first.");
  leave();
  history.replaceState(null, "", location.pathname + location.search);
  Object.assign(page, { photo: file, cutouts: null });
  for (const side of SIDES) setSide(side, null);
  show("cut");
  $("cut-name").textContent = file.name || "pasted photo";
  $("stage").setAttribute("aria-busy", "true");
  $("candidates").hidden = $("cut-warnings").hidden = true;
  $("make").disabled = true;
  const form = new FormData();
  form.append("photo", file, file.name || "photo");
  try {
    const cutouts = await ask("POST", "cutouts", form);
    if (page.photo !== file) return; // another one came meanwhile
    await choose(cutouts);
  } catch (error) {
    if (page.photo === file) { page.photo = null; show("start"); }
    throw error;
  }
});

async function choose(cutouts) {
  page.cutouts = cutouts;
  const photo = await picture(cutouts.preview);
  const masks = await Promise.all(cutouts.candidates.map((c) => picture(c.mask)));
  $("stage").removeAttribute("aria-busy");
  page.chosen = 0;
  brush.show(photo, masks[0] || null);
  brush.size = Number($("size").value);
  const row = $("candidates").querySelector(".row");
  row.replaceChildren(...cutouts.candidates.map((candidate, i) => option(candidate, photo, masks[i], i)));
  $("candidates").hidden = cutouts.candidates.length < 2;
  warn($("cut-warnings"), cutouts.problem ? [`${worded(cutouts.problem)} Paint the object with the brush.`] : cutouts.candidates[0].warnings);
  $("cut-title").focus?.();
  document.documentElement.dataset.cut = "true";
}

function option(candidate, photo, mask, i) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "candidate", checked: i === 0 });
  const small = document.createElement("canvas"), pen = small.getContext("2d");
  const scale = 208 / Math.max(photo.naturalWidth, photo.naturalHeight);
  Object.assign(small, { width: Math.ceil(photo.naturalWidth * scale), height: Math.ceil(photo.naturalHeight * scale) });
  small.setAttribute("aria-hidden", "true");
  pen.drawImage(mask, 0, 0, small.width, small.height);
  const pixels = pen.getImageData(0, 0, small.width, small.height);
  pen.drawImage(photo, 0, 0, small.width, small.height);
  const colours = pen.getImageData(0, 0, small.width, small.height);
  for (let k = 3; k < colours.data.length; k += 4) colours.data[k] = pixels.data[k - 3];
  pen.putImageData(colours, 0, 0);
  const words = document.createElement("span");
  words.textContent = WAYS[candidate.remover] || candidate.remover;
  label.append(input, small, words);
  input.addEventListener("change", () => {
    page.chosen = i;
    brush.take(mask);
    warn($("cut-warnings"), candidate.warnings);
  });
  return label;
}

async function picture(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

function warn(list, lines) {
  list.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: worded(line) })));
  list.hidden = !lines.length;
}

function brushed() {
  $("undo").disabled = !brush.history.length;
  $("make").disabled = !page.cutouts || brush.share() === 0;
}

function setSide(side, file) {
  page.others[side] = file;
  $(`${side}-name`).textContent = file ? `${side}: ${file.name || "pasted photo"}` : "";
  $(`no-${side}`).hidden = !file;
  $(`add-${side}`).hidden = Boolean(file);
}

function pointing(degrees) {
  return degrees ? `${Math.abs(degrees)}° ${degrees < 0 ? "left" : "right"}` : "to you";
}

// ------------------------------------------------------------------------------------------------------ a run begins

const make = told(async () => {
  $("make").disabled = true;
  try {
    const seed = Number($("seed").value) || 0, count = Number($("guesses").value);
    const options = { quality: $("options").elements.quality.value, seed };
    if (!$("guess").checked) options.depth_ratio = Number($("ratio").value);
    if (!$("guess-front").checked) options.facing_deg = Number($("facing").value);
    if ($("size-mm").value) options.size_mm = Number($("size-mm").value);
    const form = new FormData();
    form.append("photo", page.photo, page.photo.name || "photo");
    if (brush.edited || !page.cutouts.candidates.length) form.append("mask", await brush.blob(), "mask.png");
    else options.remover = page.cutouts.candidates[page.chosen].option; // "auto", unless another one was chosen
    for (const [side, file] of Object.entries(page.others)) if (file) form.append(side, file, file.name || side);
    form.append("options", JSON.stringify(options));
    const run = await ask("POST", "runs", form);
    for (let i = 1; i < count; i++) await ask("POST", `runs/${run.id}/again`, { ...run.options, seed: seed + i });
    go(run.id);
  } finally {
    $("make").disabled = false;
  }
});

// The address says which run is shown; everything follows from it.
function go(id) {
  if (location.hash === `#${id}`) follow();
  else location.hash = id;
}

const follow = told(async () => {
  const id = location.hash.slice(1);
  leave();
  if (!id) {
    show(page.photo && page.cutouts ? "cut" : "start");
    return list();
  }
  let run;
  try {
    run = await ask("GET", `runs/${encodeURIComponent(id)}`);
  } catch (error) {
    history.replaceState(null, "", location.pathname + location.search);
    show("start");
    list();
    throw error;
  }
  page.run = run;
  page.after = 0;
  show("run");
  draw(run);
  $("steps").replaceChildren(...Object.entries(STEPS).map(([stage, word]) => {
    const item = document.createElement("li");
    item.dataset.stage = stage;
    item.append(word, document.createElement("small"));
    return item;
  }));
  scrollTo({ top: 0 });
  if (OPEN.includes(run.state)) listen();
  list();
});

// Stop following and forget the mesh: what a failed run shows must not be that of the run before.
function leave() {
  page.news?.close();
  clearInterval(page.timer);
  clearTimeout(page.look);
  page.viewer?.stop();
  Object.assign(page, { news: null, viewer: null, run: null });
  $("viewer").hidden = $("six").hidden = $("take").hidden = $("next").hidden = $("waiting").hidden = true;
  for (const id of ["photo", "cutout", "coming"]) $(id).removeAttribute("src");
  delete document.documentElement.dataset.mesh;
}

// ---------------------------------------------------------------------------------------------------- it goes forward

function listen() {
  page.news?.close();
  const run = page.run;
  if (!run) return;
  if (document.hidden) {
    page.look = setTimeout(peek, STILL);
    return;
  }
  const news = (page.news = new EventSource(`runs/${run.id}/events?after=${page.after}`));
  const kinds = ["queued", "running", "stage", "progress", "stood", "note", "done", "failed", "cancelled"];
  for (const kind of kinds) {
    news.addEventListener(kind, (e) => {
      page.after = Number(e.lastEventId);
      heard(kind, JSON.parse(e.data));
    });
  }
  clearInterval(page.timer);
  page.timer = setInterval(tick, 1000);
  tick();
}

async function peek() {
  const run = page.run;
  if (!run) return;
  const there = await ask("GET", `runs/${run.id}`).catch(() => null);
  if (there && !OPEN.includes(there.state)) return follow();
  if (document.hidden) page.look = setTimeout(peek, STILL);
}

function heard(kind, data) {
  const run = page.run;
  if (!run) return;
  if (kind === "running") Object.assign(run, { state: "running", started: run.started || now() });
  if (kind === "stage") {
    step(data.stage, "now");
    run.doing = $("doing").textContent = data.doing; // a screen reader hears stages, not seconds
    run.share = (data.number - 1) / data.total;
    run.total = data.total;
  }
  if (kind === "progress") {
    $("bar").value = run.share + data.done / data.total / (run.total || 6);
    const small = $("steps").querySelector(`[data-stage="${data.stage}"] small`);
    if (small) small.textContent = `${Math.floor((100 * data.done) / data.total)} %`;
  } else if (run.share !== undefined) $("bar").value = run.share;
  if (kind === "stood") {
    step(data.stage, "done", data.how === "computed" ? `${data.seconds.toFixed(1)} s` : "known");
    coming(data.stage);
  }
  if (["done", "failed", "cancelled"].includes(kind)) {
    page.news?.close();
    clearInterval(page.timer);
    follow();
  } else tick();
}

function step(stage, state, words = "") {
  const item = $("steps").querySelector(`[data-stage="${stage}"]`);
  if (!item) return;
  item.dataset.state = state;
  item.querySelector("small").textContent = words;
  for (const other of $("steps").children) { // a bundle without a shape network has no such stage
    if (other === item) break;
    if (!other.dataset.state) other.hidden = true;
    if (state === "now" && other.dataset.state === "now") other.dataset.state = "done";
  }
}

const SEEN = { prepare: ["cutout.png", "The object, cut out"], depth: ["plain-front_right.png", "First look from the right"], decode: ["view-front_right.png", "Decoded with the other views"] };

function coming(stage) {
  const run = page.run;
  $("photo").src = `runs/${run.id}/files/photo.jpg`;
  if (stage === "prepare") $("cutout").src = `runs/${run.id}/files/cutout.png`;
  if (!SEEN[stage]) return;
  const [file, words] = SEEN[stage];
  $("coming").src = `runs/${run.id}/files/${file}`;
  $("coming").alt = $("coming-told").textContent = words;
}

function tick() {
  const run = page.run;
  if (!run) return;
  const spent = run.started ? Math.max(0, Math.round(now() - run.started)) : 0;
  let text = `${(run.doing || "starting").replace(/^./, (c) => c.toUpperCase())} … ${spent} s`;
  if (run.state === "queued") {
    const wait = run.wait_seconds ? `, about ${Math.ceil(run.wait_seconds)} s` : "";
    text = `Waiting${run.place ? `: number ${run.place} in the queue${wait}` : ""} …`;
  }
  if ($("now").textContent !== text) $("now").textContent = text;
  document.title = run.state === "queued" ? "Waiting · img2mv3d" : `${Math.round(100 * $("bar").value)} % · ${run.name}`;
}

// ------------------------------------------------------------------------------------------------------- what came out

function draw(run) {
  const open = OPEN.includes(run.state), options = run.options;
  $("run-title").textContent = $("run-title").title = run.name;
  document.title = `${run.name} · img2mv3d`;
  const facts = [`${options.quality} quality`, `seed ${options.seed}`];
  if (options.depth_ratio) facts.push(`depth ${options.depth_ratio}`);
  if (options.facing_deg != null) facts.push(`front ${pointing(options.facing_deg)}`);
  if (options.size_mm) facts.push(`${options.size_mm} mm`);
  if (run.seconds) facts.push(`${run.seconds.toFixed(1)} s of computing`);
  $("run-facts").textContent = facts.join(" · ");
  $("progress").hidden = $("waiting").hidden = !open;
  $("failed").hidden = !["failed", "cancelled"].includes(run.state);
  $("reason").textContent = worded(run.reason);
  $("correct").hidden = $("edit").hidden = !run.files.includes("original");
  if (!$("failed").hidden) $("edit").hidden = true; // the failure's own button does it
  warn($("run-warnings"), run.warnings || []);
  $("next").hidden = open;
  $("again").hidden = run.state !== "done";
  $("report").href = `runs/${run.id}/files/report.html`;
  $("report").hidden = !run.files.includes("report.html");
  $("coming-told").textContent = open ? "The first picture comes in a moment" : "";
  $("bar").value = 0;
  if (run.files.includes("photo.jpg")) $("photo").src = `runs/${run.id}/files/photo.jpg`;
  if (run.files.includes("cutout.png")) $("cutout").src = `runs/${run.id}/files/cutout.png`;
  if (run.state === "done") finished(run);
}

const finished = told(async (run) => {
  $("take").hidden = false;
  const kind = run.options.format;
  $("format").value = kind;
  const six = VIEWS.filter((name) => run.files.includes(`view-${name}.png`));
  $("six").querySelector(".six").replaceChildren(...six.map((name) => {
    const figure = document.createElement("figure"), image = new Image(), words = document.createElement("figcaption");
    image.src = `runs/${run.id}/files/view-${name}.png`;
    image.alt = words.textContent = name.replace("_", " ");
    figure.append(image, words);
    return figure;
  }));
  $("six").hidden = !six.length;
  $("stats").replaceChildren();
  if (run.file !== "mesh.glb") return say("This run made a file that this page does not show. Download it, or choose GLB.");
  const answer = await fetch(`runs/${run.id}/files/${run.file}`);
  if (!answer.ok) throw new Error("The mesh could not be loaded.");
  const { mesh, stats } = await readGlb(await answer.arrayBuffer());
  if (page.run !== run) return;
  const old = $("viewer").querySelector("canvas"), canvas = old.cloneNode(false); // a context cannot be had twice
  old.replaceWith(canvas);
  $("viewer").hidden = false;
  page.viewer = showMesh(canvas, mesh);
  $("label").textContent = `${run.name} · seed ${run.options.seed}`;
  if (!page.viewer) $("label").textContent = "This browser shows no WebGL here. Download the mesh and open it in another program.";
  for (const button of document.querySelectorAll("#viewer [data-style]")) button.setAttribute("aria-pressed", String(button.dataset.style === "0"));
  press("wire", false);
  press("spin", page.viewer?.state.spin);
  figures(run, stats);
  document.documentElement.dataset.mesh = String(stats.triangles);
});

function figures(run, { triangles, vertices, span, texture, bytes }) {
  const unit = run.options.size_mm ? [1000, " mm", 0] : [1, "", 2];
  const rows = [
    ["Triangles", triangles.toLocaleString("en")],
    ["Vertices", vertices.toLocaleString("en")],
    ["Texture", texture ? `${texture} × ${texture} px` : "none"],
    ["Size", span.map((s) => (s * unit[0]).toFixed(unit[2])).join(" × ") + unit[1]],
    ["File", `${(bytes / 1e6).toFixed(1)} MB`],
  ];
  $("stats").replaceChildren(...rows.flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: value }),
  ]));
}

function press(id, on) { $(id).setAttribute("aria-pressed", String(Boolean(on))); }

const download = told(async () => {
  const run = page.run, format = $("format").value;
  let from = run;
  if (format !== run.options.format) {
    $("download").disabled = true;
    $("download").textContent = "Writing …";
    try {
      from = await ask("POST", `runs/${run.id}/again`, { ...run.options, format });
      while (OPEN.includes(from.state)) {
        await new Promise((done) => setTimeout(done, 400));
        from = await ask("GET", `runs/${from.id}`);
      }
    } finally {
      $("download").disabled = false;
      $("download").textContent = "Download";
    }
    if (from.state !== "done") throw new Error(worded(from.reason));
  }
  const link = document.createElement("a");
  link.href = `runs/${from.id}/files/${from.file}`;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
});

const again = told(async (change) => {
  const run = page.run;
  const next = await ask("POST", `runs/${run.id}/again`, { ...run.options, ...change });
  go(next.id);
});

// Back to the cut-out; after a reload the photo comes from the server.
const edit = told(async () => {
  const run = page.run;
  if (page.photo && page.cutouts && page.photo.name === run.name) {
    history.pushState(null, "", location.pathname + location.search);
    leave();
    show("cut");
    return list();
  }
  const answer = await fetch(`runs/${run.id}/files/original`);
  if (!answer.ok) throw new Error("The photo is not there any more.");
  return arrive(new File([await answer.blob()], run.name));
});

const remove = told(async (id) => {
  await ask("DELETE", `runs/${id}`);
  if (page.run && [page.run.id, page.run.parent].includes(id)) {
    history.replaceState(null, "", location.pathname + location.search);
    Object.assign(page, { photo: null, cutouts: null });
    await follow();
  } else await list();
});

// --------------------------------------------------------------------------------------------------------- all runs

async function list() {
  clearTimeout(page.relist);
  const runs = await ask("GET", "runs").catch(() => []);
  const ids = new Set(runs.map((r) => r.id));
  const roots = runs.filter((r) => !r.parent || !ids.has(r.parent));
  const here = page.run && (page.run.parent && ids.has(page.run.parent) ? page.run.parent : page.run.id);
  // Another run may end meanwhile. What looks the same is not drawn anew: it would flicker, and keys lose their place.
  if (runs.some((r) => OPEN.includes(r.state))) page.relist = setTimeout(() => (document.hidden ? null : list()), STILL);
  const drawn = JSON.stringify([page.run?.id, runs.map((r) => [r.id, r.state, r.files.includes("photo.jpg")])]);
  if (page.drawn === drawn) return;
  page.drawn = drawn;
  $("runs").hidden = !roots.length;
  $("list").replaceChildren(...roots.map(entry));
  const guesses = runs.filter((r) => [r.id, r.parent].includes(here) && r.options.format === "glb").reverse();
  $("guess-tabs").replaceChildren(...(guesses.length > 1 ? guesses.map(tab) : []));
}

function entry(run) {
  const item = document.createElement("li"), link = document.createElement("a"), words = document.createElement("span");
  const name = document.createElement("b"), state = document.createElement("small"), gone = document.createElement("button");
  item.setAttribute("aria-current", String(Boolean(page.run && [page.run.id, page.run.parent].includes(run.id))));
  link.href = `#${run.id}`;
  const thumb = run.files.includes("photo.jpg") ? Object.assign(new Image(), { src: `runs/${run.id}/files/photo.jpg`, alt: "" }) : Object.assign(document.createElement("span"), { className: "blank" });
  name.textContent = run.name;
  state.textContent = `${run.state} · ${ago(run.created)}`;
  state.className = run.state;
  words.append(name, state);
  link.append(thumb, words);
  Object.assign(gone, { type: "button", textContent: "×", title: "Delete" });
  gone.setAttribute("aria-label", `Delete ${run.name}`);
  gone.addEventListener("click", () => remove(run.id));
  item.append(link, gone);
  return item;
}

function tab(run) {
  const button = document.createElement("button");
  const state = OPEN.includes(run.state) ? " …" : run.state === "done" ? "" : " (failed)";
  Object.assign(button, { type: "button", textContent: `Seed ${run.options.seed}${state}` });
  button.setAttribute("aria-pressed", String(page.run?.id === run.id));
  button.addEventListener("click", () => go(run.id));
  return button;
}

function ago(created) {
  const minutes = Math.round((now() - created) / 60);
  if (minutes < 1) return "just now";
  return minutes < 90 ? `${minutes} min ago` : minutes < 2880 ? `${Math.round(minutes / 60)} h ago` : `${Math.round(minutes / 1440)} days ago`;
}

async function status() {
  const server = await ask("GET", "status").catch(() => null);
  if (server) {
    page.skew = Date.now() / 1000 - server.now;
    const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.round(server.keep_seconds / unit));
    const long = minutes < 90 ? `${minutes} minutes` : hours < 48 ? `${hours} hours` : `${days} days`;
    $("keep").textContent = `Kept for ${long}. Everybody who can open this page sees them.`;
    $("server").textContent = server.problem ? worded(server.problem) : server.ready ? "" : "Loading the weights …";
  }
  if (!server?.ready) setTimeout(status, 2000);
}

// ------------------------------------------------------------------------------------------------------ hands on keys

function anew() {
  Object.assign(page, { photo: null, cutouts: null });
  location.hash ? (location.hash = "") : follow();
}

function wire() {
  const pick = (input, use) => input.addEventListener("change", () => { use(input.files[0]); input.value = ""; });
  pick($("file"), arrive), pick($("camera"), arrive), pick($("other"), (file) => file && setSide(page.adding, file));
  $("choose").addEventListener("click", () => $("file").click());
  $("photograph").addEventListener("click", () => $("camera").click());
  for (const side of SIDES) {
    $(`add-${side}`).addEventListener("click", () => { page.adding = side; $("other").click(); });
    $(`no-${side}`).addEventListener("click", () => setSide(side, null));
  }
  $("another").addEventListener("click", anew);
  document.querySelector(".brand").addEventListener("click", (e) => { e.preventDefault(); anew(); });
  addEventListener("paste", (e) => {
    const file = [...(e.clipboardData?.files || [])].find((f) => f.type.startsWith("image/"));
    if (file) { e.preventDefault(); arrive(file); }
  });
  let over = 0; // dragenter and dragleave come for every element on the way
  addEventListener("dragenter", (e) => { e.preventDefault(); over++; $("veil").hidden = false; });
  addEventListener("dragleave", () => { if (--over <= 0) { over = 0; $("veil").hidden = true; } });
  addEventListener("dragover", (e) => e.preventDefault());
  addEventListener("drop", (e) => {
    e.preventDefault();
    over = 0;
    $("veil").hidden = true;
    const file = e.dataTransfer?.files[0];
    if (!file) return;
    const place = e.target.closest?.(".side");
    place ? setSide(place.dataset.side, file) : arrive(file);
  });

  const adds = (on) => { brush.adds = on; press("add", on); press("erase", !on); };
  $("add").addEventListener("click", () => adds(true));
  $("erase").addEventListener("click", () => adds(false));
  $("size").addEventListener("input", () => { brush.size = Number($("size").value); });
  $("undo").addEventListener("click", () => brush.undo());
  $("invert").addEventListener("click", () => page.cutouts && brush.invert());
  $("closer").addEventListener("click", () => brush.zoomTo(brush.zoom * 1.5));
  $("farther").addEventListener("click", () => brush.zoomTo(brush.zoom / 1.5));
  $("guess").addEventListener("change", () => { $("deep").hidden = $("guess").checked; });
  $("guess-front").addEventListener("change", () => { $("front").hidden = $("guess-front").checked; });
  $("facing").addEventListener("input", () => { $("facing-told").value = pointing(Number($("facing").value)); });
  $("ratio").addEventListener("input", () => { $("ratio-told").value = Number($("ratio").value).toFixed(2); });
  $("options").addEventListener("submit", (e) => { e.preventDefault(); make(); });
  addEventListener("keydown", (e) => {
    if ($("cut").hidden || e.target.matches("input, select, textarea")) return;
    if (e.key === "z" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); brush.undo(); }
    else if (e.ctrlKey || e.metaKey || e.altKey) return;
    else if (e.key === "a") adds(true);
    else if (e.key === "e") adds(false);
  });

  const viewer = (change) => page.viewer?.set(change);
  for (const button of document.querySelectorAll("#viewer [data-style]")) {
    button.addEventListener("click", () => {
      viewer({ style: Number(button.dataset.style) });
      for (const b of document.querySelectorAll("#viewer [data-style]")) b.setAttribute("aria-pressed", String(b === button));
    });
  }
  const state = () => page.viewer?.state || {};
  $("wire").addEventListener("click", () => { viewer({ wire: !state().wire }); press("wire", state().wire); });
  $("spin").addEventListener("click", () => { viewer({ spin: !state().spin }); press("spin", state().spin); });
  $("light").addEventListener("click", () => viewer({ light: { 1: 1.35, 1.35: 0.65, 0.65: 1 }[state().light] }));
  $("front").addEventListener("click", () => { viewer({ ...FRONT, spin: false }); press("spin", false); });
  $("viewer").addEventListener("pointerdown", (e) => { if (e.target.matches("canvas")) press("spin", false); });
  $("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("viewer").requestFullscreen?.()));

  $("download").addEventListener("click", download);
  $("again").addEventListener("click", () => again({ seed: page.run.options.seed + 1 }));
  $("retry").addEventListener("click", () => again({}));
  $("correct").addEventListener("click", edit);
  $("edit").addEventListener("click", edit);
  $("stop").addEventListener("click", () => remove(page.run.id));
  $("delete").addEventListener("click", () => remove(page.run.id));
  addEventListener("hashchange", follow);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(page.look);
    if (!document.hidden) list();
    if (!page.run || !OPEN.includes(page.run.state)) return;
    if (document.hidden) { page.news?.close(); page.look = setTimeout(peek, STILL); } else listen();
  });
}

wire();
await status();
await follow();
document.documentElement.dataset.ready = "true";
