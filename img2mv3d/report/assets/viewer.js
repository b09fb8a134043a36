// A mesh on a canvas: turn it by dragging, move it with shift, the right button or two fingers, wheel or pinch for
// nearer, double click for the start.
// In: the canvas, and arrays out of report.data (see report/pack.py). Written by hand: a page without network needs no library
// for one mesh with one texture.
"use strict";

const VERTEX = `
attribute vec3 place; attribute vec3 normal; attribute vec2 uv; attribute vec3 tint;
uniform mat4 screen_from_world; uniform vec3 low; uniform vec3 span;
varying vec3 vNormal; varying vec2 vUv; varying vec3 vTint;
void main() {
  vNormal = normal; vUv = uv; vTint = tint;
  gl_Position = screen_from_world * vec4(low + place * span, 1.0);
}`;

// Soft light: a sky and a ground, and a lamp that stays at the viewer's left shoulder. In linear light, shown as sRGB.
const FRAGMENT = `
precision highp float;
varying vec3 vNormal; varying vec2 vUv; varying vec3 vTint;
uniform sampler2D picture; uniform bool textured; uniform int style; uniform vec3 lamp; uniform vec3 eye; uniform float light;
void main() {
  vec3 n = normalize(vNormal);
  if (style == 3) { gl_FragColor = vec4(0.07, 0.06, 0.05, 1.0); return; }
  if (style == 2) { gl_FragColor = vec4(n * 0.5 + 0.5, 1.0); return; }
  vec3 tint = textured ? texture2D(picture, vUv).rgb : vTint;
  vec3 base = style == 1 ? vec3(0.62, 0.60, 0.57) : pow(tint, vec3(2.2));
  float sky = 0.5 + 0.5 * n.y;
  float wrapped = clamp((dot(n, lamp) + 0.35) / 1.35, 0.0, 1.0);
  float rim = pow(1.0 - clamp(dot(n, eye), 0.0, 1.0), 3.0);
  vec3 shine = light * mix(vec3(0.40, 0.38, 0.37), vec3(0.60, 0.61, 0.63), sky) + light * vec3(0.55, 0.54, 0.52) * wrapped;
  gl_FragColor = vec4(pow(clamp(base * shine + 0.03 * rim, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}`;

const START = { azimuth: 0.45, elevation: 0.26, distance: 4.5, across: 0, along: 0 };
const FRONT = { ...START, azimuth: 0, elevation: 0 }; // as the photo was taken
const FOCUS = 1 / Math.tan(0.26); // of half a field of view of 30 degrees

function showMesh(canvas, mesh) {
  const gl = canvas.getContext("webgl2", { alpha: true, antialias: true, preserveDrawingBuffer: true });
  if (!gl) return null;
  const program = linked(gl);
  gl.useProgram(program);
  const at = (name) => gl.getUniformLocation(program, name);
  attach(gl, program, "place", mesh.places, 3, gl.UNSIGNED_SHORT);
  attach(gl, program, "normal", mesh.normals, 3, gl.BYTE);
  attach(gl, program, "uv", mesh.uv, 2, gl.UNSIGNED_SHORT);
  attach(gl, program, "tint", mesh.colors, 3, gl.UNSIGNED_BYTE);
  const triangles = gl.createBuffer();
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
  const wires = gl.createBuffer();
  let edges = 0; // filled when somebody first asks for them
  if (mesh.picture) paint(gl, mesh.picture);
  gl.uniform3fv(at("low"), mesh.low);
  gl.uniform3fv(at("span"), mesh.span);
  gl.uniform1i(at("textured"), mesh.picture ? 1 : 0);
  gl.enable(gl.DEPTH_TEST);
  const state = { ...START, style: 0, light: 1, wire: false, asked: false, over: false };
  state.spin = !matchMedia("(prefers-reduced-motion: reduce)").matches;

  function draw() {
    state.asked = false;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [matrix, right, up, back] = looking(state, width / height);
    gl.uniformMatrix4fv(at("screen_from_world"), false, matrix);
    gl.uniform3fv(at("eye"), back);
    gl.uniform3fv(at("lamp"), unit(back.map((b, i) => b + 0.7 * up[i] - 0.55 * right[i])));
    gl.uniform1i(at("style"), state.style);
    gl.uniform1f(at("light"), state.light);
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1, 1); // the wires lie on the surface
    gl.drawElements(gl.TRIANGLES, mesh.faces.length, gl.UNSIGNED_INT, 0);
    if (state.wire) wired();
  }

  function wired() {
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, wires);
    if (!edges) {
      const lines = edgesOf(mesh.faces);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, lines, gl.STATIC_DRAW);
      edges = lines.length;
    }
    gl.uniform1i(at("style"), 3);
    gl.drawElements(gl.LINES, edges, gl.UNSIGNED_INT, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
  }

  const redraw = () => { if (!state.asked && !state.over) { state.asked = true; requestAnimationFrame(draw); } };
  const set = (change) => { Object.assign(state, change); redraw(); };
  follow(canvas, state, set);
  let before = 0;
  (function turn(now) {
    if (state.over) return;
    if (state.spin) set({ azimuth: state.azimuth + Math.min(now - before, 50) * 0.0004 });
    before = now;
    requestAnimationFrame(turn);
  })(performance.now());
  const size = new ResizeObserver(redraw);
  size.observe(canvas);
  draw();
  const stop = () => { // another mesh comes: browsers have few contexts
    state.over = true;
    size.disconnect();
    gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
  return { set, state, stop };
}

