"""minixl evaluate: score a model folder on labelled files; compare languages in its hidden states on unlabelled files."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.options import bar, device_option, encoding_option, named_options, scheme_option
from minixl.cli.terminal import to_stderr

if TYPE_CHECKING:
    from minixl.data.corpus import Corpus
    from minixl.data.encoding import Encoded, PieceTokenizer
    from minixl.data.translations import LanguagePair, PairedTexts
    from minixl.models.bert import Bert
    from minixl.prediction import Predictor

PAIRED, PROBED = "XX-YY=FILE[,FILE]", "XX-YY=FILE[,FILE[,TEST,TEST]]"


def _renamed(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        raise click.UsageError("--parallel is now called --translations.")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, metavar="[LANGUAGE=FILE]...")
@click.option("--translations", multiple=True, metavar=PAIRED,
              help="Compare translations: one file with lines `source TAB target`, or two files with the same number of texts.")
@click.option("--parallel", multiple=True, hidden=True, expose_value=False, callback=_renamed)
@click.option("--probe", multiple=True, metavar=PROBED,
              help="Train new language discriminators on the frozen encoder with the first two files, and score them on the "
              "other two (AdvPicker's protocol); without those, train on half of the texts and score on the rest. The texts "
              "need not be translations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--strict", is_flag=True, help="Require literal IOB2 entities; the default reads them as conlleval does.")
@click.option("--limit", type=click.IntRange(0), default=0, help="Read the first N inputs of each file; 0: all.")
@encoding_option
@scheme_option
@device_option
def evaluate(model: Path, files: tuple[str, ...], translations: tuple[str, ...], probe: tuple[str, ...], as_json: bool,
             strict: bool, limit: int, encoding: str, scheme: str, device: str) -> None:
    """Score the model folder MODEL on labelled files, one per language.

    With --translations or --probe you may omit these; MODEL may then also be the folder of an untrained encoder.
    Texts for these two options may have any form: raw text, labelled texts, or columns (tags are not read).
    """
    from minixl.data.translations import parse_pairs, read_pair, read_probed
    from minixl.evaluation.probe import LEAST
    from minixl.prediction import Predictor

    if not (files or translations or probe):
        raise click.UsageError("Nothing to evaluate: give LANGUAGE=FILE, --translations or --probe.")
    pairs, probed = parse_pairs(translations, "--translations"), parse_pairs(probe, "--probe")
    encoder_only = not files and (model / "config.json").is_file() and not (model / "minixl.json").is_file()
    predictor = None if encoder_only else Predictor.load(model, device=device)
    with named_options():
        corpora = _corpora(predictor, files, limit, encoding, scheme) if predictor else []
        translated = [(pair, read_pair(pair, encoding=encoding, limit=limit)) for pair in pairs]
        texts = [(pair, read_probed(pair, encoding=encoding, limit=limit, least=LEAST)) for pair in probed]
    if strict and not (predictor and corpora and predictor.info.task == "ner"):
        to_stderr("--strict has no effect: it applies to the entities of labelled files")
    encoder = _encoder(model, predictor, device) if pairs or probed else None
    results: dict[str, Any] = {}
    tables: list[tuple[list[str], str]] = []
    if predictor and corpora:
        scores = _scores(predictor, corpora, strict)
        results |= scores
        tables.append(_score_table(scores, predictor.info.task, strict))
    if encoder and translated:
        results["translations"] = _translation_scores(*encoder, translated)
        tables.append(_translation_table(results["translations"]))
    if encoder and texts:
        results["probe"] = _probes(*encoder, texts)
        tables.append(_probe_table(results["probe"]))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        _show(tables)


def _corpora(predictor: Predictor, files: Sequence[str], limit: int, encoding: str, scheme: str) -> list[Corpus]:
    """Read the labelled files.  Raises UserError for a label that the model does not have."""
    from minixl.data.corpus import check_labels, read_corpus
    from minixl.data.inputs import check_given_once, parse_language_file

    named = [parse_language_file(pair, "evaluate") for pair in files]
    check_given_once("evaluate ", [language for language, _ in named])
    corpora = [read_corpus(predictor.info.task, language, path, encoding=encoding, scheme=scheme).limited(limit)
               for language, path in named]
    for corpus in corpora:
        check_labels(corpus, predictor.info.file_labels())
    return corpora


def _scores(predictor: Predictor, corpora: Sequence[Corpus], strict: bool) -> dict[str, Any]:
    """Return the task's scores by language."""
    from minixl.data.corpus import encode_corpus
    from minixl.evaluation.scores import score
    from minixl.prediction import SPLIT_IT, predict_labels

    info, results = predictor.info, {}
    for corpus in corpora:
        encoded = encode_corpus(corpus, predictor.tokenizer, info.labels, max_length=info.max_length, on_long=info.on_long,
                                fix=SPLIT_IT)
        to_stderr(encoded.report(corpus.language))
        with bar(encoded.pieces, f"score {corpus.language}") as progress:
            predicted = predict_labels(predictor.model, encoded, info.scheme, constrained=info.constrained, progress=progress)
        results[corpus.language] = score(info.task, corpus.gold(), predicted, strict=strict)
    return results


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
        to_stderr(f"{pair.name}{part}: skipped {texts.left_out} pair{'s' * (texts.left_out != 1)} with an empty side")
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


