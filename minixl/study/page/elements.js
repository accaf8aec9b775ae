// How elements are made.

// An element with attributes and children; a child that is text stays text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const title = text => make('h3', {}, text);
const note = text => make('p', {class: 'note'}, text);
const cutNote = (shown, of, what) => shown < of ? make('p', {class: 'sampled'}, `Shown: ${shown} of ${of} ${what}.`) : null;
const markup = text => { const box = document.createElement('span'); box.innerHTML = text; return box; };      // MathML only

// A list of names and values.
const facts = (pairs, attributes = {}) =>
  make('dl', attributes, pairs.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]));

// A table in a box that scrolls.  rows: lists of cells, which are text or elements; texts: how many columns are text.
function table(label, head, rows, {caption = null, texts = 1, low = false} = {}) {
  const cell = content => content instanceof Element && content.tagName === 'TD' ? content : make('td', {}, content);
  return make('div', {class: `scroll text${texts}${low ? ' low' : ''}`, tabindex: 0, role: 'region', 'aria-label': label},
    make('table', {}, caption ? make('caption', {}, caption) : null,
      make('thead', {}, make('tr', {}, head.map(text => make('th', {}, text)))),
      make('tbody', {}, rows.map(row => make('tr', {}, row.map(cell))))));
}

// A cell with a number and a bar as long as its share of the largest.
function barCell(value, largest) {
  const bar = make('span', {class: 'change', 'aria-hidden': 'true'});
  bar.style.width = `${(4.5 * value / largest).toFixed(2)}rem`;
  return make('td', {class: 'change-cell'}, short(value), bar);
}

// A path through points.
const pathOf = points => points.map(([x, y], i) => `${i ? 'L' : 'M'}${x},${y}`).join('');

// A line of text at a point of a picture.
function textAt(x, y, content, attributes = {}) {
  const element = svg('text', {x, y, 'font-size': 13, fill: 'var(--muted)', ...attributes});
  element.textContent = content;
  return element;
}