// Pointers, wheel and keys change the state; whoever touches stops the turning.
function follow(canvas, state, set) {
  const held = new Map();
  const bounded = (x, low, high) => Math.min(Math.max(x, low), high);
  const turn = (dx, dy) => set({
    azimuth: state.azimuth - dx * 0.008, elevation: bounded(state.elevation + dy * 0.008, -1.55, 1.55), spin: false,
  });
  const move = (dx, dy) => { // so that the mesh follows the pointer
    const step = (2 * state.distance) / FOCUS / Math.max(1, Math.min(canvas.clientWidth, canvas.clientHeight));
    set({ across: bounded(state.across + dx * step, -3, 3), along: bounded(state.along - dy * step, -3, 3), spin: false });
  };
  const nearer = (factor) => set({ distance: bounded(state.distance * factor, 1.4, 12) });
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    held.set(e.pointerId, [e.clientX, e.clientY]);
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (e) => held.delete(e.pointerId));
  canvas.addEventListener("pointermove", (e) => {
    const last = held.get(e.pointerId);
    if (!last) return;
    const here = [e.clientX, e.clientY];
    const step = [here[0] - last[0], here[1] - last[1]];
    if (held.size === 1) (e.shiftKey || e.buttons & 6 ? move : turn)(...step);
    else {
      const [, other] = [...held].find(([id]) => id !== e.pointerId);
      const gap = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      nearer(gap(last) / Math.max(gap(here), 1));
      move(step[0] / 2, step[1] / 2); // the other finger brings the other half
    }
    held.set(e.pointerId, here);
  });
  canvas.addEventListener("wheel", (e) => { e.preventDefault(); nearer(Math.exp(e.deltaY * 0.001)); }, { passive: false });
  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("dblclick", () => set({ ...START, spin: false }));
  const keys = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, 12], ArrowDown: [0, -12] };
  canvas.addEventListener("keydown", (e) => {
    if (keys[e.key]) { e.preventDefault(); (e.shiftKey ? move : turn)(...keys[e.key]); }
    if (e.key === "+" || e.key === "-") nearer(e.key === "+" ? 0.9 : 1.1);
  });
}

// Columns of screen_from_world, and the camera's axes: right, up, back.
function looking(state, aspect) {
  const [sa, ca] = [Math.sin(state.azimuth), Math.cos(state.azimuth)];
  const [se, ce] = [Math.sin(state.elevation), Math.cos(state.elevation)];
  const right = [ca, 0, -sa], back = [sa * ce, se, ca * ce], up = [-sa * se, ce, -ca * se];
  const [near, far, d] = [0.05, 40, state.distance];
  const [fx, fy] = aspect < 1 ? [FOCUS, FOCUS * aspect] : [FOCUS / aspect, FOCUS];
  const a = (far + near) / (near - far), b = (2 * far * near) / (near - far);
  const m = [];
  for (let i = 0; i < 3; i++) m.push(fx * right[i], fy * up[i], a * back[i], -back[i]);
  m.push(fx * state.across, fy * state.along, -a * d + b, d);
  return [new Float32Array(m), right, up, back];
}

// Every edge once, as pairs of vertices.
function edgesOf(faces) {
  const seen = new Set(), out = [];
  for (let i = 0; i < faces.length; i += 3) {
    for (let k = 0; k < 3; k++) {
      const a = faces[i + k], b = faces[i + ((k + 1) % 3)];
      const edge = Math.min(a, b) * 4294967296 + Math.max(a, b);
      if (Number.isSafeInteger(edge) && seen.has(edge)) continue;
      seen.add(edge);
      out.push(a, b);
    }
  }
  return new Uint32Array(out);
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

function attach(gl, program, name, values, size, type) {
  const place = gl.getAttribLocation(program, name);
  if (place < 0) return;
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, size, type, true, 0, 0); // whole numbers stand for 0..1 or -1..1
}

function paint(gl, picture) {
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true); // v grows upwards
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
  const sharp = gl.getExtension("EXT_texture_filter_anisotropic");
  if (sharp) gl.texParameterf(gl.TEXTURE_2D, sharp.TEXTURE_MAX_ANISOTROPY_EXT, 8);
}

function unit(v) {
  const length = Math.hypot(...v);
  return v.map((x) => x / length);
}