def _score_table(scores: Mapping[str, Any], task: str, strict: bool) -> tuple[list[str], str]:
    """Return the lines of a table and a note on it."""
    if task != "ner":
        return [f"{'language':<12}{'accuracy':>10}{'items':>10}",
                *(f"{language:<12}{100 * row['accuracy']:>10.1f}{row['support']:>10}" for language, row in scores.items())], ""
    rows = [(language, kind, row) for language, result in scores.items()
            for kind, row in [("all", result), *result["by_type"].items()]]
    return [f"{'language':<12}{'type':<10}{'precision':>10}{'recall':>10}{'f1':>10}{'entities':>10}",
            *(f"{language:<12}{kind:<10}{100 * row['precision']:>10.1f}{100 * row['recall']:>10.1f}{100 * row['f1']:>10.1f}"
              f"{row['support']:>10}" for language, kind, row in rows)
            ], f"entities matched {'strictly, as IOB2' if strict else 'leniently, as conlleval does'}"


def _show(tables: Sequence[tuple[list[str], str]]) -> None:
    """Print the tables with an empty line between them, and their notes on stderr."""
    for i, (lines, note) in enumerate(tables):
        click.echo("\n" * (i > 0) + "\n".join(lines))
        if note:
            to_stderr(note)


def _translation_table(scores: Mapping[str, Any]) -> tuple[list[str], str]:
    return [f"{'pair':<12}{'pairs':>10}{'translations':>14}{'random':>10}{'forward':>10}{'backward':>10}",
            *(f"{name:<12}{row['pairs']:>10}{row['translations']:>14.3f}{row['random']:>10.3f}"
              f"{100 * row['precision_forward']:>10.1f}{100 * row['precision_backward']:>10.1f}"
              for name, row in scores.items())
            ], ("translations, random: median cosine of translations and of random pairs; forward, backward: % of texts whose "
                "nearest neighbour is their translation")


def _probe_table(probes: Mapping[str, Any]) -> tuple[list[str], str]:
    rows = [(name, level, row) for name, levels in probes.items() for level, row in levels.items()]
    return [f"{'pair':<12}{'level':<10}{'accuracy':>10}{'source':>10}{'target':>10}{'tested':>10}",
            *(f"{name:<12}{level:<10}{100 * row['accuracy']:>10.1f}{100 * row['recall_source']:>10.1f}"
              f"{100 * row['recall_target']:>10.1f}{row['tested']:>10}" for name, level, row in rows)
            ], ("accuracy of a new language discriminator on texts it has not seen (the test files, or half of the texts without "
                "them), chance 50; source, target: % recognised of each language")
