// The lattice of a CRF: a circle for each tag of a word, a line for each pair of tags, the gold path and the best one.
const LEAST = .004;                    // probability of a pair that is drawn

function latticeOf(lattice, heading) {
  const [node, edges, error] = [lattice.node, lattice.edges, lattice.error].map(arrayOf), tags = DATA.labels, words = lattice.words;
  const count = node.rows, K = node.columns, wrong = lattice.best.filter((tag, t) => tag !== lattice.gold[t]).length;
  const says = (name, array) => (i, j) => `${name}[${i}, ${j}] = ${exact(array.at(i, j), 'float64')}   ${words[i]}, ${tags[j]}`;
  const saysEdge = (row, j) => {
    const t = Math.floor(row / K) + 1, i = row % K;
    return `edge[${t}, ${i}, ${j}] = ${exact(edges.at(row, j), 'float64')}   ${words[t - 1]} ${tags[i]} → ${words[t]} ${tags[j]}`;
  };
  const map = (name, array, options) => make('figure', {'data-name': name}, make('figcaption', {}, make('b', {}, name)),
    heatMap({rows: array.rows, columns: K, at: array.at, limit: 1, label: name, ...options}));
  const key = (kind, text) => make('span', {}, make('i', {class: kind}), text);
  const scores = [['log Z', lattice.log_partition], ['score of the gold path', lattice.gold_score],
                  ['log Z − score of the gold path', lattice.log_partition - lattice.gold_score],
                  ['score of the best path', lattice.best_score]];
  return [
    title(heading),
    note('A circle is the probability of a tag, a line that of a pair of tags. The loss is log Z minus the score of the gold path.'),
    make('div', {class: 'key'}, key('gold', 'gold path'),
         key('best', `best path (Viterbi), ${wrong ? `differs at ${wrong} of ${count} words` : 'the same'}`)),
    make('div', {class: 'lattice', tabindex: 0, role: 'region', 'aria-label': heading}, drawLattice(lattice, {node, edges, error}, wrong)),
    cutNote(count, lattice.of, 'words'),
    facts(scores.map(([name, value]) => [name, exact(value, 'float64')]), {class: 'facts'}),
    make('div', {class: 'two pair'}, map('node', node, {says: says('node', node), names: words}),
         map('node − onehot(gold)', error, {says: says('node − onehot(gold)', error), names: words})),
    count > 1 ? make('details', {}, make('summary', {}, 'Probability of every pair of tags'), map('edge', edges, {says: saysEdge})) : null,
  ];
}

function drawLattice(lattice, {node, edges, error}, wrong) {
  const tags = DATA.labels, words = lattice.words, count = node.rows, K = node.columns, left = 104, top = 30, dy = 34;
  const dx = Math.max(42, Math.min(84, (panel.clientWidth - 150) / Math.max(count - 1, 1))), x = t => left + t * dx, y = k => top + k * dy;
  const width = x(count - 1) + 44, height = y(K - 1) + 84;
  const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, role: 'img',
    'aria-label': `lattice of ${count} words and ${K} tags; the best path differs from the gold one at ${wrong} words; `
      + 'the heat maps below have its numbers'});
  const add = (element, text) => {
    element.addEventListener('pointermove', event => { tip.textContent = text; place(event.clientX, event.clientY); });
    element.addEventListener('pointerleave', () => { tip.hidden = true; });
    picture.append(element);
  };
  const path = (tagsOf, attributes) => picture.append(svg('path', {d: pathOf(tagsOf.map((tag, t) => [x(t), y(tag)])), fill: 'none',
                                                                   'pointer-events': 'none', ...attributes}));
  for (let t = 1; t < count; t++)
    for (let i = 0; i < K; i++)
      for (let j = 0; j < K; j++) {
        const share = edges.at((t - 1) * K + i, j);
        if (share >= LEAST)
          add(svg('path', {d: pathOf([[x(t - 1), y(i)], [x(t), y(j)]]), stroke: 'var(--positive)', 'stroke-width': .75 + 5 * share,
                           'stroke-opacity': .15 + .7 * share}),
              `${words[t - 1]} ${tags[i]} → ${words[t]} ${tags[j]}: ${exact(share, 'float64')}`);
      }
  path(lattice.gold, {stroke: 'var(--accent)', 'stroke-width': 3});
  path(lattice.best, {stroke: 'var(--ink)', 'stroke-width': 2.5, 'stroke-dasharray': '5 4'});
  for (let t = 0; t < count; t++) {
    for (let k = 0; k < K; k++)
      add(svg('circle', {cx: x(t), cy: y(k), r: 3 + 9 * Math.sqrt(node.at(t, k)), fill: colour(node.at(t, k)), stroke: 'var(--muted)',
                         'stroke-width': .75}),
          `${words[t]} ${tags[k]}: node = ${exact(node.at(t, k), 'float64')}, gradient = ${exact(error.at(t, k), 'float64')}`);
    const word = words[t].length > 10 ? `${words[t].slice(0, 9)}…` : words[t];
    picture.append(textAt(0, 0, word, {'text-anchor': 'end', fill: 'var(--ink)',
                                       transform: `translate(${x(t) + 6},${y(K - 1) + 24})rotate(-45)`}));
  }
  tags.forEach((tag, k) => picture.append(textAt(left - 38, y(k) + 4, tag, {'text-anchor': 'end', 'font-size': 12})));
  return picture;
}
