"""The pictures of records: fetched once each, checked, kept by their content, and joined to the records again.

`pictures/ab/SHA256.ext` holds a picture without its metadata, which may name people; a journal has one line a record:
what was seen, or why there is no picture.  A record with such a line is never fetched again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from chatgenbench.build.filters import Limits
from chatgenbench.build.records import Drop, Record
from chatgenbench.build.safety import Classifier
from chatgenbench.build.workspace import write_whole
from chatgenbench.errors import InfraError
from chatgenbench.remote.journal import Journal

#: Why a record may be left without a picture, and what each means.
REASONS = {
    "picture-without-address": "its record has no address for it",
    "picture-gone": "the server has it no longer",
    "picture-refused": "the server will not give it",
    "picture-bad-url": "its address is no plain http(s) address, or leads on and on",
    "picture-private-address": "its address, or one it leads to, lies in a private network",
    "picture-too-large": "the file has more than 25 MB",
    "picture-not-an-image": "the bytes are no PNG, JPEG or WebP, or they move",
    "picture-too-many-pixels": "it has more than 40 million pixels",
    "picture-damaged": "it cannot be decoded whole",
    "picture-nsfw": "the classifier takes it for not safe",
    "picture-unanswered": "its server never answered, and the build was told to go on without it",
}
CONCURRENCY = 4
#: What may be the server's bad moment and not the picture's fault, and how often it is looked at before that is told.
SPOILT, LOOKS = frozenset({"picture-not-an-image", "picture-damaged"}), 3
#: So many pictures without an answer in a row: the network is down, and trying the rest would take hours.
GIVE_UP = 20

Tick = Callable[[str, int, int | None], None]


def download(
    records: Iterable[Record],
    folder: Path,
    journal: Path,
    limits: Limits,
    tick: Tick,
    allow_private: bool = False,
    patience: float = 1.0,
    skip: bool = False,
) -> None:
    """Fetch and check every picture that the journal does not know yet; `folder` is the workspace's `pictures`.

    `tick` hears how many records are settled.  `allow_private` lets addresses of private networks pass; `patience` is
    the first pause between attempts in seconds.  With `skip`, what is never answered is given up as
    `picture-unanswered`, as long as other pictures are answered; without it, such pictures are asked for again.

    Raises:
        InfraError: pictures stayed unanswered, or the disk refuses; what was fetched is kept.
    """
    with Journal(journal) as lines, ThreadPoolExecutor(2) as workers:
        run = _Download(folder, lines, limits, tick, workers, skip)
        try:
            asyncio.run(run.all(iter(records), allow_private, patience))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        run.complain()


def attach(records: Iterable[Record], journal: Path, limits: Limits | None = None) -> Iterator[Record | Drop]:
    """Each record with its picture, or why it has none.

    Raises:
        InfraError: a picture was never fetched.
    """
    threshold = (limits or Limits()).nsfw_threshold
    with Journal(journal) as lines:
        for record in records:
            if record.url:
                yield _joined(record, lines.get(record.id), threshold)
            else:
                yield Drop(record.id, "picture-without-address")


def missing(records: Iterable[Record], folder: Path, journal: Path, limits: Limits, skip: bool = False) -> int:
    """How many pictures `download` would fetch."""
    with Journal(journal) as lines:
        return sum(1 for r in records if r.url and not _known(lines.get(r.id), folder, limits, skip))


def lost(lines: Path, root: Path) -> bool:
    """Whether a picture that the joined records in the file `lines` name is not under `root` any more."""
    with lines.open("rb", buffering=1 << 20) as file:
        named = (orjson.loads(line).get("picture") for line in file)
        return any(name and not (root / name).is_file() for name in named)


class _Download:
    """One call of `download`."""

    def __init__(
        self, folder: Path, journal: Journal, limits: Limits, tick: Tick, workers: ThreadPoolExecutor, skip: bool
    ) -> None:
        self._folder, self._skip = folder, skip
        self._journal = journal
        self._limits = limits
        self._tick = tick
        self._workers = workers
        self._classifier: Classifier | None = None
        self._settled = self._in_a_row = 0
        self._unanswered: list[Record] = []
        #: The address of a picture that was given before, to see whether the network is up.
        self._given = ""
        self._why = ""

    async def all(self, records: Iterator[Record], allow_private: bool, patience: float) -> None:
        from chatgenbench.build import netguard

        wanted = self._wanted(records)
        async with netguard.connections(CONCURRENCY, allow_private) as pool, asyncio.TaskGroup() as group:

            async def work() -> None:
                for record in wanted:
                    try:
                        self._settle(record, *await self._fetched(pool, record.url, patience))
                    except netguard.Refused as refusal:
                        self._note(record, {"reason": refusal.reason})
                    except netguard.Unanswered as failure:
                        self._unanswered.append(record)
                        self._in_a_row += 1
                        self._why = failure.why

            workers = [group.create_task(work()) for _ in range(CONCURRENCY)]
            await asyncio.wait(workers)
            if self._skip and self._unanswered and self._in_a_row < GIVE_UP and self._given:
                with suppress(netguard.Unanswered, netguard.Refused):
                    await netguard.fetch(pool, self._given, patience)
                    self._give_up()

    def _give_up(self) -> None:
        """Settle what is never answered, now that the network is known to be up."""
        for record in self._unanswered:
            self._note(record, {"reason": "picture-unanswered"})
        self._unanswered.clear()

    def complain(self) -> None:
        if self._unanswered:
            number = len(self._unanswered)
            pictures = "1 picture" if number == 1 else f"{number} pictures"
            told = f"{pictures} stayed unanswered (last: {self._why}): type the same command again"
            down = self._skip or self._in_a_row >= GIVE_UP
            raise InfraError(
                told if down else f"{told}, or add --skip-unanswered to go on without what is never answered"
            )

    def _wanted(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if self._in_a_row >= GIVE_UP:
                return
            line = self._journal.get(record.id)
            if record.url and not _known(line, self._folder, self._limits, self._skip):
                yield record
            else:
                self._given = self._given or (record.url if line and "picture" in line else "")
                self._step()

    async def _fetched(self, pool: Any, url: str, patience: float) -> tuple[bytes, Any]:
        """The bytes at an address and what they are; spoilt ones are asked for again, as some servers send a page that
        says 'just a moment', or half a file, with status 200."""
        from chatgenbench.build import imagecheck, netguard

        if self._classifier is None:
            self._classifier = Classifier()
        loop = asyncio.get_running_loop()
        for attempt in range(1, LOOKS + 1):
            data = await netguard.fetch(pool, url, patience)
            seen = await loop.run_in_executor(self._workers, imagecheck.look, data, self._classifier)
            if not isinstance(seen, str) or seen not in SPOILT:
                break
            if attempt < LOOKS:
                await asyncio.sleep(patience * attempt)
        return data, seen

    def _settle(self, record: Record, data: bytes, seen: Any) -> None:
        if isinstance(seen, str):
            self._note(record, {"reason": seen})
        elif seen.nsfw > self._limits.nsfw_threshold:
            self._note(record, {"reason": "picture-nsfw", "nsfw": seen.nsfw})
        else:
            sha256 = hashlib.sha256(seen.data).hexdigest()
            picture = self._keep(seen.data, f"{sha256[:2]}/{sha256}.{seen.suffix}")
            self._given = record.url
            self._note(
                record,
                {"picture": picture, "sha256": sha256, "original": hashlib.sha256(data).hexdigest(),
                 "phash": seen.phash, "nsfw": seen.nsfw, "width": seen.width, "height": seen.height},
            )  # fmt: skip

    def _keep(self, data: bytes, name: str) -> str:
        """Store a picture, between two awaits, so that nobody else writes the same file meanwhile."""
        if not (self._folder / name).exists():
            write_whole(self._folder / name, data)
        return f"{self._folder.name}/{name}"

    def _note(self, record: Record, line: dict[str, Any]) -> None:
        self._journal.append({"id": record.id, **line})
        self._in_a_row = 0
        self._step()

    def _step(self) -> None:
        self._settled += 1
        self._tick("pictures", self._settled, None)


def _known(line: dict[str, Any] | None, folder: Path, limits: Limits, skip: bool) -> bool:
    """Whether nothing is left to fetch for a record with this line of the journal."""
    if line is None:
        return False
    if line.get("reason") == "picture-unanswered":
        return skip
    if line.get("reason") == "picture-nsfw":
        return bool(line["nsfw"] > limits.nsfw_threshold)
    return "reason" in line or (folder.parent / line["picture"]).is_file()


def _joined(record: Record, line: dict[str, Any] | None, threshold: float) -> Record | Drop:
    if line is None:
        raise InfraError(f"the picture of {record.id} was not fetched: type the same command again")
    if "reason" in line:
        return Drop(record.id, line["reason"])
    if line["nsfw"] > threshold:
        return Drop(record.id, "picture-nsfw")
    return record.model_copy(
        update={
            "picture": line["picture"], "picture_sha256": line["sha256"], "phash": line["phash"],
            "original_sha256": line.get("original", ""),
        }
    )  # fmt: skip
