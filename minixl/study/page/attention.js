// The attention maps of all heads, small, and that of the chosen one with its pieces.
function attentionOf(map, heading) {
  const array = arrayOf(map.array), count = map.tokens.length, large = make('div', {});
  const maps = make('div', {class: 'maps', role: 'group', 'aria-label': 'heads'});
  const at = head => (i, j) => array.at(head * count + i, j);
  const says = head => (i, j) => `head ${head + 1}: probs[${map.places[i]}, ${map.places[j]}] = `
    + `${exact(at(head)(i, j), array.type)}   ${map.tokens[i]} → ${map.tokens[j]}`;
  const enlarge = head => {
    [...maps.children].forEach((button, i) => button.setAttribute('aria-pressed', String(i === head)));
    large.replaceChildren(heatMap({
      rows: count, columns: count, at: at(head), says: says(head), limit: 1, label: `head ${head + 1}`,
      names: map.tokens, columnNames: map.tokens, cell: count > 40 ? 9 : 15,
    }));
  };
  for (let head = 0; head < map.heads; head++) {
    const button = make('button', {type: 'button', 'aria-pressed': 'false', 'data-head': head},
                        thumbnail(count, at(head)), `head ${head + 1}`);
    button.addEventListener('click', () => enlarge(head));
    maps.append(button);
  }
  enlarge(0);
  return [title(heading), note('Each row is the piece that looks, each column the piece that it looks at; every row adds up to 1.'),
          maps, large, cutNote(count, map.of, 'pieces')];
}

function thumbnail(count, at) {
  const canvas = make('canvas', {width: count, height: count, 'aria-hidden': 'true'});
  canvas.draw = () => {
    const context = canvas.getContext('2d');
    for (let i = 0; i < count; i++)
      for (let j = 0; j < count; j++) {
        context.fillStyle = colour(at(i, j));
        context.fillRect(j, i, 1, 1);
      }
  };
  canvas.draw();
  return canvas;
}
