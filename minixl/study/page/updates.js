// What is shown of an update: the updates of the step side by side, what each moved, and a perturbation.
const UPDATES = EVENTS.map((event, number) => ({...event, number})).filter(event => event.kind === 'update');

function showUpdate(number) {
  const own = EVENTS[number];
  showPanel(
    make('div', {class: 'head'}, make('div', {class: 'pass'}, 'update'), make('h2', {}, `Update by the loss ${titleOf(own.loss)}`),
         make('p', {}, own.moved_others.length ? `Parameters outside its subset moved: ${own.moved_others.join(', ')}` :
           `It moves ${own.parameters.length} of ${DATA.parameters} parameters; none of the others moved by a bit.`)),
    UPDATES.length > 1 ? make('h3', {}, `The ${UPDATES.length} updates of the step`) : null, cards(number), ...weightsOf(own), ...perturbationOf(),
    make('h3', {}, UPDATES.length > 1 ? 'What each update moved' : 'What it moved'), blocks(), make('h3', {}, 'Parameters, most changed first'), parameters(own));
}

const titleOf = loss => DATA.titles[loss] || loss;

function cards(number) {
  return make('div', {class: 'cards'}, UPDATES.map(update => {
    const facts = [['loss', update.value], ['learning rate', update.lr], ['norm of the gradient', update.norm], ['norm of the change', update.change],
                   ['parameters', update.parameters.length], ['others that moved', update.moved_others.length]];
    if (update.loss === 'discriminator' && DATA.discriminator) facts.push(['accuracy before', DATA.discriminator[0]], ['accuracy after', DATA.discriminator[1]]);
    else if (update.accuracy !== null) facts.push(['accuracy of the discriminator', update.accuracy]);
    return make('section', {class: `card${update.number === number ? ' current' : ''}`, 'data-loss': update.loss}, make('h3', {}, titleOf(update.loss)),
      make('dl', {}, facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, short(value))])),
      make('p', {}, (DATA.updateChecks[update.loss] || []).map(verdictOf)));
  }));
}

function weightsOf(own) {
  if (!own.weights.length) return [];
  return [make('h3', {}, 'Chosen weights'), ...own.weights.map(weight => make('dl', {class: 'facts'},
    [[`${weight.name}[${weight.place.join(', ')}]`, `${exact(weight.before)} → ${exact(weight.after)}`], ['gradient', exact(weight.gradient)],
     ...Object.entries(weight.moments).map(([key, [before, after]]) => [key, `${exact(before)} → ${exact(after)}`])]
      .flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])))];
}

function blocks() {
  const {names, changes} = DATA.blocks, most = Math.max(...changes.flat().map(value => value || 0));
  return make('div', {class: 'scroll text1', tabindex: 0, role: 'region', 'aria-label': 'norm of the change of each part of the model'}, make('table', {},
    make('caption', {}, 'Norm of the change of each part of the model. A dash: not in the subset of this update, and it did not move.'),
    make('thead', {}, make('tr', {}, make('th', {}, 'part of the model'), UPDATES.map(update => make('th', {}, titleOf(update.loss))))),
    make('tbody', {}, names.map((name, i) => make('tr', {}, make('td', {}, name), changes[i].map(value => value === null ? make('td', {class: 'still'}, '–')
      : make('td', {class: 'change-cell'}, short(value), change(value / most))))))));
}

function parameters(own) {
  return make('div', {class: 'scroll text1', tabindex: 0, role: 'region', 'aria-label': 'parameters', style: 'max-height:28rem;overflow-y:auto'}, make('table', {},
    make('thead', {}, make('tr', {}, ['parameter', 'norm of the gradient', 'norm of the change'].map(text => make('th', {}, text)))),
    make('tbody', {}, own.parameters.map(([name, gradient, changed]) => make('tr', {}, make('td', {}, name), make('td', {}, short(gradient)), make('td', {}, short(changed)))))));
}

function perturbationOf() {
  const found = DATA.perturbation;
  if (!found) return [];
  return [make('h3', {}, 'Perturbation'),
    make('p', {class: 'note'}, found.adversarial ? 'The embeddings x move by r in the direction of their gradient g, where the loss rises fastest.'
      : 'The embeddings x move by r in a random direction.'),
    make('div', {class: 'two'}, figureOf(found.g, 0), figureOf(found.r, 0)), lossAlong(found)];
}

// The loss along r, and what the gradient predicts for small steps.
function lossAlong({places, losses, slope, adversarial}) {
  const zero = losses[places.indexOf(0)], [low, high] = [Math.min(...losses), Math.max(...losses)], pad = (high - low || 1) * .08;
  const [width, height, left, bottom] = [560, 300, 72, 44], x = t => left + (t - places[0]) / (places[places.length - 1] - places[0]) * (width - left - 40);
  const y = value => 16 + (high + pad - value) / (high - low + 2 * pad || 1) * (height - bottom - 16);
  const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `loss ${short(losses[0])} at −r, ${short(zero)} at 0, `
    + `${short(losses[places.indexOf(1)])} at r, ${short(losses[losses.length - 1])} at 2r`});
  const text = (at, content, attributes = {}) => {
    const element = svg('text', {x: at[0], y: at[1], 'font-size': 13, fill: 'var(--muted)', ...attributes});
    element.textContent = content;
    picture.append(element);
  };
  for (const t of [-1, 0, 1, 2]) {
    picture.append(svg('path', {d: `M${x(t)},16V${height - bottom}`, stroke: 'var(--grid)'}));
    text([x(t), height - bottom + 20], t === 0 ? 'x' : t === 1 ? 'x + r' : t === 2 ? 'x + 2r' : 'x − r', {'text-anchor': 'middle'});
  }
  for (const value of [low, high]) text([left - 8, y(value) + 4], short(value), {'text-anchor': 'end'});
  const line = (points, attributes) => picture.append(svg('path', {d: points.map(([t, value], i) => `${i ? 'L' : 'M'}${x(t)},${y(value)}`).join(''), fill: 'none', ...attributes}));
  const clipped = places.map(t => [t, zero + t * slope]).filter(([, value]) => value >= low - pad && value <= high + pad);
  if (adversarial) line(clipped, {stroke: 'var(--muted)', 'stroke-width': 1.5, 'stroke-dasharray': '5 4'});
  line(places.map((t, i) => [t, losses[i]]), {stroke: 'var(--accent)', 'stroke-width': 2.5});
  for (const t of [0, 1]) picture.append(svg('circle', {cx: x(t), cy: y(losses[places.indexOf(t)]), r: 4, fill: 'var(--accent)'}));
  return make('figure', {class: 'line'}, picture, make('p', {class: 'note'}, `Loss along r, with the dropout masks of the clean pass: ${short(zero)} at x, `
    + `${short(losses[places.indexOf(1)])} at x + r.` + (adversarial ? ` Dashed: the line with the slope ⟨g, r⟩ = ${short(slope)}.` : '')));
}
