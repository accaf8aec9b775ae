// What is shown of an update: the updates of the step side by side, what each moved, and the step's perturbation.
const UPDATES = EVENTS.map((event, number) => ({...event, number})).filter(event => event.kind === 'update');
const titleOf = loss => DATA.titles[loss] || loss;

function showUpdate(number) {
  const own = EVENTS[number], several = UPDATES.length > 1;
  const others = own.moved_others.length ? `Parameters outside its subset moved: ${own.moved_others.join(', ')}`
    : `It moves ${own.parameters.length} of ${DATA.parameters} parameters; none of the others moved by a bit.`;
  showPanel(
    make('div', {class: 'head'}, make('div', {class: 'pass'}, 'update'), make('h2', {}, `Update by the loss ${titleOf(own.loss)}`),
         make('p', {}, others)),
    several ? title(`The ${UPDATES.length} updates of the step`) : null,
    make('div', {class: 'cards'}, UPDATES.map(update => card(update, number))),
    ...weightsOf(own), ...perturbationOf(),
    title(several ? 'What each update moved' : 'What it moved'), blocks(),
    title('Parameters, most changed first'),
    table('parameters', ['parameter', 'norm of the gradient', 'norm of the change'],
          own.parameters.map(([name, ...norms]) => [name, ...norms.map(short)]), {low: true}));
}

function card(update, number) {
  const lines = [['loss', update.value], ['learning rate', update.lr], ['norm of the gradient', update.norm],
                 ['norm of the change', update.change], ['parameters', update.parameters.length],
                 ['others that moved', update.moved_others.length]];
  if (update.loss === 'discriminator' && DATA.discriminator) {
    const [before, after] = DATA.discriminator;
    lines.push(['accuracy before', before], ['accuracy after', after]);
  } else if (update.accuracy !== null) lines.push(['accuracy of the discriminator', update.accuracy]);
  return make('section', {class: `card${update.number === number ? ' current' : ''}`, 'data-loss': update.loss},
              make('h3', {}, titleOf(update.loss)), facts(lines.map(([name, value]) => [name, short(value)])),
              make('p', {}, (DATA.updateChecks[update.loss] || []).map(verdictOf)));
}

function weightsOf(own) {
  if (!own.weights.length) return [];
  const change = (before, after) => `${exact(before)} → ${exact(after)}`;
  return [title('Chosen weights'), ...own.weights.map(weight => facts([
    [`${weight.name}[${weight.place.join(', ')}]`, change(weight.before, weight.after)], ['gradient', exact(weight.gradient)],
    ...Object.entries(weight.moments).map(([key, [before, after]]) => [key, change(before, after)])], {class: 'facts'}))];
}

function blocks() {
  const {names, changes} = DATA.blocks, largest = Math.max(...changes.flat().map(value => value || 0));
  const cell = value => value === null ? make('td', {class: 'still'}, '–') : barCell(value, largest);
  return table('norm of the change of each part of the model', ['part of the model', ...UPDATES.map(update => titleOf(update.loss))],
               names.map((name, i) => [name, ...changes[i].map(cell)]),
               {caption: 'Norm of the change of each part of the model. A dash: not in the subset of this update, and it did not move.'});
}
