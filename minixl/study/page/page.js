// The time line, and which event is shown.
const state = {number: -1};
const slider = document.getElementById('slider'), position = document.getElementById('position'), profile = document.getElementById('profile');
const segments = [];                   // of the time line: part, phase, first and last event
EVENTS.forEach((event, number) => {
  const last = segments[segments.length - 1];
  if (last && last.part === event.part && last.phase === event.phase) last.end = number;
  else segments.push({part: event.part, phase: event.phase, first: number, end: number});
});

function select(number) {
  number = Math.max(0, Math.min(EVENTS.length - 1, number));
  if (number === state.number) return;
  state.number = number;
  const event = EVENTS[number], name = event.kind === 'update' ? `update by ${titleOf(event.loss)}` : `${event.kind} ${event.site}, ${event.op}`;
  slider.value = number;
  position.textContent = `${number + 1} of ${EVENTS.length}: ${name}`;
  slider.setAttribute('aria-valuetext', position.textContent);
  [...parts.children].forEach((button, i) => {
    if (segments[i].first <= number && number <= segments[i].end) button.setAttribute('aria-current', 'true'); else button.removeAttribute('aria-current');
  });
  if (event.kind === 'update') showUpdate(number); else showCall(number);
  showTree(number);
  drawProfile();
  history.replaceState(null, '', `#${number + 1}`);
}

const parts = document.getElementById('parts');
for (const segment of segments) {
  const count = segment.end - segment.first + 1, several = UPDATES.length > 1 && segment.part === 'update';
  const button = make('button', {type: 'button', title: `${segment.part}, ${count} of ${EVENTS.length} events`}, several ? `update: ${titleOf(EVENTS[segment.first].loss)}` : segment.part);
  button.style.flexBasis = `${Math.sqrt(count) * 4}px`;
  button.style.flexGrow = Math.sqrt(count);
  button.addEventListener('click', () => select(segment.first));
  parts.append(button);
}

// A bar for the norm of what each event passes on, on a logarithmic scale: outputs forward, gradients backward.
function drawProfile() {
  const style = getComputedStyle(document.documentElement), density = window.devicePixelRatio || 1, width = profile.clientWidth, height = profile.clientHeight;
  [profile.width, profile.height] = [width * density, height * density];
  const context = profile.getContext('2d'), step = width / EVENTS.length, sizes = {};
  context.scale(density, density);
  const kindOf = event => event.kind === 'backward' ? 'backward' : event.kind === 'update' ? 'update' : 'forward';
  for (const event of EVENTS) if (event.norm > 0) (sizes[kindOf(event)] ||= []).push(Math.log(event.norm));
  EVENTS.forEach((event, number) => {
    const all = sizes[kindOf(event)] || [], [low, high] = [Math.min(...all), Math.max(...all)];
    const share = event.norm > 0 ? .12 + .88 * (Math.log(event.norm) - low) / (high - low || 1) : .04;
    context.fillStyle = style.getPropertyValue(number === state.number ? '--ink' : event.kind === 'backward' || event.kind === 'update' ? '--accent' : '--muted');
    context.globalAlpha = number === state.number ? 1 : event.depth ? .25 : .55;
    context.fillRect(number * step, height * (1 - share), Math.max(step - (step > 3), .6), height * share);
  });
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue('--ink');
  context.fillRect((state.number + .5) * step - .75, 0, 1.5, height);
}

function showBatch() {
  const text = DATA.batches[0], box = document.getElementById('batch');
  if (!text) return;
  const shown = text.words.length ? text.words : text.tokens, starts = text.starts;
  const words = shown.map((word, i) => make('span', {class: `word${text.words.length && !['O', '', undefined].includes(text.gold[i]) ? ' marked' : ''}`}, word,
    text.words.length && text.gold.length ? make('small', {}, text.gold[i] || '–') : null));
  const most = 80;
  box.append(make('div', {class: 'sentence'}, words.slice(0, most), words.length > most ? make('span', {class: 'note'}, `… ${words.length - most} more`) : null));
  if (!text.words.length && text.gold.length) box.append(make('p', {class: 'note'}, `labels: ${text.gold.join(', ')}; ${starts.length - 1} texts`));
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
showBatch();
select(Number(location.hash.slice(1)) - 1 || 0);
