// Heat maps: a canvas whose cells are read with the pointer or with the arrow keys.
const tip = document.getElementById('tip'), said = document.getElementById('said');
const STEPS = 64;
let colours = null;                    // from −1 to 1, in the colours of the style sheet

function colour(share) {
  if (!colours) {
    const style = getComputedStyle(document.documentElement);
    const [negative, zero, positive] = ['--negative', '--zero', '--positive'].map(name => rgb(style.getPropertyValue(name)));
    colours = Array.from({length: 2 * STEPS + 1}, (_, i) => {
      const t = (i - STEPS) / STEPS, end = t < 0 ? negative : positive;
      return `rgb(${zero.map((value, k) => Math.round(value + (end[k] - value) * Math.abs(t) ** 0.85)).join(',')})`;
    });
  }
  return colours[Math.round(Math.max(-1, Math.min(1, share)) * STEPS) + STEPS];
}

const rgb = text => [1, 3, 5].map(place => parseInt(text.trim().slice(place, place + 2), 16));

// The names of rows or columns of a kind, in a batch.
function namesOf(kind, batch) {
  if (kind === 'tags') return DATA.labels;
  const text = DATA.batches[batch];
  if (!text || !kind) return null;
  return kind === 'tokens' ? text.tokens : kind === 'words' ? text.words
    : text.starts.slice(1).map((_, i) => `sentence ${i + 1}`);
}

// A canvas of rows × columns cells.  at(i, j): the value; says(i, j): the text about it; names of rows may stand beside them.
function heatMap({rows, columns, at, says, limit, label, names = null, columnNames = null, cell = null, border = 0}) {
  const gutter = names && rows > 1 ? 84 : 0, top = columnNames ? 72 : 0;
  const width = cell || Math.max(3, Math.min(18, Math.floor((440 - gutter) / columns)));
  const height = cell || Math.max(gutter ? 12 : 4, Math.min(18, Math.floor(240 / rows)));
  const size = [gutter + width * columns, top + height * rows];
  const canvas = make('canvas', {class: 'heat', tabindex: 0, role: 'application', 'aria-roledescription': 'heat map',
                                 'aria-label': `${label}; arrow keys read its values`});
  canvas.style.width = `${size[0]}px`;
  canvas.style.aspectRatio = `${size[0]} / ${size[1]}`;
  let cursor = null;
  const draw = () => {
    const density = window.devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
    [canvas.width, canvas.height] = size.map(value => Math.ceil(value * density));
    const context = canvas.getContext('2d');
    context.scale(density, density);
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        context.fillStyle = colour(limit ? at(i, j) / limit : 0);
        context.fillRect(gutter + j * width, top + i * height, width - (width > 6), height - (height > 6));
      }
    context.font = '11px system-ui, sans-serif';
    context.fillStyle = style.getPropertyValue('--muted');
    context.textBaseline = 'middle';
    if (gutter) names.forEach((name, i) => context.fillText(name, 0, top + (i + .5) * height, gutter - 6));
    if (top) columnNames.forEach((name, j) => {
      context.save();
      context.translate(gutter + (j + .5) * width, top - 6);
      context.rotate(-Math.PI / 3);
      context.fillText(name, 0, 0, top);
      context.restore();
    });
    context.fillStyle = style.getPropertyValue('--ink');
    if (border) {                      // between two languages
      context.fillRect(gutter + border * width - 1, top, 1.5, height * rows);
      context.fillRect(gutter, top + border * height - 1, width * columns, 1.5);
    }
    if (cursor) {
      context.strokeStyle = style.getPropertyValue('--ink');
      context.lineWidth = 2;
      context.strokeRect(gutter + cursor[1] * width, top + cursor[0] * height, Math.max(width - 1, 3), Math.max(height - 1, 3));
    }
  };
  const show = (i, j, x, y) => { tip.textContent = says(i, j); place(x, y); };
  const cellAt = event => {
    const box = canvas.getBoundingClientRect(), zoom = size[0] / box.width;
    const i = Math.floor(((event.clientY - box.top) * zoom - top) / height);
    const j = Math.floor(((event.clientX - box.left) * zoom - gutter) / width);
    return i >= 0 && i < rows && j >= 0 && j < columns ? [i, j] : null;
  };
  canvas.addEventListener('pointermove', event => {
    const found = cellAt(event);
    if (found) show(...found, event.clientX, event.clientY); else tip.hidden = true;
  });
  canvas.addEventListener('pointerleave', () => { tip.hidden = true; });
  canvas.addEventListener('blur', () => { cursor = null; tip.hidden = true; draw(); });
  canvas.addEventListener('keydown', event => {
    const move = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (!move) return;
    event.preventDefault();
    cursor = cursor ? [Math.max(0, Math.min(rows - 1, cursor[0] + move[0])), Math.max(0, Math.min(columns - 1, cursor[1] + move[1]))]
      : [0, 0];
    draw();
    const box = canvas.getBoundingClientRect(), zoom = box.width / size[0];
    show(...cursor, box.left + (gutter + cursor[1] * width) * zoom, box.top + (top + cursor[0] * height) * zoom);
    said.textContent = tip.textContent;
  });
  canvas.draw = draw;                  // again when the colour scheme changes
  draw();
  return canvas;
}

