"""Words of raw text: punctuation, numbers, scripts with marks, and invisible characters."""
import sys
import unicodedata

import pytest

from minixl.data.words import marks, split_words


def words(text):
    return [text[a:b] for a, b in split_words(text)]


@pytest.mark.parametrize("text, expected", [
    ("Angela Merkel visited Seville.", ["Angela", "Merkel", "visited", "Seville", "."]),
    ("  L'état-major, 3.5 % (1,000,000)!", ["L'état-major", ",", "3.5", "%", "(", "1,000,000", ")", "!"]),
    ("don’t end-", ["don’t", "end", "-"]), ("我爱北京。", ["我", "爱", "北", "京", "。"]), ("U.S.", ["U", ".", "S", "."]),
    ("", []), (" \n\t", []), ("année 2020/21", ["année", "2020", "/", "21"])])
def test_words_of_a_text(text, expected):
    assert words(text) == expected
    assert "".join(words(text)) == "".join(text.split())


@pytest.mark.parametrize("text", [
    "मैं न्यूयॉर्क में हूँ", "நான் தமிழ் பேசுகிறேன்", "שָׁלוֹם עֲלֵיכֶם", "السَّلامُ عَلَيْكُمْ",
    "می\u200cخواهم بروم", "ශ්\u200dරී ලංකා",
    unicodedata.normalize("NFD", "Ésta visitó l'Été là-bas"), "Donau\u00addampf\u00adschiff"])
def test_marks_and_joiners_belong_to_their_word(text):
    """Hindi, Tamil, Hebrew and Arabic with vowel signs, Persian and Sinhala with joiners, decomposed accents, soft hyphens."""
    assert words(text) == text.split()


def test_marks_after_other_characters():
    """Emoji with their variants, keycaps and joiners, Chinese with a variation selector: no part of them is a word of its own."""
    assert words("❤\ufe0f 1\ufe0f\u20e3👩\u200d👧") == ["❤\ufe0f", "1\ufe0f\u20e3", "👩\u200d", "👧"]
    assert words("葛\U000e0100飾") == ["葛\U000e0100", "飾"]


@pytest.mark.parametrize("unseen", ["\u00ad", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2066", "\ufeff", "\x07",
                                    "\u0301"])
def test_what_nobody_sees_is_no_word(unseen):
    assert words(f"{unseen} Anna {unseen} vive{unseen} .") in (["Anna", "vive", "."], ["Anna", f"vive{unseen}", "."])
    assert words(f"{unseen}Anna{unseen}")[0].startswith("Anna")
    assert words(unseen) == []


def test_no_mark_is_missed():
    """Against a search of all Unicode planes."""
    expected = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    ranges = marks()
    assert len(ranges) % 3 == 0 and set(ranges[1::3]) == {"-"}
    assert [chr(code) for i in range(0, len(ranges), 3) for code in range(ord(ranges[i]), ord(ranges[i + 2]) + 1)] == expected
