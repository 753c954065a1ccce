"""Collects models and the pictures made with them, in an order that depends on nothing but what was asked.

First the models, page by page.  Then the pictures of each model version, in rounds: every round asks for one page of
each version that has more, first versions of all models before second ones.  A request that the store has an answer
to is not made again, so a collection that was interrupted goes on where it was, and a finished one asks for nothing
but pictures that were refused (`answers` tells why).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from chatgenbench.build.answers import Answers
from chatgenbench.build.client import Client, Unanswered
from chatgenbench.build.funnel import Count
from chatgenbench.build.store import UNANSWERED, Answer, RawStore
from chatgenbench.build.walk import Ask, ImageWalk, ModelWalk, Query, in_order, places_of, versions_of
from chatgenbench.build.workspace import Workspace
from chatgenbench.errors import InfraError, UserError
from chatgenbench.remote.pauses import patience as first_pause

#: So many requests in a row that stay unanswered: the hub is down, and trying the rest would take hours.
GIVE_UP = 8

#: What else can be done about what the hub never answers, at the end of a message.
WITHOUT = "or add --skip-unanswered to go on without what is never answered"

__all__ = ["Query", "collect", "images", "models"]

Tick = Callable[[str, int, int | None], None]


def collect(
    store: RawStore,
    query: Query,
    count: Count,
    tick: Tick,
    token: str | None,
    salt: bytes | None = None,
    patience: float | None = None,
    skip: bool = False,
) -> None:
    """Fetch what the store does not have yet.

    User names are replaced by pseudonyms keyed with `salt` (by default that of the workspace the store lies in)
    before an answer is stored.  `tick` hears of `models`, `versions` (finished, all) and `images`.  `count` ends with
    as many seen and kept as `images` will yield.  `patience` is the first pause between attempts in seconds
    ($CHATGENBENCH_PATIENCE, else 1).  With `skip`, lists go on, or end, without a page that is never answered, as long
    as the hub answers other requests.

    Raises:
        UserError: the API refuses the token or the query.
        InfraError: requests stayed unanswered, or the disk refuses; what was answered is kept.
    """
    if query.nsfw != "none":
        raise UserError(f"--nsfw {query.nsfw}: only 'none' can be collected")
    if patience is None:
        patience = first_pause()
    key = Workspace(store.folder.parent).salt() if salt is None else salt
    try:
        asyncio.run(_Collection(store, query, count, tick, key, skip).run(token, patience))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def models(store: RawStore, query: Query, count: Count | None = None) -> Iterator[dict[str, Any]]:
    """The bodies of the collected models, each once, in the order of the hub's list; descriptions are cut.

    Raises:
        InfraError: not everything was collected.
    """
    walk = ModelWalk(query, count or Count())
    while (ask := walk.ask()) is not None:
        yield from walk.take(_stored(store, ask))


def images(store: RawStore, query: Query, count: Count) -> Iterator[dict[str, Any]]:
    """The bodies of the collected pictures, each once, with `modelVersionId`: the version they were asked under.

    Noted in `count`: `repeated` (served again under the same version), `other-version` (again under another one),
    `foreign` (of none of the versions asked for), `no-id`, `refused:STATUS`, `cursor-loop`, `nothing-new`, `drift:...`,
    `unanswered` (pages that were given up, each with all pages after it).

    Raises:
        InfraError: not everything was collected.
    """
    walk = ImageWalk(query, versions_of(models(store, query), query), count)
    while batch := walk.batch():
        for feed in batch:
            if walk.full:
                return
            yield from walk.take(feed, _stored(store, feed.ask()))


class _Collection:
    """One run of `collect`."""

    def __init__(self, store: RawStore, query: Query, count: Count, tick: Tick, salt: bytes, skip: bool) -> None:
        self._store, self._query, self._count, self._tick, self._salt = store, query, count, tick, salt
        self._skip = skip
        self._unanswered: Counter[str] = Counter()
        self._in_a_row = 0
        self._places = asyncio.Semaphore(query.concurrency)

    async def run(self, token: str | None, patience: float) -> None:
        query = self._query
        async with Client(query.base_url, token, query.requests_per_second, query.concurrency, patience) as client:
            self._answers = Answers(self._store, client, self._salt, self._skip)
            await self._images(await self._models())

    async def _models(self) -> list[int]:
        """Collect the models; returns the versions to ask pictures of."""
        walk = ModelWalk(self._query, self._count)
        found: list[tuple[int, int, int]] = []
        number = 0
        while (ask := walk.ask()) is not None:
            answer = await self._answer(ask)
            if answer is None or (answer.status == UNANSWERED and not number):
                raise self._complaint()
            for body in walk.take(answer):
                found += places_of(body, number, self._query)
                number += 1
            self._count.noted["models"] = number
            self._tick("models", number, self._query.max_models)
        return in_order(found)

    async def _images(self, versions: list[int]) -> None:
        walk = ImageWalk(self._query, versions, self._count)
        while batch := walk.batch():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._answer(feed.ask())) for feed in batch]
            for feed, task in zip(batch, tasks, strict=True):
                answer = task.result()
                if walk.full:
                    break
                if answer is None:
                    feed.end()
                else:
                    for _ in walk.take(feed, answer):
                        self._count.seen += 1
                        self._count.kept += 1
            self._tick("versions", walk.finished, walk.versions)
            self._tick("images", len(walk), self._query.max_images)
            if self._unanswered and not self._skip and self._query.max_images is not None:
                break
        if self._unanswered and not self._skip:
            raise self._complaint()
        await self._answers.settle()
        self._tick("versions", walk.versions, walk.versions)
        self._count.noted["versions"] = walk.versions

    async def _answer(self, ask: Ask) -> Answer | None:
        """The answer from the store, else from the hub; when it stays unanswered None, or with `skip` that."""
        if self._answers.known(ask.path, ask.params):
            return await self._answers.get(ask.path, ask.params)
        async with self._places:
            if self._in_a_row >= GIVE_UP:
                raise self._complaint()
            try:
                answer = await self._answers.get(ask.path, ask.params)
            except Unanswered as failure:
                self._unanswered[failure.why] += 1
                self._in_a_row += 1
                return self._answers.give_up(ask.path, ask.params) if self._skip else None
            self._in_a_row = 0
            return answer

    def _complaint(self) -> InfraError:
        number = sum(self._unanswered.values())
        why = ", ".join(f"{name}: {times}" for name, times in sorted(self._unanswered.items()))
        requests = "1 request" if number == 1 else f"{number} requests"
        told = f"{requests} to the API stayed unanswered ({why}): type the same command again to go on"
        helpless = self._skip or self._in_a_row >= GIVE_UP or not self._count.noted["models"]
        return InfraError(told if helpless else f"{told}, {WITHOUT}")


def _stored(store: RawStore, ask: Ask) -> Answer:
    answer = store.get(ask.key)
    if answer is None:
        raise InfraError(f"{store.folder} does not hold all of what was asked for: type the build command again")
    return answer
