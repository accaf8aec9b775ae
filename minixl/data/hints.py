"""Warnings about files that look misread: one line with the suspicion and the fix, or "" if nothing looks odd."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from minixl.data.examples import TAGGING, Document
from minixl.data.header import find_header
from minixl.data.layout import looks_like_columns
from minixl.data.lines import file_format
from minixl.data.schemes import parse_tag
from minixl.data.words import UNSPACED, split_words

MIN_LINES = 20                 # fewer lines prove nothing
ONE_WORD_SHARE = 0.9           # of the lines must be one word
TEXTS_PER_LABEL = 5            # a column of labels has more lines than this for each label
MIN_SPACED_COLUMNS = 5         # lines without tabs; fewer may look like columns by chance, as "Plan B" does


def one_column_hint(texts: Sequence[str]) -> str:
    """A hint where raw text looks like one column of a labelled file."""
    if mostly_one_word(texts):
        return ("nearly every line is a single word; if this is one column of a labelled file, give the whole file (its labels "
                "are not read)")
    return ""


def mostly_one_word(lines: Sequence[str]) -> bool:
    """Whether nearly every line is one word; never for scripts without spaces, where a line may be a whole sentence."""
    if len(lines) < MIN_LINES:
        return False
    single = [line for line in lines if len(line.split()) == 1]
    if len(single) <= ONE_WORD_SHARE * len(lines):
        return False                                                   # nearly all files: split_words takes longer
    words = sum(len(split_words(line)) == 1 and not UNSPACED.search(line) for line in single)
    return words > ONE_WORD_SHARE * len(lines)


def swapped_columns_hint(documents: Sequence[Document]) -> str:
    """A hint where there are about as many labels as texts, as when the text comes before the label."""
    labels, texts = {document.label for document in documents}, {document.text for document in documents}
    if len(labels) > len(texts) or (len(documents) >= MIN_LINES and 2 * len(labels) > len(documents)):
        return f"{len(labels)} different labels on {len(documents)} texts; if the text comes before the label, swap the columns"
    return ""


def entity_tags_hint(sequences: Iterable[Sequence[str]]) -> str:
    """A hint where tags read as parts of speech look like entity tags of some scheme."""
    tags = {tag for tags in sequences for tag in tags}
    if any("-" in tag for tag in tags) and all(parse_tag(tag) for tag in tags):
        return "these look like entity tags; use the task ner"
    return ""


def looks_like_labels(column: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a column holds labels of the texts beside it: few different ones, one word each, next to longer texts."""
    return (len(column) >= MIN_LINES and TEXTS_PER_LABEL * len(set(column)) < len(column)
            and not any(len(label.split()) > 1 for label in column)
            and 2 * sum(len(split_words(text)) > 1 for text in texts) > len(texts))


def raw_text_hint(lines: Sequence[str], task: str, name: str) -> str:
    """A hint where lines that are read as one text each look like something else.  name: the file they come from."""
    rows = [line for line in lines if line.strip()]
    suspicion, fix = _other_layout(rows, task, name) if rows else ("", "")
    return f"{suspicion}, but each line is read as one text; {fix}" if suspicion else ""


def _other_layout(lines: Sequence[str], task: str, name: str) -> tuple[str, str]:
    """What these non-blank lines look like, and the fix; ("", "") where they look like texts."""
    texts_only = "give only the texts, one per line"
    use_columns = "use --format conll for columns" if task in TAGGING else texts_only
    cells = [line.split("\t") for line in lines]
    if (len(lines) >= MIN_SPACED_COLUMNS or "\t" in lines[0]) and looks_like_columns(task, lines):
        return "the lines look like columns of words and tags", use_columns
    if task in TAGGING and mostly_one_word(lines):
        return "nearly every line is a single word", use_columns
    if file_format(name) == ".jsonl" or (lines[0].startswith("{") and '"text"' in lines[0]):
        return "the lines look like JSON", texts_only
    headers = [header for mark in ",;" if (header := find_header(lines[0].split(mark))) and header[0] is not None]
    if headers or (file_format(name) == ".csv" and all("," in line for line in lines)):
        return "the lines look like comma-separated values", texts_only
    width = min(map(len, cells))
    if width < 2:
        return "", ""
    header = find_header(cells[0])
    text_at = header[1] if header else max(range(width), key=lambda i: sum(len(row[i].split()) for row in cells))
    skip_header = "tail -n +2 | " if header else ""
    return "the lines look like labels and texts", f"{texts_only}, for example with {skip_header}cut -f {text_at + 1}"
