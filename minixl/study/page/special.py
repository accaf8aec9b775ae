"""What the page shows of some ops besides their arrays: attention maps, a CRF's lattice, the pulls of average linkage."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minixl.study.events import OpCall
from minixl.study.page.arrays import kept_places, shown
from minixl.study.page.batches import SENTENCES, TOKENS, BatchText
from minixl.study.page.crf import MOST_TOKENS, lattices
from minixl.study.page.linkage import pulls

if TYPE_CHECKING:
    from minixl.study.page.content import Content

MOST_ATTENTION = 300_000               # probabilities in all maps together
MOST_POINTS = 100                      # of average linkage, in a picture
MOST_MAPS = 4                          # sentences of a batch


def special_of_call(content: Content, call: OpCall, backward: OpCall | None, text: BatchText | None) -> dict[str, Any]:
    """Return what the page shows of a forward call of these ops, {} for others."""
    if text is None or not call.kind == "forward":
        return {}
    if call.op == "attention":
        return {"attention": _attention(content, call, text)}
    if call.op == "crf":
        return {"lattices": _lattices(content, call, text)}
    if call.op == "average_linkage":
        return {"linkage": _linkage(content, call, text)}
    return {}


def _attention(content: Content, call: OpCall, text: BatchText) -> list[dict[str, Any]]:
    """Return the maps of all heads of the first sentences."""
    calls = sum(isinstance(event, OpCall) and event.op == "attention" and event.kind == "forward"
                for event in content.recording.events)
    maps, heads, sentence = [], call.cache.heads, 0
    for group in call.cache.groups:
        probs = call.cache.probs[group.scores].reshape(-1, heads, group.length, group.length)
        for one in probs:
            maps.append((sentence, one))
            sentence += 1
    maps = maps[:MOST_MAPS]
    side = max(4, int((MOST_ATTENTION / (calls * heads * len(maps))) ** 0.5))
    found = []
    for sentence, one in maps:
        tokens = text.tokens[text.starts[sentence]:text.starts[sentence + 1]]
        places = kept_places(len(tokens), min(len(tokens), side))
        kept = one[:, places][:, :, places]
        found.append({"array": content.arrays.add(np.ascontiguousarray(kept).reshape(heads * len(places), -1), whole=True),
                      "heads": heads, "tokens": [tokens[place] for place in places], "places": places.tolist(),
                      "of": len(tokens)})
    return found


def _lattices(content: Content, call: OpCall, text: BatchText) -> list[dict[str, Any]]:
    found = []
    for one in lattices(call):
        count, tags = len(one.gold), one.node.shape[1]
        words = text.words[one.first:one.first + count]
        found.append({"words": words[:MOST_TOKENS], "of": count, "gold": one.gold[:MOST_TOKENS], "best": one.best[:MOST_TOKENS],
                      "node": content.arrays.add(one.node[:MOST_TOKENS], whole=True),
                      "error": content.arrays.add(one.error[:MOST_TOKENS], whole=True),
                      "edges": content.arrays.add(one.edges[:MOST_TOKENS - 1].reshape(-1, tags), whole=True),
                      "log_partition": shown(one.log_partition), "gold_score": shown(one.gold_score),
                      "best_score": shown(one.best_score)})
    return found


def _linkage(content: Content, call: OpCall, text: BatchText) -> dict[str, Any]:
    """Return distances and pulls; of many points, evenly spaced ones."""
    made = pulls(call)
    count = len(made.both)
    places = kept_places(count, min(count, MOST_POINTS))
    names: Sequence[str] = text.tokens if count == text.sizes()[TOKENS] else [
        f"sentence {number + 1}" for number in range(text.sizes()[SENTENCES])]
    return {"names": [names[place] for place in places], "border": int((places < made.border).sum()), "of": count,
            "distances": content.arrays.add(made.distances[places][:, places], whole=True),
            "pulls": {key: [float(value) for value in getattr(made, key)[places]] for key in ("to_others", "from_own", "both")}}
