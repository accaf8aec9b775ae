"""How often the unsupervised methods find a planted rotation with noise; takes minutes to hours, so it is no test.

    python -m tests.alignment.planted_recovery --method similarity --words 5000 --dim 100 --seeds 5
"""
from __future__ import annotations

import argparse
from time import process_time

from minixl.alignment.learners import AdversarialLearner, SimilarityLearner
from minixl.alignment.refinement import refine
from minixl.alignment.settings import SCHEMA, SIZES
from minixl.backend import array_module_for
from minixl.ops import csls
from tests.alignment.planted import planted_spaces, share_right

LEARNERS = {"adversarial": AdversarialLearner, "similarity": SimilarityLearner}


def main() -> None:
    """Print, for each seed, how many words find their own meaning before and after refinement, and the CPU time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=LEARNERS, required=True)
    parser.add_argument("--words", type=int, default=5000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    xp = array_module_for(options.device)
    settings = SCHEMA.settings().override([*SIZES["cpu"], *options.set])
    for seed in range(1, options.seeds + 1):
        begin = process_time()
        planted = planted_spaces(options.words, options.dim, noise=options.noise, seed=seed)
        spaces = planted._replace(x=xp.asarray(planted.x), y=xp.asarray(planted.y))
        learner = LEARNERS[options.method](spaces.x, spaces.y, settings, seed, csls)
        while not learner.ended:
            learner.advance()
        mapping, criterion = refine(learner.mapping, spaces.x, spaces.y, settings, lambda *values: None)
        print(f"seed {seed}: {100 * share_right(learner.mapping, spaces):.1f} % before, {100 * share_right(mapping, spaces):.1f} % "
              f"after refinement, criterion {criterion:.3f}, {process_time() - begin:.0f} s CPU", flush=True)


if __name__ == "__main__":
    main()
