"""The character map: `tokenizers` reads back every entry of the original table."""
import random
import unicodedata

import pytest
from tokenizers.normalizers import Precompiled

from minixl.weights.charsmap import compositions, precompiled_charsmap


def random_table(seed, entries):
    draw = random.Random(seed)
    letters = [chr(code) for code in (*range(1, 0x800), *range(0x3000, 0xD800, 7), *range(0x1F000, 0x1F600))]
    return {key: "".join(draw.choices(letters, k=draw.randrange(4))) for key in draw.sample(letters, entries)}


@pytest.mark.parametrize("entries", [1, 2, 50, 5000])
def test_every_character_of_the_table_and_no_other(entries):
    table = random_table(entries, entries)
    normaliser = Precompiled(precompiled_charsmap(table))
    for code in (*range(1, 0xD800, 3), *range(0x1F000, 0x1F600)):
        assert normaliser.normalize_str(chr(code)) == table.get(chr(code), chr(code)), hex(code)
    for character, replacement in table.items():
        assert normaliser.normalize_str(character) == replacement, hex(ord(character))


def test_keys_of_several_characters():
    normaliser = Precompiled(precompiled_charsmap({"e\u0301": "é", "ﬁ": "fi", "\t": " ", "\u200b": ""}))
    assert normaliser.normalize_str("cafe\u0301 ﬁn\tx\u200by e") == "café fin x" + "y e"


def test_compositions_compose_as_unicode_does():
    table = compositions()
    normaliser = Precompiled(precompiled_charsmap(table))
    for character in "éÄñçőάй":
        decomposed = unicodedata.normalize("NFD", character)
        assert decomposed != character and normaliser.normalize_str(f"x{decomposed}y") == f"x{character}y"
    # The rule of `tokenizers` for graphemes of under 6 bytes, which the published models live with as well.
    assert normaliser.normalize_str("u\u0308\u0304") == "ü"
    assert normaliser.normalize_str("Ê\u0323") == "Ê\u0323"            # marks in another order: not in the table
    assert all(unicodedata.normalize("NFKC", key) == value for key, value in table.items())
