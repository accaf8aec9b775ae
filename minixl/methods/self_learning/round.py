"""One round: supervised training on the labelled source text and the selected items, by a fresh model or from the last round's."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minixl.data.encoding import Encoded, Example
from minixl.data.examples import TAGGING
from minixl.methods.finetune import Supervised
from minixl.methods.self_learning.selection import Selection
from minixl.run.method import LABELLED, Method, Term
from minixl.run.prepared import Prepared, Texts
from minixl.settings import Settings
from minixl.weights.folder import load_parameters

NAME = "self-learning"


class Round(Method):
    """A stage; its text is that of fine-tuning and the items that were selected."""

    name = NAME
    objective = Supervised
    needs_unlabelled = True

    def __init__(self, terms: Sequence[type[Term]], selections: Mapping[str, Selection], start: Path | None) -> None:
        """selections: by language; start: the model folder to continue from, or None for a fresh model."""
        super().__init__(terms)
        self.selections, self.start = selections, start

    def own_objective(self, model: Any, *arguments: Any) -> Supervised:
        if self.start:
            load_parameters(self.start, {parameter.name: parameter.value for parameter in model.store})
        return Supervised(model, *arguments)

    def texts(self, settings: Settings, prepared: Prepared, seed: int) -> Texts:
        texts = super().texts(settings, prepared, seed)
        selected = [example for language, selection in self.selections.items()
                    for example in selected_examples(prepared.unlabelled_targets[language].encoded, selection,
                                                     tagger=settings["task"] in TAGGING)]
        return texts | {LABELLED: texts[LABELLED] + selected}


def selected_examples(encoded: Encoded, selection: Selection, *, tagger: bool) -> list[Example]:
    """Return the selected items as examples with their labels; a long one has an example for each window."""
    examples = []
    for example in encoded.examples:
        if selection.selected[example.source]:
            first = selection.starts[example.source] + (example.first_word if tagger else 0)
            examples.append(replace(example, labels=selection.labels[first:first + (len(example.rows) if tagger else 1)]))
    return examples
