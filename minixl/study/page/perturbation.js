// The perturbation of a step: g, r and the loss along r.
function perturbationOf() {
  const found = DATA.perturbation;
  if (!found) return [];
  return [
    title('Perturbation'),
    note(found.adversarial ? 'The embeddings x move by r in the direction of their gradient g, where the loss rises fastest.'
      : 'The embeddings x move by r in a random direction.'),
    make('div', {class: 'two'}, figureOf(found.g, 0), figureOf(found.r, 0)), lossAlong(found),
  ];
}

// The loss along r, and what the gradient predicts for small steps.
function lossAlong({places, losses, slope, adversarial}) {
  const at = t => losses[places.indexOf(t)], low = Math.min(...losses), high = Math.max(...losses), pad = (high - low || 1) * .08;
  const width = 560, height = 300, left = 72, right = 40, top = 16, bottom = 44;
  const x = t => left + (t + 1) / 3 * (width - left - right);                              // from −1 to 2
  const y = value => top + (high + pad - value) / (high - low + 2 * pad) * (height - bottom - top);
  const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label':
    `loss ${short(at(-1))} at x − r, ${short(at(0))} at x, ${short(at(1))} at x + r, ${short(at(2))} at x + 2r`});
  for (const [t, name] of [[-1, 'x − r'], [0, 'x'], [1, 'x + r'], [2, 'x + 2r']])
    picture.append(svg('path', {d: pathOf([[x(t), top], [x(t), height - bottom]]), stroke: 'var(--grid)'}),
                   textAt(x(t), height - bottom + 20, name, {'text-anchor': 'middle'}));
  for (const value of [low, high]) picture.append(textAt(left - 8, y(value) + 4, short(value), {'text-anchor': 'end'}));
  const line = (points, attributes) =>
    picture.append(svg('path', {d: pathOf(points.map(([t, value]) => [x(t), y(value)])), fill: 'none', ...attributes}));
  const predicted = places.map(t => [t, at(0) + t * slope]).filter(([, value]) => value >= low - pad && value <= high + pad);
  if (adversarial) line(predicted, {stroke: 'var(--muted)', 'stroke-width': 1.5, 'stroke-dasharray': '5 4'});
  line(places.map((t, i) => [t, losses[i]]), {stroke: 'var(--accent)', 'stroke-width': 2.5});
  for (const t of [0, 1]) picture.append(svg('circle', {cx: x(t), cy: y(at(t)), r: 4, fill: 'var(--accent)'}));
  return make('figure', {class: 'line'}, picture, note(
    `Loss along r, with the dropout masks of the clean pass: ${short(at(0))} at x, ${short(at(1))} at x + r.`
    + (adversarial ? ` Dashed: the line with the slope ⟨g, r⟩ = ${short(slope)}.` : '')));
}
