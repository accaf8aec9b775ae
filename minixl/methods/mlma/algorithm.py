"""MLMA: taggers on a multilingual language model with aligned states.  Bao et al. 2019, section 2.

    1  a language model ← raw text of every language: next and previous words, and terms that align the languages
           repeat:  one update on a batch of every language                                    language_model.py
    2  representations ← for every word, a weighted sum of the fixed model's layers            models/layer_mixing.py
    3  a tagger and the weights of the sum ← labelled source text:                             models/mlma_tagger.py
           BiLSTM-CRF on representations and spelling
    4  tag every language with it

    OUT/language-model/    a run folder: the language model
    OUT/                   the tagger, a run like any other

The language model is trained once for all seeds (language_model.seed), or comes from an earlier run (--encoder).  Without labelled
text a run is step 1 alone, with the seed of the run.  docs/methods.md says how minixl fills the gaps in the paper.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.building.language_model import load_into
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods.finetune import Supervised
from minixl.methods.mlma.page import report_section
from minixl.methods.mlma.pretraining import LanguageModelStage
from minixl.methods.mlma.record import write_record
from minixl.methods.mlma.settings import NAME, SECTIONS, check_settings
from minixl.run.method import Job, Method, Scores
from minixl.run.prepared import Prepared
from minixl.settings import Settings
from minixl.training.objective import Loss
from minixl.training.progress import check_stop

FAMILY, STAGE = "mlma-tagger", "language-model"


class Mlma(Method):
    """The language model, then a tagger on its layers."""

    name = NAME
    sections = SECTIONS
    objective = Supervised
    reads_raw_text = labels_optional = finishes_model = shares_stages = True

    def run(self, job: Job) -> Scores:
        if not job.inputs.source:
            return job.train(LanguageModelStage()).scores
        model: Any = job.prepared.model
        folder = job.inputs.encoder
        if folder is None:
            folder = job.train(LanguageModelStage(model.lexicon), STAGE, seed=job.settings["language_model.seed"], shared=True,
                               title="language model").model
            check_stop(job.stop)
            load_into(model.language_model, folder)
        scores = job.train(self).scores
        write_record(job, folder)
        return scores

    def prepare(self, settings: Settings, inputs: Inputs, seed: int, xp: Any) -> Prepared | None:
        if inputs.source:
            return None
        self.check(settings, inputs)
        return LanguageModelStage().prepare(settings, inputs, seed, xp)

    def losses(self, settings: Settings) -> dict[str, Loss]:
        return LanguageModelStage.objective.LOSSES | super().losses(settings)

    def check(self, settings: Settings, inputs: Inputs) -> None:
        if settings["model.type"] != FAMILY:
            raise UserError(f"model.type: expected {FAMILY}, which method {NAME} trains, found {settings['model.type']}; use the "
                            "recipe mlma")
        super().check(settings, inputs)
        check_settings(settings)
        if inputs.encoder is not None:
            for role in ("unlabelled", "vectors"):
                if getattr(inputs, role):
                    raise UserError(f"--{role}: the language model of --encoder {inputs.encoder} is trained already, so this is "
                                    "not used; leave one of them out")
            if not inputs.source:
                raise UserError(f"--source: expected labelled text, on which to train a tagger with the language model "
                                f"{inputs.encoder}, for example --source en=train.txt")
            return
        for role in ("dev", "test") if not inputs.source else ():
            if getattr(inputs, role):
                raise UserError(f"--{role}: expected labelled source text too, on which to train a tagger, for example --source "
                                f"en=train.txt; for a language model alone leave --{role} out")
        read = {language for language, _ in inputs.unlabelled}
        for role in ("source", "dev", "test"):
            for language, path in getattr(inputs, role):
                if language not in read:
                    raise UserError(f"--{role} {language}={path}: expected a language of which the language model reads raw text, "
                                    f"found {', '.join(sorted(read)) or 'none'}; add --unlabelled {language}=FILE")

    def check_seeds(self, settings: Settings, inputs: Inputs, seeds: Sequence[int]) -> None:
        if not inputs.source and len(seeds) > 1:
            raise UserError(f"--seeds: expected one seed for a language model alone, found {len(seeds)}; give labelled text with "
                            "--source, for a tagger of each seed on one language model, or train others with --seed N")

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return report_section(folder)
