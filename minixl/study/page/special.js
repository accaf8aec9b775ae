// What some ops have of their own: attention maps, a CRF's lattice, the pulls of average linkage.
function specialOf(event) {
  return [...(event.attention || []).flatMap((map, i, all) => attentionOf(map, event.attention.length > 1 ? `Attention, sentence ${i + 1}` : 'Attention')),
          ...(event.lattices || []).flatMap((lattice, i) => latticeOf(lattice, event.lattices.length > 1 ? `Lattice, sentence ${i + 1}` : 'Lattice')),
          ...(event.linkage ? linkageOf(event.linkage) : [])];
}

const cutNote = (shown, of, what) => shown < of ? make('p', {class: 'sampled'}, `Shown: ${shown} of ${of} ${what}.`) : null;

function attentionOf(map, title) {
  const array = arrayOf(map.array), count = map.tokens.length, large = make('div', {}), maps = make('div', {class: 'maps', role: 'group', 'aria-label': 'heads'});
  const at = head => (i, j) => array.at(head * count + i, j);
  const says = head => (i, j) => `head ${head + 1}: probs[${map.places[i]}, ${map.places[j]}] = ${exact(at(head)(i, j), array.type)}   ${map.tokens[i]} → ${map.tokens[j]}`;
  const enlarge = head => {
    [...maps.children].forEach((button, i) => button.setAttribute('aria-pressed', String(i === head)));
    large.replaceChildren(heatMap({rows: count, columns: count, at: at(head), says: says(head), limit: 1, label: `head ${head + 1}`, names: map.tokens,
                                   columnNames: map.tokens, cell: count > 40 ? 9 : 15}));
  };
  for (let head = 0; head < map.heads; head++) {
    const button = make('button', {type: 'button', 'aria-pressed': 'false', 'data-head': head}, thumbnail(count, at(head)), `head ${head + 1}`);
    button.addEventListener('click', () => enlarge(head));
    maps.append(button);
  }
  enlarge(0);
  return [make('h3', {}, title), make('p', {class: 'note'}, 'Each row is the piece that looks, each column the piece that it looks at; every row adds up to 1.'),
          maps, large, cutNote(count, map.of, 'pieces')];
}

function thumbnail(count, at) {
  const canvas = make('canvas', {width: count, height: count, 'aria-hidden': 'true'});
  canvas.style.cssText = 'width:72px;height:72px;image-rendering:pixelated';
  canvas.draw = () => {
    const context = canvas.getContext('2d');
    for (let i = 0; i < count; i++) for (let j = 0; j < count; j++) { context.fillStyle = colour(at(i, j)); context.fillRect(j, i, 1, 1); }
  };
  canvas.draw();
  return canvas;
}

