"""The inputs of `minixl train` without arguments: a real encoder and the sample corpus, both kept in the user's cache."""
from __future__ import annotations

from collections.abc import Callable

from minixl import __version__
from minixl.data.inputs import Inputs
from minixl.data.sample import write_sample
from minixl.files import replaced_folder
from minixl.weights.e5 import cache_folder, fetch_e5_small

SOURCE, TARGETS = "en", ("es", "de", "nl")
TRAIN_SENTENCES = 1600      # with fewer, places and everyday nouns of news are tagged wrongly; with more, training takes longer


def quickstart_inputs(report: Callable[[str], None]) -> Inputs:
    """Unpack the encoder and write the sample corpus unless they are in the cache; report their paths."""
    encoder = fetch_e5_small()
    corpus = cache_folder() / f"quickstart-{__version__}"              # other versions may write other sentences
    if not corpus.is_dir():
        with replaced_folder(corpus) as folder:
            write_sample(folder, sizes={"train": TRAIN_SENTENCES})
    report(f"encoder: {encoder}\nsample corpus: {corpus / 'ner'}")
    files = lambda part, languages: [(language, corpus / "ner" / language / f"{part}.txt") for language in languages]
    return Inputs(encoder, source=files("train", [SOURCE]), dev=files("dev", [SOURCE]),
                  test=files("test", [SOURCE, *TARGETS]))
