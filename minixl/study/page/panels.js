// What is shown of a call of an op: formulas, sources, and every array beside its gradient.
const panel = document.getElementById('panel');

function showCall(number) {
  const own = EVENTS[number], forward = EVENTS[forwardOf(number)], op = DATA.ops[own.op];
  const checks = DATA.checks[own.op] || {};
  const place = own.site.split('.'), inside = own.depth ? `, called by ${place.slice(0, -1).join('.')}` : '';
  showPanel(
    make('div', {class: 'head'}, make('div', {class: 'pass'}, [...new Set([own.part, own.kind])].filter(one => one !== 'helper').join(', ')),
         make('h2', {}, own.op), make('div', {class: 'site'}, own.site + inside), make('p', {}, op.title),
         forward.plain ? note(forward.plain) : null),
    ...formulasOf(op, own), ...specialOf(forward), ...arraysOf(forward, checks, own), ...cacheOf(forward), ...sourcesOf(op, own));
}

function showPanel(...contents) { panel.replaceChildren(...contents.filter(Boolean)); }

// What some ops have of their own.
function specialOf(event) {
  const {attention = [], lattices = [], linkage = null} = event;
  const headed = (found, heading, draw) => found.flatMap((one, i) => draw(one, found.length > 1 ? `${heading}, sentence ${i + 1}` : heading));
  return [...headed(attention, 'Attention', attentionOf), ...headed(lattices, 'Lattice', latticeOf), ...(linkage ? linkageOf(linkage) : [])];
}

function sides(own, contents) {
  const kinds = Object.keys(contents);
  return make('div', {class: 'two'}, kinds.map(kind => make('section', {class: `side${own.kind === kind ? ' current' : ''}`},
    make('h3', {}, kind), contents[kind])));
}

function formulasOf(op, own) {
  const lines = kind => op.formulas.filter(line => line.kind === kind).map(line => make('div', {class: 'formula'},
    line.parts.map(markup), line.remarks.map(text => make('span', {class: 'remark'}, markup(text)))));
  const both = lines(''), parts = [];
  if (!op.formulas.length) return [];
  if (both.length) parts.push(make('div', {class: 'both'}, both));
  const ofPass = Object.fromEntries(['forward', 'backward'].map(kind => [kind, lines(kind)]).filter(([, found]) => found.length));
  if (Object.keys(ofPass).length) parts.push(sides(own, ofPass));
  return [make('h3', {}, 'Formula'), ...parts];
}

function arraysOf(forward, checks, own) {
  if (!forward.rows) return [];
  const rows = forward.rows.map(row => {
    const gradients = row.backward.map(figure => figureOf(figure, forward.batch, row.name === 'result' ? [] : checks[row.name] || []));
    const none = row.name === 'result' || forward.partner === null ? '' : `${row.name} has no gradient`;
    return make('div', {class: 'two pair'}, row.parameter ? make('p', {class: 'name site'}, row.parameter) : null,
                make('div', {}, row.forward.map(figure => figureOf(figure, forward.batch))),
                make('div', {}, gradients.length ? gradients : make('p', {class: 'sampled'}, none)));
  });
  return [title('Arrays, each beside its gradient'),
          note('Point at a cell, or move over it with the arrow keys, to read its number. A mark is the verdict of minixl study check: '
            + 'the relative error of this op’s gradient in float64. Of a large array, evenly spaced rows and columns are shown; its '
            + 'statistics are of all elements.'),
          sides(own, {forward: [], backward: []}), ...rows];
}

function cacheOf(forward) {
  if (!forward.cache || !forward.cache.length) return [];
  const what = forward.cache.length === 1 ? 'the array' : `the ${forward.cache.length} arrays`;
  const box = make('details', {}, make('summary', {}, `Cache: ${what} that the forward pass kept for the backward pass`));
  box.addEventListener('toggle', () => {
    if (box.children.length > 1) return;
    box.append(make('div', {class: 'two pair'}, forward.cache.map(figure => figureOf(figure, forward.batch))));
  });
  return [box];
}

function sourcesOf(op, own) {
  const contents = {};
  for (const kind of ['forward', 'backward', 'helper'])
    if (op.sources[kind]) contents[kind] = [code(op.sources[kind].text), make('p', {class: 'place mono'}, op.sources[kind].place)];
  return [make('h3', {}, 'Source'), sides(own, contents)];
}

function code(text) {
  const lines = text.split('\n').flatMap(line => {
    const cut = line.search(/(^|\s\s)#/);
    return cut < 0 ? [line, '\n'] : [line.slice(0, cut), make('span', {class: 'comment'}, line.slice(cut)), '\n'];
  });
  return make('pre', {tabindex: 0}, lines);
}
