// A .glb as img2mv3d writes it -> what viewer.js draws, and figures about it.
"use strict";

const SIZES = { SCALAR: 1, VEC2: 2, VEC3: 3 };
const ARRAYS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };

export async function readGlb(buffer) {
  const head = new DataView(buffer);
  if (buffer.byteLength < 20 || head.getUint32(0, true) !== 0x46546c67) throw new Error("the mesh's file is damaged");
  const length = head.getUint32(12, true), start = 20 + length + 8;
  const tree = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, length)));
  const bytes = (view) => [start + (tree.bufferViews[view].byteOffset || 0), tree.bufferViews[view].byteLength];
  const array = (number) => {
    const told = tree.accessors[number], count = told.count * SIZES[told.type], kind = ARRAYS[told.componentType];
    const from = bytes(told.bufferView)[0] + (told.byteOffset || 0);
    return new kind(buffer.slice(from, from + count * kind.BYTES_PER_ELEMENT));
  };
  const shape = tree.meshes[0].primitives[0], has = shape.attributes;
  const places = array(has.POSITION), faces = Uint32Array.from(array(shape.indices));
  const box = boxOf(places), count = places.length / 3;
  const mesh = { ...box.drawn, faces, places: quantised(places, box), normals: smooth(places, array(has.NORMAL)) };
  mesh.uv = has.TEXCOORD_0 === undefined ? new Uint16Array(count * 2) : flipped(array(has.TEXCOORD_0));
  mesh.colors = has.COLOR_0 === undefined ? new Uint8Array(count * 3) : shades(array(has.COLOR_0));
  if (tree.images) {
    const [from, size] = bytes(tree.images[0].bufferView);
    mesh.picture = await createImageBitmap(new Blob([new Uint8Array(buffer, from, size)], { type: "image/png" }), {
      imageOrientation: "flipY", premultiplyAlpha: "none", colorSpaceConversion: "none",
    });
  }
  const texture = mesh.picture ? mesh.picture.width : 0;
  return { mesh, stats: { triangles: faces.length / 3, vertices: count, span: box.span, texture, bytes: buffer.byteLength } };
}

function boxOf(places) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < places.length; i++) {
    low[i % 3] = Math.min(low[i % 3], places[i]);
    high[i % 3] = Math.max(high[i % 3], places[i]);
  }
  const span = high.map((h, i) => Math.max(h - low[i], 1e-9));
  let radius = 1e-9;
  for (let i = 0; i < places.length; i += 3) {
    radius = Math.max(radius, Math.hypot(...[0, 1, 2].map((k) => places[i + k] - (low[k] + high[k]) / 2)));
  }
  return { low, span, drawn: { low: span.map((s) => -s / 2 / radius), span: span.map((s) => s / radius) } };
}

function quantised(places, { low, span }) {
  return Uint16Array.from(places, (value, i) => Math.round(((value - low[i % 3]) / span[i % 3]) * 65535));
}

// Vertices at one place share their normal: texture seams must not show in the light.
function smooth(places, normals) {
  const sums = new Map(), keys = new Array(places.length / 3);
  for (let v = 0; v < keys.length; v++) {
    const key = (keys[v] = `${places[3 * v]},${places[3 * v + 1]},${places[3 * v + 2]}`);
    const sum = sums.get(key) || [0, 0, 0];
    for (let k = 0; k < 3; k++) sum[k] += normals[3 * v + k];
    sums.set(key, sum);
  }
  const out = new Int8Array(places.length);
  keys.forEach((key, v) => {
    const sum = sums.get(key), length = Math.hypot(...sum) || 1;
    for (let k = 0; k < 3; k++) out[3 * v + k] = Math.round((sum[k] / length) * 127);
  });
  return out;
}

function flipped(uv) { // glTF counts v downwards; the picture is turned as it is opened
  return Uint16Array.from(uv, (x, i) => Math.round(Math.min(Math.max(i % 2 ? 1 - x : x, 0), 1) * 65535));
}

function shades(linear) {
  return Uint8Array.from(linear, (x) => Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055)));
}
