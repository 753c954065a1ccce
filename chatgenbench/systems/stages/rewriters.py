"""Writers that are published language models: a short wish goes in, a prompt comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import UserError
from chatgenbench.schema import Demonstration, Failure, FreestyleInput
from chatgenbench.systems.causal import CausalModel, first_line, join_turns, seed_of
from chatgenbench.systems.stages.declare import stage
from chatgenbench.systems.stages.protocol import Words


class Rewriter(ABC):
    """A causal language model that continues a template; a subclass states model, template and sampling."""

    published: ClassVar[str]
    #: Commit of the published weights; None where none is known: then the newest is loaded and named in `revision`.
    commit: ClassVar[str | None] = None
    max_new_tokens: ClassVar[int] = 384
    sampling: ClassVar[dict[str, Any]]

    def __init__(self, argument: str | None, benchmark: Benchmark, seed: int) -> None:
        self._spec, self._seed = argument or self.published, seed
        self._model: CausalModel | None = None

    @property
    def revision(self) -> str:
        commit = self._model.commit if self._model is not None else ""
        return f"1+{self._spec}" + (f"@{commit[:12]}" if commit and "@" not in self._spec else "")

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._model = CausalModel(self._spec, self.commit if self._spec == self.published else None)

    def write(self, chats: Sequence[FreestyleInput]) -> list[Words | Failure]:
        return [self._one(chat) for chat in chats]

    def _one(self, chat: FreestyleInput) -> Words | Failure:
        if self._model is None:
            raise UserError("a stage writes only after it was prepared")
        wish = join_turns([m.text for m in chat.messages if m.role == "user"])
        seed = seed_of(self._seed, chat.id)
        text = self._model.write(self.template(wish), seed, self.max_new_tokens, **self.sampling)
        prompt = self.finish(wish, text)
        return Words(prompt) if prompt else Failure(reason="the language model wrote nothing")

    @abstractmethod
    def template(self, wish: str) -> str:
        """What the model continues."""

    @abstractmethod
    def finish(self, wish: str, text: str) -> str:
        """The prompt, from what the model wrote."""


@stage(
    "beautifulprompt", "writer", "BeautifulPrompt (arXiv 2311.06752), BLOOM 1.1B, or a model trained like it", "MODEL"
)
class BeautifulPrompt(Rewriter):
    """The published template and sampling of pai-bloom-1b1-text2prompt-sd."""

    published = "alibaba-pai/pai-bloom-1b1-text2prompt-sd"
    sampling: ClassVar[dict[str, Any]] = {
        "do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.2,
    }  # fmt: skip

    def template(self, wish: str) -> str:
        task = "Give a simple description of the image to generate a drawing prompt."
        return f"Instruction: {task}\nInput: {wish}\nOutput:"

    def finish(self, wish: str, text: str) -> str:
        return first_line(text)


@stage("magicprompt", "writer", "MagicPrompt for Stable Diffusion (GPT-2): the wish, continued", "MODEL")
class MagicPrompt(Rewriter):
    """Continues the wish itself, so the wish stays the beginning of the prompt."""

    published = "Gustavosta/MagicPrompt-Stable-Diffusion"
    commit = "71d441a2a7747958c58a9518163e4d41b3d9ab82"
    max_new_tokens = 80
    sampling: ClassVar[dict[str, Any]] = {"do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 0.95}

    def template(self, wish: str) -> str:
        return wish

    def finish(self, wish: str, text: str) -> str:
        return f"{wish}{text.splitlines()[0] if text.strip() else ''}".strip()
