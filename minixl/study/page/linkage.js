// Average linkage: all distances, and the two parts of the pull on each point.
const MOST_NAMED = 60;                 // points whose names fit beside the distances

function linkageOf(linkage) {
  const distances = arrayOf(linkage.distances), {names, border} = linkage, {to_others, from_own, both} = linkage.pulls;
  const language = i => i < border ? 'source' : 'target', named = names.length <= MOST_NAMED;
  const largest = distances.values.reduce((most, value) => Math.max(most, value), 0);
  const strongest = Math.max(...to_others, ...from_own, ...both);
  const says = (i, j) => `d(${names[i]}, ${names[j]}) = ${exact(distances.at(i, j), 'float64')}   ${language(i)}, ${language(j)}`;
  return [
    title('Distances and pulls'),
    note(`The first ${border} points are of the source language, the others of the target language. An update pulls a point towards `
      + 'the other language and pushes it away from its own; the gradient is the difference of the two.'),
    heatMap({rows: names.length, columns: names.length, at: distances.at, says, limit: largest, label: 'distances', border,
             cell: named ? 13 : 8, names: named ? names : null, columnNames: named ? names : null}),
    cutNote(names.length, linkage.of, 'points'),
    table('pull on each point', ['point', 'language', 'towards the other', 'away from its own', 'gradient'],
          names.map((name, i) => [name, language(i), ...[to_others, from_own, both].map(part => barCell(part[i], strongest))]),
          {texts: 2, low: true}),
  ];
}
