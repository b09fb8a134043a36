// The page comes alive: packed arrays are opened, the slider cuts, the viewer and the lines are started.
// Without any of it (no script, no WebGL) everything else of the page still stands.
"use strict";

async function opened(text, kind) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new kind(await new Response(stream).arrayBuffer());
}

// Undo pack.planes: bytes in planes (low bytes first), each row a running sum. rows of `width` numbers.
function summed(planes, width) {
  const count = planes.length / 2, out = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const value = planes[i] | (planes[count + i] << 8);
    out[i] = i % width ? out[i - 1] + value : value;
  }
  return out;
}

async function decoded(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  return picture;
}

async function startMesh(canvas, packed) {
  const mesh = { low: packed.low, span: packed.span, picture: packed.texture && (await decoded(packed.texture)) };
  const kinds = { places: Uint16Array, normals: Int8Array, uv: Uint16Array, colors: Uint8Array, faces: Uint32Array };
  for (const [name, kind] of Object.entries(kinds)) mesh[name] = await opened(packed[name], kind);
  const viewer = showMesh(canvas, mesh);
  const hint = document.querySelector("#viewer .hint");
  if (!viewer) {
    hint.textContent = "This browser shows no WebGL here; open the mesh's file in another program.";
    return;
  }
  canvas.dataset.ready = String(mesh.faces.length / 3);
  document.querySelectorAll("#viewer [data-style]").forEach((button, style, all) => {
    button.addEventListener("click", () => {
      all.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      viewer.set({ style });
    });
  });
  const spin = document.querySelector("#viewer [data-spin]");
  spin.addEventListener("click", () => viewer.set({ spin: !viewer.state.spin }));
}

async function startLines(root, rig) {
  const planes = await opened(rig.depth, Uint8Array);
  const depth = summed(planes, rig.size);
  let which = "views";
  const pictures = (view) => document.querySelector(`#pair-${view} img.${which}`);
  const board = showLines(root, rig, depth, pictures);
  root.querySelectorAll(".line-view .ground").forEach((ground, view) => {
    const show = () => { ground.src = pictures(view).src; };
    show();
    root.addEventListener("swapped", show);
  });
  root.querySelector("[data-swap]")?.addEventListener("change", (e) => {
    which = e.target.checked ? "plain" : "views";
    root.dispatchEvent(new Event("swapped"));
  });
  root.dataset.ready = "true";
  return board;
}

function startSlider(root) {
  const slider = root.querySelector("input[type=range]");
  if (!slider) return;
  const cut = () => root.style.setProperty("--cut", `${slider.value}%`);
  slider.addEventListener("input", cut);
  root.querySelectorAll(".pair").forEach((pair) => pair.addEventListener("pointermove", (e) => {
    const box = pair.getBoundingClientRect();
    slider.value = String((100 * (e.clientX - box.left)) / box.width);
    cut();
  }));
  cut();
}

addEventListener("DOMContentLoaded", async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pairs = document.getElementById("views"), lines = document.getElementById("lines");
  if (pairs) startSlider(pairs);
  await Promise.all([...document.querySelectorAll("#views img")].map((i) => i.decode().catch(() => null)));
  if (lines && data.rig) await startLines(lines, data.rig);
  const canvas = document.querySelector("#viewer canvas");
  if (canvas && data.mesh) await startMesh(canvas, data.mesh);
  document.documentElement.dataset.ready = "true";
});
