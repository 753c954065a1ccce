"""`--system chatgen:2b`: a published ChatGen-Base model answers with prompt, model and arguments at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import PlanError, UserError, shorten
from chatgenbench.schema import Costs, Demonstration, Failure, FreestyleInput, Plan
from chatgenbench.systems.answers import Reader
from chatgenbench.systems.causal import seed_of
from chatgenbench.systems.chatgen.card import instructions
from chatgenbench.systems.chatgen.models import Model, Turn, load
from chatgenbench.systems.guard import one_line
from chatgenbench.systems.protocol import Answered

#: Sizes of the published models, by the word after `chatgen:`.
PUBLISHED = {size: f"ChengyouJia/ChatGen-Base-{size.upper()}" for size in ("2b", "4b", "8b")}
#: What of a repository is needed: weights as safetensors, its own code, its card.
FILES = ("*.json", "*.safetensors", "*.py", "*.md", "*.model", "*.txt", "*.jinja")


class ChatGen:
    """A ChatGen-Base model of the hub or of a folder.

    How the card's instructions and the chat are put together is not published: here the instructions come first, on
    lines of their own, in the first turn.

    Args:
        argument: 2b, 4b, 8b, a folder, or OWNER/NAME[@REVISION].
        benchmark: where the chats' reference pictures lie.
        seed: of the sampling.
    """

    def __init__(self, argument: str, benchmark: Benchmark, seed: int) -> None:
        if argument.lower().startswith("evo"):
            raise UserError(
                "the authors' ChatGen-Evo repository holds no weights: `chatgenbench train evo` trains one, "
                "and --system evo:DIR runs it"
            )
        self._spec = PUBLISHED.get(argument.lower(), argument)
        self._root, self._seed, self._commit = benchmark.root, seed, ""
        self.name = f"chatgen:{argument}"
        self._model: Model | None = None

    @property
    def revision(self) -> str:
        return f"1+{self._spec}" + (f"@{self._commit}" if self._commit else "")

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        folder, self._commit = fetch(self._spec)
        self._instructions = instructions(folder)
        self._model = load(folder, _kind(folder))
        self._reader = Reader(catalog)

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        for chat in inputs:
            yield self._one(chat)

    def _one(self, chat: FreestyleInput) -> Answered:
        if self._model is None:
            raise UserError("a system answers only after it was prepared")
        try:
            said = self._model.answer(self._turns(chat), seed_of(self._seed, chat.id))
        except PlanError as error:
            return Answered(Failure(reason=one_line(error)))
        costs = Costs(completion_tokens=said.tokens)
        return Answered(self._read(said.text), costs)

    def _read(self, text: str) -> Plan | Failure:
        try:
            return self._reader.read(text)
        except PlanError as error:
            return Failure(reason=one_line(error))

    def _turns(self, chat: FreestyleInput) -> list[Turn]:
        system = self._instructions["sys_multimodal" if chat.images else "sys_singlemodal"]
        turns = [Turn(m.role, m.text, tuple(self._root / name for name in m.images)) for m in chat.messages]
        first = turns[0]
        return [Turn(first.role, f"{system.strip()}\n{first.text}", first.pictures), *turns[1:]]


def fetch(spec: str) -> tuple[Path, str]:
    """The folder of a checkpoint and, where it came from the hub, its commit.

    Raises:
        UserError: it is neither here nor to be had.
    """
    if Path(spec).is_dir():
        return Path(spec), ""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = spec.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(f"'{name}' cannot be fetched from the hub: {shorten(str(error), 160)}") from None
    return folder, folder.name


def _kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text("utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds no model: its config.json is missing or damaged") from None
