// The time line, and which event is shown.
const state = {number: -1};
const [slider, position, profile, parts] = ['slider', 'position', 'profile', 'parts'].map(name => document.getElementById(name));
const segments = [];                   // of the time line: part, phase, first and last event; losses of two languages take turns with
EVENTS.forEach((event, number) => {    // their backward passes, which is one part
  const last = segments[segments.length - 1], same = last && last.phase === event.phase;
  if (same && (last.part === event.part || (last.part === 'backward' && event.part === 'loss'))) last.end = number;
  else segments.push({part: event.part, phase: event.phase, first: number, end: number});
});

function select(number) {
  number = Math.max(0, Math.min(EVENTS.length - 1, number));
  if (number === state.number) return;
  state.number = number;
  const event = EVENTS[number];
  const name = event.kind === 'update' ? `update by ${titleOf(event.loss)}` : `${event.kind} ${event.site}, ${event.op}`;
  slider.value = number;
  position.textContent = `${number + 1} of ${EVENTS.length}: ${name}`;
  slider.setAttribute('aria-valuetext', position.textContent);
  parts.querySelectorAll('button').forEach((button, i) => {
    button.setAttribute('aria-current', String(segments[i].first <= number && number <= segments[i].end));
  });
  if (event.kind === 'update') showUpdate(number); else showCall(number);
  showBatch(event.batch);
  showTree(number);
  drawProfile();
  history.replaceState(null, '', `#${number + 1}`);
}

for (const segment of segments) {
  const phase = segment.phase, update = UPDATES[phase];
  const name = update ? titleOf(update.loss) : 'after the last update';
  if (parts.children.length <= phase)
    parts.append(make('div', {role: 'group', 'aria-label': name}, UPDATES.length > 1 ? make('b', {}, name) : null));
  const button = make('button', {type: 'button', title: `events ${segment.first + 1} to ${segment.end + 1}`}, segment.part);
  button.addEventListener('click', () => select(segment.first));
  parts.lastChild.append(button);
}

// A bar for the norm of what each event passes on, on a logarithmic scale: outputs forward, gradients backward.
function drawProfile() {
  const style = getComputedStyle(document.documentElement), density = window.devicePixelRatio || 1;
  const width = profile.clientWidth, height = profile.clientHeight;
  [profile.width, profile.height] = [width * density, height * density];
  const context = profile.getContext('2d'), step = width / EVENTS.length, sizes = {};
  context.scale(density, density);
  const kindOf = event => event.kind === 'backward' ? 'backward' : event.kind === 'update' ? 'update' : 'forward';
  for (const event of EVENTS) if (event.norm > 0) (sizes[kindOf(event)] ||= []).push(Math.log(event.norm));
  EVENTS.forEach((event, number) => {
    const all = sizes[kindOf(event)] || [], [low, high] = [Math.min(...all), Math.max(...all)];
    const share = event.norm > 0 ? .12 + .88 * (Math.log(event.norm) - low) / (high - low || 1) : .04;
    const name = number === state.number ? '--ink' : kindOf(event) === 'forward' ? '--muted' : '--accent';
    context.fillStyle = style.getPropertyValue(name);
    context.globalAlpha = number === state.number ? 1 : event.depth ? .25 : .55;
    context.fillRect(number * step, height * (1 - share), Math.max(step - (step > 3), .6), height * share);
  });
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue('--ink');
  context.fillRect((state.number + .5) * step - .75, 0, 1.5, height);
}

// The batch of an event: words with their labels, or pieces.
const MOST_SENTENCES = 4, batch = document.getElementById('batch');
let shownBatch = -1;

function showBatch(number) {
  if (number < 0 || number === shownBatch) return;
  shownBatch = number;
  const text = DATA.batches[number], tags = text.words.length > 0 && text.gold.length > 0, count = text.starts.length - 1;
  const [names, starts] = text.words.length ? [text.words, text.word_starts] : [text.tokens, text.starts];
  const sentence = i => {
    const own = names.slice(starts[i], starts[i + 1]), gold = tags ? text.gold.slice(starts[i], starts[i + 1]) : [];
    const label = !tags && text.gold.length ? make('span', {class: 'word marked'}, make('small', {}, text.gold[i])) : null;
    const kind = j => `word${gold[j] && gold[j] !== 'O' ? ' marked' : ''}`;
    return make('div', {class: 'sentence'}, label, own.map((word, j) => make('span', {class: kind(j)}, word,
      gold.some(Boolean) ? make('small', {}, gold[j] || '–') : null)));
  };
  batch.replaceChildren(...Array.from({length: Math.min(count, MOST_SENTENCES)}, (_, i) => sentence(i)),
                        ...(count > MOST_SENTENCES ? [note(`and ${count - MOST_SENTENCES} more in this batch`)] : []));
}

slider.max = EVENTS.length - 1;
slider.addEventListener('input', () => select(Number(slider.value)));
document.getElementById('back').addEventListener('click', () => select(state.number - 1));
document.getElementById('next').addEventListener('click', () => select(state.number + 1));
profile.addEventListener('click', event => select(Math.floor(event.offsetX / profile.clientWidth * EVENTS.length)));
window.addEventListener('resize', drawProfile);
window.addEventListener('hashchange', () => select(Number(location.hash.slice(1)) - 1));
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  colours = null;
  document.querySelectorAll('canvas').forEach(canvas => canvas.draw && canvas.draw());
  drawProfile();
});
showBatch(0);
select(Number(location.hash.slice(1)) - 1 || 0);