function place(x, y) {
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, window.innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + 20 + box.height > window.innerHeight ? y - box.height - 10 : y + 18}px`;
}

// An array with its statistics.  figure: name, number, and what rows and columns are; verdicts: of its gradient.
function figureOf([name, number, rowKind, columnKind], batch, verdicts = []) {
  const array = arrayOf(number), rowNames = namesOf(rowKind, batch), columnNames = namesOf(columnKind, batch);
  const caption = make('figcaption', {}, make('b', {}, name), make('span', {}, `${times(array.shape)} ${array.type}`),
                       array.code.startsWith('f') ? verdicts.map(verdictOf) : null);
  const body = !array.values.length ? [make('p', {class: 'sampled'}, 'empty')]
    : array.values.length === 1 && array.code.startsWith('f')
      ? [make('p', {class: 'single', tabindex: 0}, exact(array.values[0], array.type))]
    : array.code === 'i4' ? [integers(array, columnNames)]
    : [heatOf(name, array, rowNames, columnNames), ...about(array)];
  return make('figure', {'data-name': name}, caption, ...body);
}

function heatOf(name, array, rowNames, columnNames) {
  const isVector = array.table[0] === 1 && array.columns > 24, wide = isVector ? Math.min(array.columns, 48) : array.columns;
  const rows = isVector ? Math.ceil(array.columns / wide) : array.rows;
  const at = (i, j) => isVector ? array.values[i * wide + j] : array.at(i, j);
  const says = (i, j) => {
    const [row, column] = isVector ? [0, array.columnAt(i * wide + j)] : [array.rowAt(i), array.columnAt(j)];
    if (isVector && i * wide + j >= array.columns) return '';
    const index = indexOf(array.shape, row, column);
    const value = array.code !== 'u1' ? exact(at(i, j), array.type) : at(i, j) ? 'True' : 'False';
    const names = [rowNames && array.shape.length > 1 && rowNames[row], columnNames && columnNames[column]].filter(Boolean);
    return `${name}${index} = ${value}${names.length ? `   ${names.join(', ')}` : ''}`;
  };
  const shown = rowNames && array.rows === array.table[0] && array.shape.length > 1 ? rowNames : null;
  return heatMap({rows, columns: wide, at: (i, j) => at(i, j) || 0, says, limit: array.code === 'u1' ? 1 : array.limit,
                  label: `${name}, ${times(array.shape)}`, names: shown});
}

// An index as NumPy writes it, of an array that is shown as rows of its last axis.
function indexOf(shape, row, column) {
  if (!shape.length) return '';
  const index = [column];
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    index.unshift(row % shape[axis]);
    row = Math.floor(row / shape[axis]);
  }
  return `[${index.join(', ')}]`;
}

function integers(array, names) {
  const named = (value, i) => names && names[array.columnAt(i)] ? `${value} ${names[array.columnAt(i)]}` : value;
  const parts = [...array.values].slice(0, 400).map(named);
  return make('p', {class: 'ints mono', tabindex: 0}, parts.join(' · ') + (array.isCut ? ' …' : ''));
}

function about(array) {
  const lines = [];
  if (array.code === 'u1')
    lines.push(make('p', {class: 'under stats'}, `${array.true} of ${array.values.length} are true`));
  else {
    const one = typeof array.min === 'number' && array.min >= 0;
    lines.push(make('div', {class: 'under'}, histogram(array), make('span', {class: `scale${one ? ' one' : ''}`},
      one ? '0' : short(-array.limit), make('i'), short(array.limit)),
      make('span', {class: 'stats'}, ['min', 'mean', 'max', 'norm'].map(name => `${name} ${short(array[name])}`).join('  '))));
  }
  if (array.isCut)
    lines.push(make('p', {class: 'sampled'},
                    `Shown: ${array.rows} of ${array.table[0]} rows, ${array.columns} of ${array.table[1]} columns`));
  return lines;
}

function histogram(array) {
  const most = Math.max(...array.bins, 1), width = 2.5, height = 26;
  const bar = (count, i) => svg('rect', {x: i * width, y: height * (1 - count / most), width: width - .5, height: height * count / most,
                                         fill: 'var(--muted)'});
  const text = `histogram from ${short(-array.limit)} to ${short(array.limit)}, ${most} in the highest of ${array.bins.length} bars`;
  const across = array.bins.length * width;
  const box = svg('svg', {viewBox: `0 0 ${across} ${height}`, width: across, height, role: 'img', 'aria-label': text,
                          style: 'width:auto;flex:none'}, ...array.bins.map(bar));
  box.append(svg('title', {}));
  box.lastChild.textContent = text + (array.every > 1 ? `; of every ${array.every}th element` : '');
  return box;
}

function verdictOf([against, error, passed]) {
  return make('span', {class: `verdict${passed ? '' : ' failed'}`, title: `minixl study check: relative error against ${against}`},
              `${passed ? '✓' : '✗ wrong:'} ${against.split(' ').pop()} ${error ? signed(error.toExponential(1)) : 0}`);
}
