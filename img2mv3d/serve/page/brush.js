// The photo with what is left out dimmed, and a brush that corrects it. Works on the server's small upright copy, so
// that no phone's canvas is too large and no camera's rotation matters; the mask is scaled to the photo by the server.
"use strict";

const STEPS = 20; // that can be undone

export class Brush {
  constructor(canvas, ring, changed) {
    this.canvas = canvas;
    this.stage = canvas.parentElement;
    this.ring = ring;
    this.changed = changed;
    this.mask = document.createElement("canvas");
    this.veil = document.createElement("canvas");
    this.history = [];
    this.changes = 0; // by hand since the candidate was taken; older ones than the history can undo count as well
    this.adds = true;
    this.size = 40; // px of the copy
    this.zoom = 1;
    this.photo = null;
    this.held = new Map();
    this.follow();
  }

  // photo: a loaded image. mask: one of its size, white is object; null: nothing.
  show(photo, mask) {
    this.photo = photo;
    for (const c of [this.canvas, this.mask, this.veil]) Object.assign(c, { width: photo.naturalWidth, height: photo.naturalHeight });
    this.zoomTo(1);
    this.take(mask);
  }

  // Another candidate; the brush's strokes are gone.
  take(mask) {
    const pen = this.mask.getContext("2d", { willReadFrequently: true });
    pen.clearRect(0, 0, this.mask.width, this.mask.height);
    if (mask) {
      pen.drawImage(mask, 0, 0, this.mask.width, this.mask.height);
      const pixels = pen.getImageData(0, 0, this.mask.width, this.mask.height), d = pixels.data;
      for (let i = 0; i < d.length; i += 4) {
        d[i + 3] = d[i];
        d[i] = d[i + 1] = d[i + 2] = 255;
      }
      pen.putImageData(pixels, 0, 0);
    }
    this.history = [];
    this.changes = 0;
    this.draw();
  }

  invert() {
    this.remember();
    const pen = this.mask.getContext("2d"), pixels = pen.getImageData(0, 0, this.mask.width, this.mask.height), d = pixels.data;
    for (let i = 0; i < d.length; i += 4) {
      d[i + 3] = 255 - d[i + 3];
      d[i] = d[i + 1] = d[i + 2] = 255;
    }
    pen.putImageData(pixels, 0, 0);
    this.draw();
  }

  undo() {
    const alpha = this.history.pop();
    if (!alpha) return;
    const pixels = new ImageData(this.mask.width, this.mask.height);
    for (let i = 0; i < alpha.length; i++) {
      pixels.data.fill(255, 4 * i, 4 * i + 3);
      pixels.data[4 * i + 3] = alpha[i];
    }
    this.mask.getContext("2d").putImageData(pixels, 0, 0);
    this.changes--;
    this.draw();
  }

  get edited() { return this.changes > 0; }

  // The mask as a grey PNG, white is object.
  async blob() {
    const out = document.createElement("canvas");
    Object.assign(out, { width: this.mask.width, height: this.mask.height });
    const pen = out.getContext("2d");
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, out.width, out.height);
    pen.drawImage(this.mask, 0, 0);
    return new Promise((done) => out.toBlob(done, "image/png"));
  }

  // Share of the picture that is object, of a coarse sample.
  share() {
    const d = this.mask.getContext("2d").getImageData(0, 0, this.mask.width, this.mask.height).data;
    let seen = 0, inside = 0;
    for (let i = 3; i < d.length; i += 4 * 7) { seen++; inside += d[i] > 127; }
    return inside / seen;
  }

  zoomTo(zoom) {
    this.zoom = Math.min(Math.max(zoom, 1), 6);
    this.canvas.style.setProperty("--zoom", this.zoom);
    this.canvas.style.setProperty("--aspect", this.canvas.width / this.canvas.height);
  }

  draw() {
    const { width, height } = this.canvas, pen = this.canvas.getContext("2d"), veil = this.veil.getContext("2d");
    veil.globalCompositeOperation = "source-over";
    veil.clearRect(0, 0, width, height);
    veil.fillStyle = "rgba(28, 34, 54, .74)"; // cool and dark: told from any photo
    veil.fillRect(0, 0, width, height);
    const line = Math.max(1, Math.round(Math.max(width, height) / 450));
    for (let k = 0; k < 8; k++) { // a white line round what stays
      veil.drawImage(this.mask, Math.round(line * Math.cos((k * Math.PI) / 4)), Math.round(line * Math.sin((k * Math.PI) / 4)));
    }
    veil.globalCompositeOperation = "destination-out";
    veil.drawImage(this.mask, 0, 0);
    pen.drawImage(this.photo, 0, 0, width, height);
    pen.drawImage(this.veil, 0, 0);
    this.changed();
  }

  remember() {
    const d = this.mask.getContext("2d").getImageData(0, 0, this.mask.width, this.mask.height).data;
    const alpha = new Uint8Array(d.length / 4);
    for (let i = 0; i < alpha.length; i++) alpha[i] = d[4 * i + 3];
    this.history.push(alpha);
    if (this.history.length > STEPS) this.history.shift();
    this.changes++;
  }

  // Where the pointer is, in px of the copy, however the canvas is scaled.
  at(e) {
    const box = this.canvas.getBoundingClientRect();
    return [((e.clientX - box.left) * this.canvas.width) / box.width, ((e.clientY - box.top) * this.canvas.height) / box.height];
  }

  stroke(from, to) {
    const pen = this.mask.getContext("2d");
    pen.globalCompositeOperation = this.adds ? "source-over" : "destination-out";
    Object.assign(pen, { lineWidth: this.size, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
    this.draw();
  }

  follow() {
    const { canvas, held } = this;
    let last = null;
    canvas.addEventListener("pointerdown", (e) => {
      if (!this.photo || e.button > 0) return;
      canvas.setPointerCapture(e.pointerId);
      held.set(e.pointerId, [e.clientX, e.clientY]);
      if (held.size > 1) { // a second finger: it was no stroke
        if (last) this.undo();
        last = null;
        return;
      }
      this.remember();
      last = this.at(e);
      this.stroke(last, last);
    });
    canvas.addEventListener("pointermove", (e) => {
      this.point(e);
      const before = held.get(e.pointerId);
      if (!before) return;
      held.set(e.pointerId, [e.clientX, e.clientY]);
      if (held.size > 1) {
        this.stage.scrollLeft -= (e.clientX - before[0]) / held.size;
        this.stage.scrollTop -= (e.clientY - before[1]) / held.size;
      } else if (last) {
        const here = this.at(e);
        this.stroke(last, here);
        last = here;
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (e) => { held.delete(e.pointerId); if (!held.size) last = null; });
    }
    canvas.addEventListener("pointerleave", () => { this.ring.hidden = true; });
    canvas.addEventListener("wheel", (e) => {
      if (!e.ctrlKey) return;
      e.preventDefault();
      this.zoomTo(this.zoom * Math.exp(-e.deltaY * 0.002));
    }, { passive: false });
  }

  // The ring shows what a stroke would cover.
  point(e) {
    const stage = this.stage.getBoundingClientRect(), box = this.canvas.getBoundingClientRect();
    const side = (this.size * box.width) / this.canvas.width;
    this.ring.hidden = !this.photo || e.pointerType === "touch";
    Object.assign(this.ring.style, {
      width: `${side}px`, height: `${side}px`,
      left: `${e.clientX - stage.left + this.stage.scrollLeft - side / 2}px`,
      top: `${e.clientY - stage.top + this.stage.scrollTop - side / 2}px`,
    });
    this.ring.dataset.adds = this.adds;
  }
}
