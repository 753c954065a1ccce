"""Every recipe in its smallest form: a fresh language model of a few hundred thousand weights, a handful of chats.

python -m tests.train.small RECIPE OUT      # in a process of its own, to be killed
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chatgenbench.benchmark import load_benchmark
from chatgenbench.train.sft import Fit
from chatgenbench.train.workplace import Workplace

Say = Callable[[str], None]
FIT = Fit(epochs=4, batch=4, rate=5e-3, rank=4, save_every=2)
CHATS = 20


def evo(out: Path, say: Say) -> Workplace:
    from chatgenbench.train.evo import EvoOptions, train

    return train(load_benchmark("miniature"), EvoOptions("tiny", FIT, limit=CHATS), out, say)


def diffagent(out: Path, say: Say) -> Workplace:
    from chatgenbench.train.diffagent import DiffAgentOptions, train

    options = DiffAgentOptions(
        "tiny", replace(FIT, rank=0), Fit(batch=1, epochs=2, rate=1e-3), prompts=3, calls=2, limit=CHATS
    )
    return train(load_benchmark("miniature"), options, out, say)


def beautifulprompt(out: Path, say: Say) -> Workplace:
    from chatgenbench.train.beautifulprompt import BeautifulPromptOptions, train
    from chatgenbench.train.policy import Policy

    options = BeautifulPromptOptions(
        "tiny", FIT, chats=3, draws=2, regressor=Fit(epochs=1, rank=4), limit=CHATS,
        policy=Policy(steps=4, tokens=8, rank=4, rate=1e-3, save_every=1),
    )  # fmt: skip
    return train(load_benchmark("miniature"), options, out, say)


RECIPES: dict[str, Callable[[Path, Say], Workplace]] = {
    "evo": evo, "diffagent": diffagent, "beautifulprompt": beautifulprompt,
}  # fmt: skip

if __name__ == "__main__":
    RECIPES[sys.argv[1]](Path(sys.argv[2]), lambda line: print(line, flush=True))
