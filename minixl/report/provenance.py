"""What a run was made from, for its page: settings that differ from their defaults, and input files with digests."""
from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from minixl.data.inputs import ROLES, Inputs, by_language, path_key
from minixl.report.page import table
from minixl.settings import Settings

DIGEST = 12            # characters of a digest that are shown


class Provenance(NamedTuple):
    """What a run was made from."""

    settings: Settings
    inputs: Inputs
    digests: Mapping[str, str]                       # as in inputs.json
    counts: Mapping[tuple[str, str], int]            # (role, language) -> sentences or documents, of the files that were read
    finished: datetime


def provenance_tables(provenance: Provenance) -> list[str]:
    """Return the settings that differ from their defaults, and the input files."""
    settings, inputs = provenance.settings, provenance.inputs

    def shown(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)
    changed = [[name, shown(value), shown(settings.schema[name].default)] for name, value in settings.items()
               if value != settings.schema[name].default]
    paths = [(role, language, files) for role in ROLES for language, files in by_language(getattr(inputs, role)).items()]
    encoder = [("encoder", None, [inputs.encoder])] if inputs.encoder else []
    files = [[role, language, " + ".join(path.name for path in of_language), provenance.counts.get((role, language or "")),
              " + ".join(filter(None, (provenance.digests.get(path_key(path), "")[:DIGEST] for path in of_language))) or None]
             for role, language, of_language in [*encoder, *paths]]
    body = ["<h2>Settings</h2>",
            table("Settings that differ from the defaults.", ["setting", "value", "default"], changed, text_columns=3) if changed
            else "<p>All settings have their defaults.</p>"]
    body += ["<h2>Input files</h2>",
             table("Input files.  items: sentences or documents, – for files that were not read as text; SHA-256: the first "
                   f"{DIGEST} characters of the digest in inputs.json.", ["role", "language", "file", "items", "SHA-256"], files,
                   text_columns=3)]
    return ["<details><summary>Settings and input files</summary>", *body, "</details>"]
