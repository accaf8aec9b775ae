// The model as a tree of its ops, with the norm of the gradient that each passes on.
const tree = document.getElementById('tree');
let shownPhase = null, items = new Map();      // event number of a forward -> its item

function showTree(number) {
  const event = EVENTS[number];
  if (event.phase !== shownPhase) buildTree(event.phase);
  tree.querySelectorAll('[aria-selected=true]').forEach(item => item.setAttribute('aria-selected', 'false'));
  const item = items.get(forwardOf(number));
  if (!item) return;
  item.setAttribute('aria-selected', 'true');
  for (let above = item.parentElement.closest('[role=treeitem]'); above; above = above.parentElement.closest('[role=treeitem]'))
    above.setAttribute('aria-expanded', 'true');
  setTabStop(item);
  const row = item.firstChild.getBoundingClientRect(), frame = tree.parentElement.getBoundingClientRect();
  if (row.top < frame.top || row.bottom > frame.bottom) tree.parentElement.scrollTop += row.top - frame.top - frame.height / 3;
}

// The forward of an event, if it has one.
const forwardOf = number => EVENTS[number].kind === 'backward' && EVENTS[number].partner !== null ? EVENTS[number].partner : number;

function buildTree(phase) {
  const root = {name: '', children: new Map(), events: []};
  EVENTS.forEach((event, number) => {
    if (event.phase !== phase || event.kind === 'update' || forwardOf(number) !== number) return;
    let node = root;
    for (const part of event.site.replace(/\.layer\.(\d+)/, '.layer $1').split('.')) {
      if (!node.children.has(part)) node.children.set(part, {name: part, children: new Map(), events: []});
      node = node.children.get(part);
    }
    node.events.push(number);
  });
  const sizes = EVENTS.filter(event => event.phase === phase && event.kind === 'backward' && event.norm > 0)
    .map(event => Math.log(event.norm));
  const [low, high] = [Math.min(...sizes), Math.max(...sizes)];
  shownPhase = phase;
  items = new Map();
  const share = size => size > 0 ? .06 + .94 * (Math.log(size) - low) / (high - low || 1) : 0;
  tree.replaceChildren(...[...root.children.values()].flatMap(node => itemsOf(node, 0, share)));
  if (tree.firstChild) setTabStop(tree.firstChild);
}

// The item of a block, or of each op at this place; an op that is a block as well, such as attention, is the block's item.
function itemsOf(node, depth, share) {
  const [first, ...others] = node.events, children = [...node.children.values()];
  const inside = children.flatMap(child => itemsOf(child, depth + 1, share));
  const size = first === undefined ? passedOn(node) : gradientOf(first);
  const item = itemOf(node.name, first, size, depth, share);
  if (inside.length) {
    item.setAttribute('aria-expanded', String(depth < 1 || node.name === 'encoder'));
    item.append(make('ul', {role: 'group'}, inside));
  }
  return [item, ...others.map(other => itemOf(node.name, other, gradientOf(other), depth, share))];
}

function itemOf(name, number, size, depth, share) {
  const op = number === undefined ? '' : EVENTS[number].op;
  const bar = make('span', {class: 'bar'});
  bar.style.setProperty('--size', size === null ? 0 : share(size));
  const row = make('div', {class: 'row', title: op && op !== name ? `${name}: ${op}` : null}, make('span', {class: 'label'}, name), bar,
                   make('small', {}, size === null ? '' : three(size)));
  row.style.setProperty('--depth', depth);
  const item = make('li', {role: 'treeitem', tabindex: -1, 'aria-selected': 'false', 'data-event': number,
                           'aria-label': `${name}${size === null ? '' : `, gradient ${short(size)}`}`}, row);
  if (number !== undefined) items.set(number, item);
  row.addEventListener('click', () => {                                // a second click closes the block
    if (number === undefined || item.getAttribute('aria-selected') === 'true') toggle(item); else choose(item);
    item.focus();
  });
  return item;
}

const gradientOf = number => EVENTS[number].partner === null ? null : EVENTS[EVENTS[number].partner].norm;

// The gradient that leaves a block towards the input: that of its first op that has one.
function passedOn(node) {
  const below = [];
  const collect = one => { below.push(...one.events); one.children.forEach(collect); };
  collect(node);
  const first = below.sort((a, b) => a - b).find(number => gradientOf(number) !== null && !EVENTS[number].depth);
  return first === undefined ? null : gradientOf(first);
}

function setTabStop(item) {
  tree.querySelectorAll('[tabindex="0"]').forEach(other => other.setAttribute('tabindex', '-1'));
  item.setAttribute('tabindex', '0');
}

function toggle(item) {
  if (item.hasAttribute('aria-expanded')) item.setAttribute('aria-expanded', String(item.getAttribute('aria-expanded') === 'false'));
}

// Select the op of an item, in the pass that is shown.
function choose(item) {
  const number = Number(item.dataset.event), partner = EVENTS[number].partner;
  select(EVENTS[state.number].kind === 'backward' && partner !== null ? partner : number);
}

tree.addEventListener('keydown', event => {
  const item = event.target.closest('[role=treeitem]'), open = item.getAttribute('aria-expanded');
  const seen = [...tree.querySelectorAll('[role=treeitem]')].filter(one => one.offsetParent !== null), place = seen.indexOf(item);
  let next = {ArrowDown: seen[place + 1], ArrowUp: seen[place - 1], Home: seen[0], End: seen[seen.length - 1]}[event.key];
  if (event.key === 'ArrowRight') { if (open === 'false') toggle(item); else if (open === 'true') next = seen[place + 1]; }
  else if (event.key === 'ArrowLeft') { if (open === 'true') toggle(item); else next = item.parentElement.closest('[role=treeitem]'); }
  else if (event.key === 'Enter' || event.key === ' ') { if (item.dataset.event === undefined) toggle(item); else choose(item); }
  else if (!['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(event.key)) return;
  event.preventDefault();
  if (!next) return;
  setTabStop(next);
  next.focus();
  if (next.dataset.event !== undefined) choose(next);
});
