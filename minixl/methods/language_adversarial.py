"""Train on labelled source text, and train the encoder to hide which language it reads.  Keung et al. 2019, algorithm 1.

    until converged:
        T   labelled source batch           loss of the task          moves encoder and head
        D   source batch, target batch      which language is it?     moves the discriminator
        G   source batch, target batch      the labels exchanged      moves the encoder

T is fine-tuning (finetune.py); D and G are the adversary (adversary.py), a term that can be added to any other method too.
adversary.level "sentence" is Keung et al. 2019.  "token" is the multilingual teacher of AdvPicker
(Chen et al. 2021, algorithm 1, lines 2-16), whose target batches mix all target languages.
Checked against PyTorch, whole iterations, in tests/methods/test_language_adversarial.py.
"""
from __future__ import annotations

from minixl.data.inputs import Inputs
from minixl.methods.finetune import Supervised
from minixl.run.method import Method
from minixl.run.prepared import Prepared
from minixl.settings import Settings


class LanguageAdversarial(Method):
    """Fine-tuning with the adversary as its term."""

    name = "language-adversarial"
    objective = Supervised
    family = "transformer"
    needs_unlabelled = True

    def resolve(self, settings: Settings) -> tuple[Settings, list[str]]:
        """Become fine-tuning without the adversary: the baseline of the paper's figure 2."""
        return settings.override(["method=finetune"]) if settings["adversary.level"] == "none" else settings, []

    def check_prepared(self, settings: Settings, inputs: Inputs, prepared: Prepared) -> list[str]:
        messages = super().check_prepared(settings, inputs, prepared)
        if settings["adversary.level"] == "sentence" and len(prepared.unlabelled_targets) > 1:
            messages.append("several target languages in one run: the paper (Keung et al. 2019) trains a model for each")
        return messages
