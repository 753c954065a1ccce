"""Fetches prompts and pictures of known record ids again, for readers who hydrate a release."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatgenbench.build import civitai, fields, metadata, pictures, resources
from chatgenbench.build.answers import Answers
from chatgenbench.build.client import Client, Unanswered
from chatgenbench.build.collect import GIVE_UP, WITHOUT
from chatgenbench.build.filters import Limits
from chatgenbench.build.funnel import Count
from chatgenbench.build.pictures import Tick
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.store import UNANSWERED, Answer, RawStore, key_of
from chatgenbench.build.workspace import Workspace
from chatgenbench.errors import InfraError
from chatgenbench.remote.pauses import patience
from chatgenbench.schema import Arguments, Plan

_PREFIX = "civitai-"
#: Stands in for the arguments, which the release has and hydration keeps.
_ANY = Arguments(sampler="Euler", steps=1, cfg_scale=1, width=8, height=8)


class Refetch:
    """Asks for each picture's record by its id, one request each, and for the picture; all answers are kept in `root`.

    As in a build's folder, no user name is kept; `creator` of the records is keyed with the salt of `root`.  A record
    that is refused (403) is dropped as `refused`, and asked for again the next time.

    Args:
        tick: hears how many records were answered.
        allow_private: pictures may lie at private addresses.
        skip: drop records that are never answered as `unanswered`, as long as others are.
    """

    def __init__(
        self,
        root: Path,
        api: str,
        token: str | None,
        tick: Tick,
        allow_private: bool = False,
        pace: float = 1.0,
        skip: bool = False,
    ) -> None:
        self.root, self._skip = root, skip
        self._api, self._token, self._tick, self._allow_private, self._pace = api, token, tick, allow_private, pace
        self._done = self._in_a_row = 0

    def __call__(self, ids: list[str]) -> Iterator[tuple[str, Record | Drop]]:
        """Each id with its record (prompt, negative prompt, picture, address), or why there is none.

        Raises:
            UserError: the token is refused.
            InfraError: the hub does not answer; what was answered is kept.
        """
        workspace = Workspace(self.root)
        salt = workspace.salt()
        with RawStore(workspace.raw) as store:
            asyncio.run(self._collect(store, ids, salt))
            found = [_record(key, store.get(_key(key)), salt) for key in ids]
        records = [record for record in found if isinstance(record, Record)]
        journal = self.root / "pictures.jsonl"
        limits = Limits(nsfw_threshold=1.0)  # the release has judged them already
        pictures.download(
            records, workspace.pictures, journal, limits, self._tick, self._allow_private, patience(), self._skip
        )
        attached = {item.id: item for item in pictures.attach(iter(records), journal, limits)}
        for item in found:
            yield item.id, attached.get(item.id, item)

    async def _collect(self, store: RawStore, ids: list[str], salt: bytes) -> None:
        async with Client(self._api, self._token, self._pace, 1, patience()) as client:
            answers = Answers(store, client, salt, self._skip)
            for key in ids:
                if _number(key) is not None:
                    await self._ask(answers, key)
                self._done += 1
                self._tick("records", self._done, None)
            await answers.settle()

    async def _ask(self, answers: Answers, key: str) -> None:
        try:
            await answers.get("/images", _params(key))
            self._in_a_row = 0
        except Unanswered as failure:
            self._in_a_row += 1
            if not self._skip or self._in_a_row >= GIVE_UP:
                told = f"the API does not answer ({failure.why}): type the command again"
                raise InfraError(told if self._skip else f"{told}, {WITHOUT}") from None
            answers.give_up("/images", _params(key))


def _params(key: str) -> list[tuple[str, str]]:
    return [("imageId", key.removeprefix(_PREFIX)), ("withMeta", "true"), ("flatMeta", "true")]


def _key(key: str) -> str:
    return key_of("/images", _params(key))


def _number(key: str) -> int | None:
    """The hub's number of a record, if it is one of the hub's."""
    return fields.integer(key.removeprefix(_PREFIX)) if key.startswith(_PREFIX) else None


def _record(key: str, answer: Answer | None, salt: bytes) -> Record | Drop:
    """The texts of a record out of the hub's answer, which may hold other pictures than the one asked for."""
    if answer is not None and answer.status == UNANSWERED:
        return Drop(key, "unanswered")
    if answer is None or answer.status != 200:
        return Drop(key, "refused" if answer is not None and answer.status == 403 else "gone")
    items = civitai.page(answer.body, "images", Count()).items
    number = _number(key)
    body: dict[str, Any] | None = next((i for i in items if fields.integer(i.get("id")) == number), None)
    if body is None:
        return Drop(key, "gone")
    body = civitai.image(body, 0)
    read = metadata.read(body.get("meta"), body.get("width"), body.get("height"))
    if isinstance(read, str):
        return Drop(key, read)
    plan = Plan(
        prompt=resources.without_tags(read.prompt), negative_prompt=read.negative_prompt, model="-", arguments=_ANY
    )
    name = fields.text(body.get("username"))
    return Record(
        id=key, source="civitai", url=fields.text(body.get("url")) or "", plan=plan, base_model="",
        licence="LicenseRef-Civitai", creator=civitai.creator_of(salt, name) if name else "",
    )  # fmt: skip
