"""Warnings about files that look misread: one line with the suspicion and the fix, or "" if nothing looks odd."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from minixl.data.examples import TAGGING, Document
from minixl.data.header import find_header
from minixl.data.layout import looks_like_columns
from minixl.data.lines import BYTE_ORDER_MARK
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


def bare_lines(lines: Iterable[str]) -> list[str]:
    """Return lines as the hints read them: without their endings and the byte order mark."""
    return [(line if i else line.lstrip(BYTE_ORDER_MARK)).rstrip("\r\n") for i, line in enumerate(lines)]


def raw_text_hint(lines: Sequence[str], task: str, name: str) -> str:
    """A hint where lines that are read as one text each look like something else.  name: the file they come from."""
    rows = [line for line in lines if line.strip()]
    suspicion, fix = _other_layout(rows, task, name) if rows else ("", "")
    return f"{suspicion}, but each line is read as one text; {fix}" if suspicion else ""


def columns_hint(lines: Sequence[str]) -> str:
    """A hint where lines that are read as columns, the first being the word, look like texts: several words and no tag last."""
    rows = [line for line in lines if line.strip() and not line.startswith(("# ", "-DOCSTART-"))]
    widths = {len([cell for cell in line.split(" ") if cell]) for line in rows}
    if not rows or any("\t" in line for line in rows) or widths == {1} or looks_like_columns("classification", rows):
        return ""
    last = [line.strip(" ").rpartition(" ")[2] for line in rows]
    if len(widths) == 1 and TEXTS_PER_LABEL * len(set(last)) < len(last):                   # few different tags, in lower case
        return ""
    return "the lines look like texts, but the first word of each is read as the word and the others as its columns"


def _other_layout(lines: Sequence[str], task: str, name: str) -> tuple[str, str]:
    """What these non-blank lines look like, and the fix; ("", "") where they look like texts."""
    texts_only = "give only the texts, one per line"
    use_columns = "use --format conll for columns" if task in TAGGING else texts_only
    cells = [line.split("\t") for line in lines]
    if (len(lines) >= MIN_SPACED_COLUMNS or "\t" in lines[0]) and looks_like_columns(task, lines):
        return "the lines look like columns of words and tags", use_columns
    if task in TAGGING and mostly_one_word(lines):
        return "nearly every line is a single word", use_columns
    if lines[0].startswith("{") and lines[0].rstrip().endswith("}") and '":' in lines[0]:
        return "the lines look like JSON", "name the key of the text with --text-column"
    if any((header := find_header(lines[0].split(mark))) and header[0] is not None for mark in ",;"):
        return "the lines look like comma-separated values", "use --input csv"
    width = min(map(len, cells))
    if width < 2:
        return "", ""
    text_at = max(range(width), key=lambda i: sum(len(row[i].split()) for row in cells))
    return "the lines look like labels and texts", ("use --input tsv" if text_at == 1 and max(map(len, cells)) == 2 else
                                                    f"{texts_only}, for example with cut -f {text_at + 1}")
