"""The settings of `minixl align`: --set section.key=value, and the size for two CPU cores."""
from __future__ import annotations

from minixl.alignment import adversarial, refinement, similarity
from minixl.alignment.dictionaries import SHARED_WORDS
from minixl.alignment.picture import KINDS
from minixl.alignment.retrieval import ENGINES
from minixl.settings import Schema, Section, Setting

METHODS = ("adversarial", "identical", "dictionary", "similarity")
MOVES = ("auto", "source", "target")
EXPORTS = ("all", "top", "none")

SETTINGS = Section("word vectors", {
    "method": Setting("adversarial", "what the map is learnt from; --method sets it", choices=METHODS),
    "align.top": Setting(200_000, "most frequent words read per language, from which the map is learnt; 0 reads all", at_least=0),
    "align.normalize": Setting(["unit", "center", "unit"], "steps before the map: unit, center; --normalize sets them"),
    "align.map": Setting("auto", "which language is mapped into the space of the other; auto: the source, as in the papers, or "
                         "with several targets the targets", choices=MOVES),
    "align.restarts": Setting(1, "times the method starts anew, with the seeds that follow; the best criterion counts; --restarts "
                              "sets them", at_least=1),
    "align.criterion_words": Setting(10_000, "most frequent words of the criterion", at_least=1),
    "align.shared_words": Setting("all", "method identical: words spelt alike, or only numerals", choices=SHARED_WORDS),
    "align.search": Setting("minixl", "the search for neighbours; faiss, where installed, finds the same", choices=ENGINES,
                            compared=False),
    "align.picture": Setting("pca", "projection of the pictures in report.html", choices=KINDS, compared=False),
    "align.export": Setting("all", "words whose vectors are written: all of the files, those that were read (align.top), or none",
                            choices=EXPORTS, compared=False),
})
SCHEMA = Schema([SETTINGS, adversarial.SETTINGS, similarity.SETTINGS, refinement.SETTINGS])

# --size cpu: minutes of CPU time for 25,000 words, where the papers' sizes take hours (docs/results.md)
SIZES = {
    "paper": (),
    "cpu": ("adversarial.hidden=256", "adversarial.lr=1.0", "adversarial.orthogonal=0.05", "adversarial.epochs=2",
            "similarity.frequent=6000", "similarity.patience=10"),
}
