"""minixl evaluate: score a model folder on labelled files; compare languages in its hidden states on unlabelled files."""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.completion import complete_language_file
from minixl.cli.options import (bar, device_option, encoding_option, label_column_option, named_options, scheme_option,
                                text_column_option, threads_option, verbosity_options, with_options)
from minixl.cli.terminal import to_stderr, warn
from minixl.errors import DETAILS

if TYPE_CHECKING:
    from minixl.data.corpus import Corpus
    from minixl.data.encoding import Encoded, PieceTokenizer
    from minixl.data.translations import LanguagePair, PairedTexts
    from minixl.evaluation.mistakes import Mistake
    from minixl.models.bert import Bert
    from minixl.prediction import Predictor

ERRORS = 20                            # mistakes of a language that --errors lists
PAIRED, PROBED = "XX-YY=FILE[,FILE]", "XX-YY=FILE[,FILE[,TEST,TEST]]"


def _renamed(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        raise click.UsageError("--parallel is now called --translations.")


class _Count(click.ParamType):
    """A number from 1; the message for anything else explains that a file after --errors is read as its number."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if str(value).isdecimal() and int(value):
            return int(value)
        self.fail(f"expected the number of mistakes to list per language, found {value!r}; write --errors={ERRORS}, or put "
                  "--errors last", param, ctx)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, metavar="[LANGUAGE=FILE]...", shell_complete=complete_language_file)
@click.option("--translations", multiple=True, metavar=PAIRED,
              help="Compare translations: one file with lines `source TAB target`, or two files with the same number of texts.")
@click.option("--parallel", multiple=True, hidden=True, expose_value=False, callback=_renamed)
@click.option("--probe", multiple=True, metavar=PROBED,
              help="Train new language discriminators on the frozen encoder with the first two files, and score them on the "
              "other two (AdvPicker's protocol); without those, train on half of the texts and score on the rest. The texts "
              "need not be translations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--errors", type=_Count(), is_flag=False, flag_value=ERRORS, metavar="[=N]",
              help=f"List the first N inputs of each language that the model got wrong, {ERRORS} if N is left out.")
@click.option("--strict", is_flag=True, help="Require literal IOB2 entities; the default reads them as conlleval does.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Read only N inputs of each language; 0: all.")
@click.option("--sample", type=click.Choice(["first", "random"]), default="first", show_default=True,
              help="Which N --limit keeps: the first, or a random draw (always the same).")
@click.option("--labels", default="", metavar="OLD=NEW,...", help="Rename labels of the files: entity types (MISC=O), tags or "
              "document labels (spam= leaves them out).")
@text_column_option
@label_column_option
@encoding_option
@scheme_option
@device_option
@threads_option
@verbosity_options
def evaluate(model: Path, files: tuple[str, ...], translations: tuple[str, ...], probe: tuple[str, ...], as_json: bool,
             errors: int | None, strict: bool, limit: int, sample: str, labels: str, text_column: str, label_column: str,
             encoding: str, scheme: str, device: str) -> None:
    """Score the model folder MODEL on labelled files; several files of a language are scored together.

    With --translations or --probe you may omit these; MODEL may then also be the folder of an untrained encoder.
    Texts for these two options may have any form: raw text, labelled texts, or columns (tags are not read).
    """
    from minixl.cli.evaluation_tables import (class_table, confusion_tables, error_list, probe_table, score_table,
                                              translation_table)
    from minixl.data.header import Columns
    from minixl.data.translations import parse_pairs, read_pair, read_probed
    from minixl.evaluation.probe import LEAST
    from minixl.prediction import Predictor

    if not (files or translations or probe):
        raise click.UsageError("Nothing to evaluate: give LANGUAGE=FILE, --translations or --probe.")
    values = {"data.test_limit": limit, "data.sample": sample, "data.labels": labels, "data.text_column": text_column,
              "data.label_column": label_column, "data.encoding": encoding, "data.scheme": scheme}
    pairs, probed = parse_pairs(translations, "--translations"), parse_pairs(probe, "--probe")
    encoder_only = not files and (model / "config.json").is_file() and not (model / "minixl.json").is_file()
    if "=" in str(model) and not model.exists():
        raise click.UsageError(f"{model}: expected the model folder first, then LANGUAGE=FILE.")
    predictor = None if encoder_only else Predictor.load(model, device=device)
    columns = Columns(text_column, label_column)
    with named_options():
        corpora = _corpora(predictor, files, values) if predictor and files else []
        translated = [(pair, read_pair(pair, encoding=encoding, limit=limit, sample=sample, columns=columns)) for pair in pairs]
        texts = [(pair, read_probed(pair, encoding=encoding, limit=limit, sample=sample, least=LEAST, columns=columns))
                 for pair in probed]
    if strict and not (predictor and corpora and predictor.info.task == "ner"):
        warn("--strict has no effect: it applies to the entities of labelled files")
    if errors and not corpora:
        warn("--errors has no effect: it lists the mistakes in labelled files")
    encoder = _encoder(model, predictor, device) if pairs or probed else None
    results: dict[str, Any] = {}
    tables: list[tuple[list[str], str]] = []
    if predictor and corpora:
        task = predictor.info.task
        scores, mistakes = _scores(predictor, corpora, strict)
        results |= {language: row | ({"errors": mistakes[language][:errors]} if errors else {}) for language, row in scores.items()}
        tables.append(score_table(scores, task, strict, predictor.info.sources))
        if task != "ner":
            tables.append(class_table(scores, task))
        if task == "classification":
            tables += confusion_tables(scores)
        if errors:
            tables += [error_list(corpus, mistakes[corpus.language], errors) for corpus in corpora]
    if encoder and translated:
        results["translations"] = _translation_scores(*encoder, translated)
        tables.append(translation_table(results["translations"]))
    if encoder and texts:
        results["probe"] = _probes(*encoder, texts)
        tables.append(probe_table(results["probe"]))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        _show(tables)


def _corpora(predictor: Predictor, files: Sequence[str], values: Mapping[str, Any]) -> list[Corpus]:
    """Read the labelled files and print warnings.  values: of the settings for data.

    Raises UserError for a label that the model does not have.
    """
    from minixl.data.corpus import check_labels
    from minixl.data.counts import count_line
    from minixl.data.inputs import check_given_once, parse_language_file
    from minixl.data.label_map import LabelMap
    from minixl.data.reading import SECTION, limited, read_labelled
    from minixl.data.sanity import one_label_warning
    from minixl.errors import UserError
    from minixl.settings import Schema

    named = [parse_language_file(pair, "evaluate") for pair in files]
    check_given_once("evaluate ", named)
    settings = Schema([SECTION]).settings({"task": predictor.info.task, **values})
    label_map = LabelMap(predictor.info.task, settings["data.labels"])
    try:
        complete = read_labelled(settings, named, label_map)
    except UserError as error:                                         # the task is the model's, not the user's choice
        message, *task_hint = re.split("(?:;|, or) use the task", str(error))
        raise UserError(f"{message}; this model is for the task {predictor.info.task}" if task_hint else message) from None
    corpora = [limited(corpus, settings, "data.test_limit") for corpus in complete]
    for corpus, whole in zip(corpora, complete, strict=True):
        DETAILS.debug("%s=%s: %s", corpus.language, corpus.names, count_line(corpus))
        check_labels(corpus, predictor.info.file_labels())
        if warning := one_label_warning(corpus.language, corpus, whole, "data.test_limit", settings["data.sample"]):
            to_stderr(with_options(warning))
    for message in label_map.unused():
        to_stderr(with_options(message))
    return corpora


def _scores(predictor: Predictor, corpora: Sequence[Corpus], strict: bool) -> tuple[dict[str, Any], dict[str, list[Mistake]]]:
    """Return the task's scores and the model's mistakes, by language."""
    from minixl.data.corpus import encode_corpus
    from minixl.evaluation.calibration import calibration_error
    from minixl.evaluation.mistakes import wrong_documents, wrong_sentences
    from minixl.evaluation.scores import score
    from minixl.prediction import SPLIT_IT, predict_labels

    info, results, mistakes = predictor.info, {}, {}
    for corpus in corpora:
        encoded = encode_corpus(corpus, predictor.tokenizer, info.labels, max_length=info.max_length, on_long=info.on_long,
                                fix=SPLIT_IT)
        to_stderr(encoded.report(corpus.language))
        with bar(encoded.pieces, f"score {corpus.language}") as progress:
            if info.task == "classification":
                predicted, confidences = _classified(predictor, encoded, progress)
                wrong = wrong_documents(corpus.documents(), predicted, confidences)
            else:
                model = predictor.model.for_language(corpus.language)
                predicted = predict_labels(model, encoded, info.scheme, constrained=info.constrained, progress=progress)
                wrong = wrong_sentences(info.task, corpus.sentences(), predicted, strict=strict)
        results[corpus.language] = score(info.task, corpus.gold(), predicted, strict=strict)
        if info.task == "classification":
            correct = [gold == label for gold, label in zip(corpus.gold(), predicted, strict=True)]
            results[corpus.language]["calibration_error"] = calibration_error(confidences, correct)
        mistakes[corpus.language] = wrong
    return results, mistakes


def _classified(predictor: Predictor, encoded: Encoded, progress: Callable[[int], None] | None) -> tuple[list[Any], list[float]]:
    """Return the label of every document and its probability."""
    import numpy as np

    from minixl.prediction import source_scores

    scores = source_scores(predictor.model, encoded, progress=progress)
    best = [int(values.argmax()) for values in scores]
    return ([predictor.model.labels[i] for i in best],
            [float(1 / np.exp(values - values[i]).sum()) for values, i in zip(scores, best, strict=True)])


def _encoder(folder: Path, predictor: Predictor | None, device: str) -> tuple[Bert, PieceTokenizer]:
    """Load the encoder of a model folder or of an encoder folder."""
    from minixl.backend import array_module_for
    from minixl.errors import UserError
    from minixl.evaluation.translations import load_encoder

    if predictor is None:
        return load_encoder(folder, xp=array_module_for(device))
    if predictor.model.family != "transformer":
        raise UserError(f"{folder}: --translations and --probe compare the hidden states of a transformer: expected one, found a "
                        f"{predictor.model.family} model; omit these options")
    model: Any = predictor.model
    return model.bert, predictor.tokenizer


def _encoded(encoder: Bert, tokenizer: PieceTokenizer, pair: LanguagePair, texts: PairedTexts,
             part: str = "") -> tuple[Encoded, Encoded]:
    """Encode the texts of both languages and print a report on each.  part: a word for the report, such as test."""
    from minixl.evaluation.translations import encode_texts

    if texts.left_out:
        warn(f"{pair.name}{part}: skipped {texts.left_out} pair{'s' * (texts.left_out != 1)} with an empty side")
    sides = encode_texts(texts.source, tokenizer, encoder), encode_texts(texts.target, tokenizer, encoder)
    for language, side in zip((pair.source, pair.target), sides, strict=True):
        to_stderr(side.report(f"{pair.name}{part} {language}"))
    return sides


def _translation_scores(encoder: Bert, tokenizer: PieceTokenizer, translated: Sequence[tuple[LanguagePair, PairedTexts]]
                        ) -> dict[str, Any]:
    from minixl.evaluation.translations import sentence_vectors, translation_scores

    results = {}
    for pair, texts in translated:
        sides = _encoded(encoder, tokenizer, pair, texts)
        with bar(sum(side.pieces for side in sides), f"encode {pair.name}") as progress:
            source, target = (sentence_vectors(encoder, side, progress=progress) for side in sides)
        results[pair.name] = translation_scores(source, target)._asdict()
    return results


def _probes(encoder: Bert, tokenizer: PieceTokenizer, probed: Sequence[tuple[LanguagePair, list[PairedTexts]]]
            ) -> dict[str, Any]:
    """Return the figures by pair and level, on the test files, or on half of the texts if there are none."""
    from minixl.evaluation.probe import LEVELS, halves, probe_states, sample, states_of

    results = {}
    for pair, texts in probed:
        parts = [sample(*_encoded(encoder, tokenizer, pair, part, " test" * i), equal=i == 0) for i, part in enumerate(texts)]
        with bar(sum(side.pieces for part in parts for side in part), f"encode {pair.name}") as progress:
            states = [(states_of(encoder, source, progress=progress), states_of(encoder, target, progress=progress))
                      for source, target in parts]
        training, test = states if len(states) == 2 else halves(*states[0])
        results[pair.name] = {level: probe_states(training, test, level=level)._asdict() for level in LEVELS}
    return results


def _show(tables: Sequence[tuple[list[str], str]]) -> None:
    """Print the tables with an empty line between them, and their notes on stderr."""
    for i, (lines, note) in enumerate(tables):
        click.echo("\n" * (i > 0) + "\n".join(lines))
        if note:
            to_stderr(note)
