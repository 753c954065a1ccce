"""Asks a system that may break: finds the row at which it does, and knows when to stop.

A batch without an answer is asked for again row by row.  A row that alone gets no answer either has failed; when
`GIVE_UP` rows in a row get none, it is not the rows: the run stops, and those rows are asked again next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatgenbench.errors import SystemGoneError
from chatgenbench.schema import Failure, FreestyleInput
from chatgenbench.systems.guard import one_line
from chatgenbench.systems.protocol import Answered, StopRun

#: Rows without an answer, one after the other, after which a system is given up.
GIVE_UP = 3

Exchange = Callable[[Sequence[FreestyleInput]], list[Answered]]


class UnansweredError(Exception):
    """A batch got no answer that could be read; `str` says why."""


class Careful:
    """One system's exchange of a batch for its answers, made safe.

    Args:
        label: how messages call the system.
    """

    def __init__(self, label: str, exchange: Exchange) -> None:
        self._label, self._exchange = label, exchange
        self._lost = 0

    def plan(self, inputs: Sequence[FreestyleInput]) -> Iterator[Answered]:
        """One answer per input, in order; losses are told only when a later row, or the batch's end, confirms them.

        Raises:
            StopRun: the system answers nothing any more.
        """
        doubtful: list[Answered] = []
        for answer, lost in self._ask(inputs):
            if lost:
                doubtful.append(answer)
                continue
            yield from doubtful
            doubtful = []
            yield answer
        yield from doubtful

    def _ask(self, inputs: Sequence[FreestyleInput]) -> Iterator[tuple[Answered, bool]]:
        try:
            answers = self._exchange(inputs)
        except UnansweredError as why:
            if len(inputs) > 1:
                for chat in inputs:
                    yield from self._ask([chat])
                return
            yield self._miss(why), True
            return
        self._lost = 0
        yield from ((answer, False) for answer in answers)

    def _miss(self, why: UnansweredError) -> Answered:
        self._lost += 1
        if self._lost >= GIVE_UP:
            self._lost = 0
            said = f"{self._label} answered none of {GIVE_UP} chats in a row ({why}): mend it, type the command again"
            raise StopRun(SystemGoneError(one_line(said)))
        return Answered(Failure(reason=one_line(f"not-answered: {why}")))
