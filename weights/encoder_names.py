"""Say how to get an encoder that was given by the name of a model hub, or by a mistyped path.

Test: tests/weights/test_encoder_names.py
"""
from __future__ import annotations

import re
from pathlib import Path

from minixl.errors import nearest

# Hub names that are often written without their owner.
KNOWN = {"bert-base-multilingual-cased": "google-bert", "bert-base-multilingual-uncased": "google-bert",
         "bert-base-cased": "google-bert", "bert-base-uncased": "google-bert", "xlm-roberta-base": "FacebookAI",
         "xlm-roberta-large": "FacebookAI", "multilingual-e5-small": "intfloat", "multilingual-e5-base": "intfloat",
         "multilingual-e5-large": "intfloat"}


def fix_of_missing_folder(folder: Path, contents: str) -> str:
    """Say what to do about an encoder folder that does not exist.  contents: what such a folder needs."""
    if folder.name == "e5-small":
        return "give the name alone, --encoder e5-small, or the folder that minixl weights fetch e5-small prints"
    hub_name = _hub_name(folder)
    if hub_name:
        return (f"minixl downloads no models; if this is a BERT or an XLM-R of the Hugging Face hub, copy config.json, "
                f"model.safetensors and tokenizer.json from https://huggingface.co/{hub_name}/tree/main into a folder {folder}")
    siblings = [str(folder.parent / entry.name) for entry in folder.parent.iterdir() if entry.is_dir()] \
        if folder.parent.is_dir() else []
    return nearest(str(folder), [*siblings, "e5-small"]).removeprefix("; ") or contents


def _hub_name(folder: Path) -> str:
    """Return OWNER/NAME if the folder that does not exist looks like a model of the hub, else ""."""
    name = str(folder)
    if name in KNOWN:
        return f"{KNOWN[name]}/{name}"
    is_hub_name = re.fullmatch(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", name) and not folder.parent.exists()
    return name if is_hub_name else ""
