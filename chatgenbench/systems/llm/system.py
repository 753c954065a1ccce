"""`openai:MODEL`: shortlist by retrieval, then one question that has the model choose, write and set."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatgenbench.benchmark import Benchmark, Catalog
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.remote.address import bare
from chatgenbench.remote.endpoint import Endpoint, Model, NoAnswer, Reply
from chatgenbench.remote.pauses import patience
from chatgenbench.schema import ARGUMENT_KEYS, Costs, Demonstration, Failure, FreestyleInput, Outcome, Plan, digest_of
from chatgenbench.systems.answers import AnswerError, Reader
from chatgenbench.systems.guard import one_line
from chatgenbench.systems.llm.request import USUAL, VERSION, request, schema
from chatgenbench.systems.llm.shortlist import Shortlist, Shown
from chatgenbench.systems.options import Options
from chatgenbench.systems.protocol import Answered, StopRun
from chatgenbench.systems.training import common_arguments
from chatgenbench.systems.wire.careful import Careful, UnansweredError

OPENAI = "https://api.openai.com/v1"
#: Attempts for one chat.
ATTEMPTS = 4
log = logging.getLogger(__name__)


class LanguageModel:
    """A language model as a system; what it answered is kept in the run's folder and never paid twice.

    Raises:
        UserError: no model is named, or a budget is given without prices.
    """

    runs_here = False

    def __init__(self, spec: str, benchmark: Benchmark, seed: int, options: Options) -> None:
        self._model_name = spec.partition(":")[2].strip()
        if not self._model_name:
            raise UserError("openai: needs a model's name, such as openai:gpt-4o-mini")
        prices = options.prices
        if options.budget is not None and (prices.tokens_in is None or prices.tokens_out is None):
            raise UserError("--llm-budget needs --price-in and --price-out: without prices nobody knows what is spent")
        self._benchmark, self._seed, self._options = benchmark, seed, options
        self._reader = Reader(benchmark.catalog)
        address = options.llm_base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        known = bare(address)
        self.name = self._model_name
        self.revision = (
            f"{VERSION} at {known.rstrip('/')}, temperature {options.temperature:g}, {options.shortlist} models, "
            f"{options.demonstrations} examples, {options.max_tokens} tokens{'' if options.images else ', no pictures'}"
        )
        self._endpoint = Endpoint(
            address, self._model_name, prices.tokens_in or 0.0, prices.tokens_out or 0.0, options.budget,
            max_tokens=options.max_tokens, attempts=ATTEMPTS,
            temperature=options.temperature, patience=patience(), timeout=options.timeout,
            timed=True,
        )  # fmt: skip
        self._careful = Careful(f"{self._model_name} at {shorten(known, 80)}", self._exchange)
        #: What was asked and answered, in the run's folder.
        self._journal = f"answers-{digest_of([known, self._model_name])[:8]}.jsonl"
        self._images = options.images
        self._usual: dict[str, Any] = USUAL
        self._folder: Path | None = None
        self._own = tempfile.TemporaryDirectory(prefix="chatgenbench-")  # removed with this object
        self._runner: asyncio.Runner | None = None
        self._model: Model | None = None

    def keep_in(self, folder: Path) -> None:
        """Keep questions and answers in this folder."""
        self._folder = folder

    def prepare(self, catalog: Catalog, train: Sequence[Demonstration]) -> None:
        self._shortlist = Shortlist(catalog, train, self._options.shortlist, self._options.demonstrations)
        self._said = {chat.demonstration: chat.input for chat in reversed(self._benchmark.train_inputs)}
        if train:
            self._usual = common_arguments(train).model_dump(include=set(ARGUMENT_KEYS))
        folder = self._folder or Path(self._own.name)
        self._runner = asyncio.Runner()
        self._model = self._runner.run(_opened(self._endpoint, folder / self._journal))

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        return self._careful.plan(inputs)

    def close(self) -> None:
        """Close the connections and the journal."""
        if self._runner is not None:
            if self._model is not None:
                self._runner.run(self._model.__aexit__(None, None, None))
            self._runner.close()
        self._runner = self._model = None

    def _exchange(self, inputs: Sequence[FreestyleInput]) -> list[Answered]:
        assert self._runner is not None
        answers = self._runner.run(self._all(inputs))
        if all(isinstance(answer, InfraError) for answer in answers):
            raise UnansweredError(_why(answers[0]))
        return [_lost(answer) if isinstance(answer, InfraError) else answer for answer in answers]

    async def _all(self, inputs: Sequence[FreestyleInput]) -> list[Answered | InfraError]:
        questions = [self._one(chat, shown) for chat, shown in zip(inputs, self._shortlist.shown(inputs), strict=True)]
        # all are waited for: what one of them stops for, the others may have been paid for
        answers = await asyncio.gather(*questions)
        for answer in answers:
            if isinstance(answer, UserError):
                raise StopRun(answer)
        return [answer for answer in answers if not isinstance(answer, UserError)]

    async def _one(self, chat: FreestyleInput, shown: Shown) -> Answered | InfraError | UserError:
        """The answer to one chat, or why there is none."""
        try:
            reply = await self._asked(chat, shown)
        except (InfraError, UserError) as error:
            return error
        counted = reply.usage
        costs = Costs(prompt_tokens=counted.get("prompt_tokens"), completion_tokens=counted.get("completion_tokens"))
        return Answered(self._read(reply, shown), costs, reply.seconds)

    async def _asked(self, chat: FreestyleInput, shown: Shown) -> Reply:
        """The model's reply; one that cannot see is asked again without the pictures, and from then on."""
        assert self._model is not None
        seed = int(digest_of([self._seed, chat.id])[:8], 16) % 2**31
        form = schema(shown)
        reply = await self._model.ask(self._request(chat, shown, self._images), seed, form)
        if not (reply.unfit and chat.images and self._images):
            return reply
        blind = await self._model.ask(self._request(chat, shown, False), seed, form)
        if not blind.unfit:
            self._images = False
            log.warning("%s is sent no pictures any more, as it takes none: %s", self._model_name, reply.why)
        return blind

    def _request(self, chat: FreestyleInput, shown: Shown, images: bool) -> list[dict[str, Any]]:
        return request(chat, shown, self._said, self._benchmark.root, images, self._usual)

    def _read(self, reply: Reply, shown: Shown) -> Plan | Failure:
        if reply.refused:
            said = reply.text or reply.why or "by a filter"
            return Failure(outcome=Outcome.BLOCKED, reason=one_line(f"refusal: {said}"))
        if reply.unfit:
            return Failure(reason=one_line(f"not-answered: the endpoint takes no such request: {reply.why}"))
        try:
            plan = self._reader.read(reply.text)
        except AnswerError as error:
            return Failure(reason=one_line(error))
        ranking = dict.fromkeys([plan.model, *(record.id for record in shown.models)])
        return plan.model_copy(update={"ranking": tuple(ranking)})


async def _opened(endpoint: Endpoint, journal: Path) -> Model:
    return await Model(endpoint, journal).__aenter__()


def _lost(error: InfraError) -> Answered:
    """A row that got no answer while others of its batch did: it is asked again next time."""
    return Answered(Failure(outcome=Outcome.INFRA_FAILED, reason=one_line(f"not-answered: {_why(error)}")))


def _why(error: Answered | InfraError) -> str:
    """What came instead of an answer, without advice: that is for whoever knows of the other rows."""
    return error.why if isinstance(error, NoAnswer) else str(error)
