"""Write small files in the E5S1 format, to test the reader without the package that has the real one."""
import struct

import numpy as np

PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), ("▁New", -2.0), ("▁York", -3.0),
          ("é", -4.0), ("a", -5.0), ("fi", -5.5), ("<mask>", 0.0)]
NORMALISER = {0x09: " ", 0xFB01: "fi", 0xA0: " ", 0x01: ""}
SIZES = (64, 2, 2, 96, 14, 8, 2)               # hidden, layers, heads, intermediate, vocabulary, positions, types


def shapes(sizes=SIZES):
    """Tensor name -> shape, in the file's names."""
    hidden, layers, _, inner, vocabulary, positions, types = sizes
    found = {"emb.word": (vocabulary, hidden), "emb.pos": (positions, hidden), "emb.type": (types, hidden),
             "emb.ln.w": (hidden,), "emb.ln.b": (hidden,)}
    for layer in range(layers):
        for name in ("q", "k", "v", "ao"):
            found |= {f"l{layer}.{name}.w": (hidden, hidden), f"l{layer}.{name}.b": (hidden,)}
        found |= {f"l{layer}.fi.w": (inner, hidden), f"l{layer}.fi.b": (inner,),
                  f"l{layer}.fo.w": (hidden, inner), f"l{layer}.fo.b": (hidden,)}
        for name in ("aln", "oln"):
            found |= {f"l{layer}.{name}.w": (hidden,), f"l{layer}.{name}.b": (hidden,)}
    return found


def quantised(rng, shape):
    """Random blocks and their values, computed weight by weight."""
    data, values = b"", []
    for _ in range(int(np.prod(shape)) // 32):
        scale, weights = np.float16(rng.uniform(0.01, 0.1)), rng.integers(0, 16, 32)
        data += scale.tobytes() + bytes(int(low | high << 4) for low, high in zip(weights[:16], weights[16:], strict=True))
        values += [(int(weight) - 8) * float(scale) for weight in weights]
    return data, np.array(values).reshape(shape)


def tensor_data(rng, sizes=SIZES):
    """Name -> (type, bytes, values)."""
    found = {}
    for name, shape in shapes(sizes).items():
        if name.endswith(".w") and "ln" not in name or name == "emb.word":
            found[name] = (1, *quantised(rng, shape))
        else:
            values = rng.normal(size=shape).astype("<f4")
            found[name] = (0, values.tobytes(), values)
    return found


def e5_bytes(tensors, *, magic=b"E5S1", version=1, sizes=SIZES, eps=1e-12, block=32, pieces=PIECES,
             specials=(0, 2, 1, 3), normaliser=NORMALISER, table_extra=b"", count=None, offsets=None):
    """The bytes of a file; each keyword introduces one fault."""
    texts = [piece.encode() if isinstance(piece, str) else piece for piece, _ in pieces]
    blob = b"".join(texts)
    offsets = np.cumsum([0, *map(len, texts)]) if offsets is None else offsets
    table = b"".join(struct.pack(f"<IB{len(text)}I", code, len(text), *map(ord, text))
                     for code, text in normaliser.items()) + table_extra
    start = magic + struct.pack("<I7ifi", version, *sizes, eps, block)
    start += struct.pack("<5iQ", len(pieces) if count is None else count, *specials, len(blob))
    start += np.asarray(offsets, "<u4").tobytes() + np.array([score for _, score in pieces], "<f4").tobytes() + blob
    start += struct.pack("<iI", len(normaliser), len(table)) + table + struct.pack("<i", len(tensors))
    position = len(start) + sum(2 + len(name.encode()) + 21 for name in tensors)
    listing, data = b"", b""
    for name, (kind, raw, values) in tensors.items():
        listing += struct.pack("<H", len(name.encode())) + name.encode()
        listing += struct.pack("<BIQQ", kind, values.size, position + len(data), len(raw))
        data += raw
    return start + listing + data
