// Where a pixel is seen: under the pointer a pixel of one view; in the others its line, the piece of the line that the
// decoder looks at (depth plus and minus a radius), and the point at the fitted depth.
// In: the drawn views, z of all views. Only for orthographic cameras at one height: a pixel's line is its own row.
"use strict";

const ON = "#00b4ff", SEEN = "#2ce6a0", HIDDEN = "#868e96", LOUPE = 9; // px of the view on each side of the loupe

function showLines(root, rig, depth, pictures) {
  const size = rig.size, half = rig.width / 2;
  const angle = rig.azimuth_deg.map((a) => (a * Math.PI) / 180);
  const frames = [...root.querySelectorAll(".line-view")];
  const canvases = frames.map((f) => f.querySelector("canvas.lines"));
  const loupes = frames.map((f) => f.querySelector("canvas.loupe"));
  const words = frames.map((f) => f.querySelector(".told"));
  const z = (view, column, row) => {
    const code = depth[(view * size + row) * size + column];
    return code ? code / rig.per_unit - rig.shift : null;
  };

  // Column (px) in `other` of the point at depth `deep` behind x (world units) of `view`, and its depth there.
  const seen = (view, other, x, deep) => {
    const turn = angle[other] - angle[view], c = Math.cos(turn), s = Math.sin(turn);
    return [((c * x + s * deep) / half + 1) * (size / 2), c * deep - s * x];
  };

  function mark(view, column, row) {
    const x = ((column + 0.5) * (2 / size) - 1) * half, deep = z(view, column, row);
    frames.forEach((frame, other) => {
      const pen = fresh(canvases[other]), k = canvases[other].width / size, y = (row + 0.5) * k;
      const line = (from, to, color, width) => {
        pen.strokeStyle = color; pen.lineWidth = width;
        pen.beginPath(); pen.moveTo(from * k, y); pen.lineTo(to * k, y); pen.stroke();
      };
      frame.classList.toggle("asked", other === view);
      if (other === view) {
        dot(pen, (column + 0.5) * k, y, ON, true);
        words[other].textContent = deep === null ? "no surface here" : `depth ${deep.toFixed(2)}`;
        enlarge(loupes[other], pictures(other), column + 0.5, row + 0.5, size);
        return;
      }
      line(0, size, "rgba(0,150,220,.55)", 1.5);
      if (deep === null) { words[other].textContent = "somewhere on this line"; fresh(loupes[other]); return; }
      const ends = [deep - rig.radius, deep + rig.radius].map((d) => seen(view, other, x, d)[0]);
      line(...ends, ON, 4);
      const [u, there] = seen(view, other, x, deep);
      const column2 = Math.floor(u), inside = column2 >= 0 && column2 < size;
      const front = inside ? z(other, column2, row) : null;
      const open = front !== null && there - front < rig.same;
      dot(pen, u * k, y, open ? SEEN : HIDDEN, open);
      words[other].textContent = !inside ? "outside" : front === null ? "beside the surface" : open ? "seen" : "hidden";
      enlarge(loupes[other], pictures(other), u, row + 0.5, size);
    });
  }

  canvases.forEach((canvas, view) => {
    const at = (e) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(((e.clientX - box.left) / box.width) * size);
      const row = Math.floor(((e.clientY - box.top) / box.height) * size);
      if (column >= 0 && row >= 0 && column < size && row < size) mark(view, column, row);
    };
    canvas.addEventListener("pointermove", at);
    canvas.addEventListener("pointerdown", at);
  });
  mark(0, ...start(depth, size));
  return { mark, seen };
}

// A pixel of the first view to begin with: of all with a surface the middle one, a little above.
function start(depth, size) {
  const found = [];
  for (let i = 0; i < size * size; i++) if (depth[i]) found.push(i);
  const i = found.length ? found[Math.floor(found.length * 0.42)] : 0;
  return [i % size, Math.floor(i / size)];
}

function fresh(canvas) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  return pen;
}

function dot(pen, x, y, color, full) {
  pen.beginPath();
  pen.arc(x, y, 6, 0, 2 * Math.PI);
  pen.lineWidth = 2.5; pen.strokeStyle = "#fff"; pen.fillStyle = full ? color : "rgba(255,255,255,.6)";
  pen.fill(); pen.stroke();
  pen.lineWidth = 1.5; pen.strokeStyle = full ? "rgba(0,0,0,.5)" : color; pen.stroke();
}

function enlarge(canvas, picture, u, v, size) {
  const pen = fresh(canvas), k = picture.naturalWidth / size, side = 2 * LOUPE * k;
  pen.imageSmoothingEnabled = false;
  pen.drawImage(picture, (u - LOUPE) * k, (v - LOUPE) * k, side, side, 0, 0, canvas.width, canvas.height);
  const middle = canvas.width / 2, one = canvas.width / (2 * LOUPE);
  pen.strokeStyle = ON; pen.lineWidth = 1.5;
  pen.strokeRect(middle - one / 2, middle - one / 2, one, one);
}