function latticeOf(lattice, title) {
  const node = arrayOf(lattice.node), edges = arrayOf(lattice.edges), error = arrayOf(lattice.error), tags = DATA.labels;
  const [count, K] = [node.rows, node.columns], [dx, dy, left, top] = [Math.max(42, Math.min(84, (panel.clientWidth - 150) / Math.max(count - 1, 1))), 34, 74, 10], x = t => left + 30 + t * dx, y = k => top + 20 + k * dy;
  const wrong = lattice.best.filter((tag, t) => tag !== lattice.gold[t]).length;
  const picture = svg('svg', {viewBox: `0 0 ${x(count - 1) + 44} ${y(K - 1) + 84}`, width: x(count - 1) + 44, height: y(K - 1) + 84, role: 'img',
    'aria-label': `lattice of ${count} words and ${K} tags; the best path differs from the gold one at ${wrong} words; the heat maps below have its numbers`});
  const hover = (element, text) => {
    element.addEventListener('pointermove', event => { tip.textContent = text; place(event.clientX, event.clientY); });
    element.addEventListener('pointerleave', () => { tip.hidden = true; });
  };
  for (let t = 1; t < count; t++)
    for (let i = 0; i < K; i++)
      for (let j = 0; j < K; j++) {
        const share = edges.at((t - 1) * K + i, j);
        if (share < .004) continue;
        const line = svg('path', {d: `M${x(t - 1)},${y(i)}L${x(t)},${y(j)}`, stroke: 'var(--positive)', 'stroke-width': .75 + 5 * share, 'stroke-opacity': .15 + .7 * share});
        hover(line, `${lattice.words[t - 1]} ${tags[i]} → ${lattice.words[t]} ${tags[j]}: ${exact(share, 'float64')}`);
        picture.append(line);
      }
  const path = (tagsOf, attributes) => svg('path', {d: tagsOf.map((tag, t) => `${t ? 'L' : 'M'}${x(t)},${y(tag)}`).join(''), fill: 'none', 'pointer-events': 'none', ...attributes});
  picture.append(path(lattice.gold, {stroke: 'var(--accent)', 'stroke-width': 3}), path(lattice.best, {stroke: 'var(--ink)', 'stroke-width': 2.5, 'stroke-dasharray': '5 4'}));
  for (let t = 0; t < count; t++) {
    for (let k = 0; k < K; k++) {
      const share = node.at(t, k), circle = svg('circle', {cx: x(t), cy: y(k), r: 3 + 9 * Math.sqrt(share), fill: colour(share), stroke: 'var(--muted)', 'stroke-width': .75});
      hover(circle, `${lattice.words[t]} ${tags[k]}: node = ${exact(share, 'float64')}, gradient = ${exact(error.at(t, k), 'float64')}`);
      picture.append(circle);
    }
    const word = svg('text', {'text-anchor': 'end', 'font-size': 13, fill: 'var(--ink)', transform: `translate(${x(t) + 6},${y(K - 1) + 24})rotate(-45)`});
    word.textContent = lattice.words[t].length > 10 ? `${lattice.words[t].slice(0, 9)}…` : lattice.words[t];
    picture.append(word);
  }
  tags.forEach((tag, k) => {
    const text = svg('text', {x: left - 8, y: y(k) + 4, 'text-anchor': 'end', 'font-size': 12, fill: 'var(--muted)'});
    text.textContent = tag;
    picture.append(text);
  });
  const key = (kind, text) => make('span', {}, make('i', {class: kind}), text);
  const map = (name, array, limit, at = (i, j) => array.at(i, j), rows = count, says = null) => make('figure', {'data-name': name},
    make('figcaption', {}, make('b', {}, name)), heatMap({rows, columns: K, at, limit, label: name, names: rows === count ? lattice.words : null,
    says: says || ((i, j) => `${name}[${i}, ${j}] = ${exact(at(i, j), 'float64')}   ${lattice.words[i]}, ${tags[j]}`)}));
  return [make('h3', {}, title),
    make('p', {class: 'note'}, 'A circle is the probability of a tag, a line that of a pair of tags. The loss is log Z minus the score of the gold path.'),
    make('div', {class: 'key'}, key('gold', 'gold path'), key('best', `best path (Viterbi), ${wrong ? `differs at ${wrong} of ${count} words` : 'the same'}`)),
    make('div', {class: 'lattice', tabindex: 0, role: 'region', 'aria-label': title}, picture), cutNote(count, lattice.of, 'words'),
    make('dl', {class: 'facts'}, [['log Z', lattice.log_partition], ['score of the gold path', lattice.gold_score],
      ['log Z − score of the gold path', lattice.log_partition - lattice.gold_score], ['score of the best path', lattice.best_score]]
      .flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, exact(value, 'float64'))])),
    make('div', {class: 'two pair'}, map('node', node, 1), map('node − onehot(gold)', error, 1)),
    count > 1 ? make('details', {}, make('summary', {}, 'Probability of every pair of tags'), map('edge', edges, 1, undefined, (count - 1) * K,
      (i, j) => `edge[${Math.floor(i / K) + 1}, ${i % K}, ${j}] = ${exact(edges.at(i, j), 'float64')}   ${lattice.words[Math.floor(i / K)]} ${tags[i % K]} → ${lattice.words[Math.floor(i / K) + 1]} ${tags[j]}`)) : null];
}

function linkageOf(linkage) {
  const distances = arrayOf(linkage.distances), count = linkage.names.length, {to_others, from_own, both} = linkage.pulls;
  const most = Math.max(...to_others, ...from_own, ...both), language = i => i < linkage.border ? 'source' : 'target';
  let largest = 0;
  for (const value of distances.values) largest = Math.max(largest, value);
  const says = (i, j) => `d(${linkage.names[i]}, ${linkage.names[j]}) = ${exact(distances.at(i, j), 'float64')}   ${language(i)}, ${language(j)}`;
  const bar = value => make('td', {class: 'change-cell'}, short(value), change(value / most));
  return [make('h3', {}, 'Distances and pulls'),
    make('p', {class: 'note'}, `The first ${linkage.border} points are of the source language, the others of the target language. An update pulls a point `
      + 'towards the other language and pushes it away from its own; the gradient is the difference of the two.'),
    heatMap({rows: count, columns: count, at: (i, j) => distances.at(i, j), says, limit: largest, label: 'distances', border: linkage.border,
             cell: count > 60 ? 8 : 13, ...(count > 60 ? {} : {names: linkage.names, columnNames: linkage.names})}),
    cutNote(count, linkage.of, 'points'),
    make('div', {class: 'scroll text2 points', tabindex: 0, role: 'region', 'aria-label': 'pull on each point'}, make('table', {},
      make('thead', {}, make('tr', {}, ['point', 'language', 'towards the other', 'away from its own', 'gradient'].map(text => make('th', {}, text)))),
      make('tbody', {}, linkage.names.map((name, i) => make('tr', {}, make('td', {}, name), make('td', {}, language(i)), bar(to_others[i]), bar(from_own[i]), bar(both[i]))))))];
}

// A bar as long as a share of the largest.
function change(share) {
  const element = make('span', {class: 'change', 'aria-hidden': 'true'});
  element.style.width = `${(4.5 * share).toFixed(2)}rem`;
  return element;
}
