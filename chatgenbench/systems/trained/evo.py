"""ChatGen-Evo as it was trained by `chatgenbench train evo`: chat -> prompt -> model -> arguments.

evo:DIR     all three stages
evo2:DIR    prompt and model; the usual arguments of the popular model
evo1:DIR    the prompt only, on the popular model with its usual arguments
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from chatgenbench.benchmark import Catalog
from chatgenbench.errors import UserError
from chatgenbench.schema import MAX_TEXT, Arguments, Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.answers import AnswerError, Reader
from chatgenbench.systems.protocol import Answered
from chatgenbench.systems.trained.folder import NAMES, TOKENS, Trained
from chatgenbench.systems.trained.lm import BATCH, LanguageModel
from chatgenbench.systems.trained.shown import Examples
from chatgenbench.systems.trained.wording import ask_arguments, ask_model, ask_prompt
from chatgenbench.systems.training import require

#: Longest prompt and longest arguments that are written, in tokens.
PROMPT_TOKENS, ARGUMENT_TOKENS = 96, 64
#: Models named in a ranking.
HEAD = 10
FELL_BACK = "the arguments are the model's usual ones, because what the language model wrote cannot be read"
NO_SAMPLER = "the arguments are the model's usual ones, because the language model wrote a sampler that nobody used"


class Evo:
    """The first `stages` (1 to 3) stages of a training in `folder`."""

    plan_batch = BATCH

    def __init__(self, folder: Path, stages: int) -> None:
        self._trained, self._stages = Trained(folder, "evo"), stages
        self.name = "evo" if stages == 3 else f"evo{stages}"
        self.revision = f"1+{self._trained.revision}"
        self._lm: LanguageModel | None = None

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        require(train, self.name)
        writer = self._trained.part("writer")
        whole = writer is not None and (writer / "config.json").is_file()
        self._lm = LanguageModel(str(writer)) if whole else LanguageModel(self._trained.base, writer)
        self._base = LanguageModel(self._trained.base) if whole and self._stages == 3 else self._lm
        self._catalog, self._reader = catalog, Reader(catalog)
        self._examples = Examples(catalog, train)
        if self._stages > 1:
            self._read_tokens()

    def _read_tokens(self) -> None:
        from safetensors.torch import load_file

        folder = self._trained.folder / "tokens"
        try:
            self._embedding = load_file(folder / TOKENS)["embedding"]
            self._models: list[str] = json.loads((folder / NAMES).read_text("utf-8"))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder} holds no model tokens: train again into another folder") from error
        lacking = [model for model in self._models if model not in self._catalog.records]
        if lacking:
            raise UserError(
                f"{self._trained.folder} knows the model '{lacking[0]}', which this benchmark lacks: it was trained on "
                "another one"
            )

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered | Failure]:
        prompts = self.prompts(inputs)
        rankings = self.rankings(inputs, prompts) if self._stages > 1 else [(self._examples.popular,)] * len(inputs)
        if self._stages == 3:
            settings = self.arguments([ranking[0] for ranking in rankings], prompts)
        else:
            settings = [(self._examples.usual, "")] * len(inputs)
        for prompt, ranking, (arguments, note) in zip(prompts, rankings, settings, strict=True):
            if not prompt:
                yield Failure(reason="stage 1 wrote no prompt")
            else:
                yield Answered(Plan(prompt=prompt, model=ranking[0], arguments=arguments, ranking=ranking), note=note)

    def prompts(self, inputs: Sequence[FreestyleInput]) -> list[str]:
        """Stage 1: one prompt per chat; "" where nothing was written."""
        written = self._ready.write([ask_prompt(chat) for chat in inputs], PROMPT_TOKENS, stop="\n")
        return [text[:MAX_TEXT] for text in written]

    def rankings(self, inputs: Sequence[FreestyleInput], prompts: Sequence[str]) -> list[tuple[str, ...]]:
        """Stage 2: the models by the logits of their tokens, best first."""
        asked = [ask_model(chat, prompt) for chat, prompt in zip(inputs, prompts, strict=True)]
        logits = self._ready.after(asked) @ self._embedding.T
        order = logits.argsort(dim=1, descending=True, stable=True).tolist()
        return [tuple(self._models[i] for i in row[:HEAD]) for row in order]

    def arguments(self, models: Sequence[str], prompts: Sequence[str]) -> list[tuple[Arguments, str]]:
        """Stage 3: arguments in the manner of the model's demonstrations, written by the untrained language model.

        What it writes is read tolerantly; where it cannot be read, or names a sampler that no demonstration has (small
        models misspell them), the model's usual arguments stand in, and a note says so.
        """
        count = int(self._trained.asked["shown"])
        asked = [
            ask_arguments(self._catalog.get(model), self._examples.nearest(model, prompt, count), prompt)
            for model, prompt in zip(models, prompts, strict=True)
        ]
        with self._base.untrained():
            written = self._base.write(asked, ARGUMENT_TOKENS, stop="\n")
        return [self._read(model, text) for model, text in zip(models, written, strict=True)]

    def _read(self, model: str, text: str) -> tuple[Arguments, str]:
        try:
            plan = self._reader.read({"prompt": "-", "model": model, "arguments": text})
        except AnswerError:
            return self._examples.usual_of(model), FELL_BACK
        if plan.arguments.sampler not in self._examples.samplers:
            return self._examples.usual_of(model), NO_SAMPLER
        return plan.arguments.model_copy(update={"seed": None}), ""

    @property
    def _ready(self) -> LanguageModel:
        if self._lm is None:
            raise UserError(f"system '{self.name}' answers only after it was prepared")
        return self._lm
