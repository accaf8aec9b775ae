// The data of the page, its arrays, and how numbers are written.
const DATA = JSON.parse(document.getElementById('data').textContent);
const EVENTS = DATA.events;

const TYPES = {f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array};

// An array of the page: what was kept of it, row by row.  Kept row i is row rowAt(i) of the array.
function arrayOf(number) {
  const packed = DATA.arrays[number];
  if (!packed.values) {
    const text = atob(packed.data), bytes = Uint8Array.from(text, character => character.charCodeAt(0));
    packed.values = new TYPES[packed.code](bytes.buffer);
    packed.data = null;
  }
  const [rows, columns] = packed.kept;
  return {
    ...packed, rows, columns,
    rowAt: i => Math.floor(i * packed.table[0] / rows), columnAt: j => Math.floor(j * packed.table[1] / columns),
    at: (i, j) => packed.values[i * columns + j],
    isCut: rows < packed.table[0] || columns < packed.table[1],
  };
}

// The shortest decimal number that is this value, as NumPy prints it.
function exact(value, type) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '−inf';
  let text = String(value);
  if (type === 'float32')
    for (let digits = 1; digits <= 9; digits++) {
      const shorter = Number(value.toPrecision(digits));
      if (Math.fround(shorter) === value) { text = String(shorter); break; }
    }
  return signed(Object.is(value, -0) ? '-0' : text);
}

// A number with three or four digits.
function short(value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'string') return signed(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return signed(value.toExponential(2).replace('e+', 'e'));
  return signed(String(Number(value.toPrecision(4))));
}

const signed = text => text.replace(/-/g, '−');
const times = shape => shape.length ? shape.join('×') : 'scalar';

const three = value => short(typeof value === 'number' ? Number(value.toPrecision(3)) : value);
