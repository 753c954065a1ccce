"""DiffAgent as it was trained by `chatgenbench train diffagent`: a text prompt in, an API call out.

The chat is the prompt, as it is; the call names model and parameters.  A call that is none is a failed row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import UserError
from chatgenbench.schema import Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.answers import AnswerError, Reader
from chatgenbench.systems.trained.folder import Trained
from chatgenbench.systems.trained.lm import BATCH, LanguageModel
from chatgenbench.systems.trained.wording import ask_api, read_api
from chatgenbench.systems.training import chat_prompt

#: Longest call that is written, in tokens.
CALL_TOKENS = 96


class DiffAgent:
    """The language model of a training in `folder`."""

    name = "diffagent"
    plan_batch = BATCH

    def __init__(self, folder: Path) -> None:
        self._trained = Trained(folder, "diffagent")
        self.revision = f"1+{self._trained.revision}"

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        agent = self._trained.part("agent")
        if agent is None:
            raise UserError(f"{self._trained.folder} lacks its agent: train again into another folder")
        whole = (agent / "config.json").is_file()
        self._lm = LanguageModel(str(agent)) if whole else LanguageModel(self._trained.base, agent)
        self._reader = Reader(catalog)

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Plan | Failure]:
        prompts = [chat_prompt(chat) for chat in inputs]
        for prompt, call in zip(prompts, self._lm.write([*map(ask_api, prompts)], CALL_TOKENS, stop="\n"), strict=True):
            try:
                yield self._reader.read(read_api(prompt, call))
            except AnswerError as error:
                yield Failure(reason=f"no call: {error}"[:300])
