"""The voting booth: what a voter is asked next, and what becomes of the answer.  Knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

from chatgenbench.compare.ballots import CHOICES, Book, Choice, Votable, Vote, VotesFile, left_side, order
from chatgenbench.compare.pairing import Match, Pair
from chatgenbench.errors import UserError
from chatgenbench.render.pool_picture import PictureFile
from chatgenbench.report.data import benchmark_picture


class StaleBallotError(UserError):
    """A vote on a pair that is not the one this voter is asked about."""


@dataclass
class Voter:
    """The items of one voter in their order, and those voted on, oldest first."""

    order: list[str]
    done: list[str] = field(default_factory=list)

    @property
    def next(self) -> str | None:
        done = set(self.done)
        return next((item for item in self.order if item not in done), None)


class Booth:
    """Hands out pairs under names that tell nothing, and writes votes down before they count.

    Safe for several threads.  Names of pictures and ballots are keyed digests with a key of this process.
    """

    def __init__(self, match: Match, asked: Votable, votes: VotesFile, book: Book) -> None:
        self.match, self._votes, self._book = match, votes, book
        self._pairs = {pair.item.id: pair for pair in asked.pairs}
        self._key, self._lock = secrets.token_bytes(32), threading.Lock()
        self._files: dict[str, PictureFile] = {}
        self._voters: dict[str, Voter] = {}
        for vote in votes.current()[0]:
            if vote.item in self._pairs:
                self._voter(vote.voter).done.append(vote.item)

    def state(self, voter: str) -> dict[str, Any]:
        """What the page of this voter shows."""
        with self._lock:
            return self._state(voter)

    def vote(self, voter: str, ballot: str, choice: str, seconds: float | None) -> dict[str, Any]:
        """Write one vote down and return the new state.

        Raises:
            UserError: no such choice.
            StaleBallotError: the voter is asked about another pair by now, say in another tab.
            InfraError: the disk refuses; the vote does not count.
        """
        if choice not in CHOICES:
            raise UserError(f"choose one of {', '.join(CHOICES)}")
        with self._lock:
            item = self._voter(voter).next
            if item is None or not hmac.compare_digest(self._name("ballot", voter, item), ballot):
                raise StaleBallotError("this pair has been voted on already")
            self._book.vote(self._made(voter, item, choice), seconds)
            self._voter(voter).done.append(item)
            return self._state(voter)

    def undo(self, voter: str) -> dict[str, Any]:
        """Take back this voter's last vote, which is then asked again."""
        with self._lock:
            done = self._voter(voter).done
            if done:
                self._book.undo(voter, done[-1])
                done.pop()
            return self._state(voter)

    def picture(self, name: str) -> bytes | None:
        """The pixels behind a name as a PNG without the text that says who drew it; None for an unknown name."""
        path = self._files.get(name)
        return None if path is None else _bare_png(path)

    @property
    def counted(self) -> int:
        return sum(len(voter.done) for voter in self._voters.values())

    def _made(self, voter: str, item: str, choice: Choice) -> Vote:
        return Vote(voter, item, choice, left_side(voter, item), self._votes.pictures(item))

    def _voter(self, name: str) -> Voter:
        if name not in self._voters:
            self._voters[name] = Voter(order(name, self._pairs))
        return self._voters[name]

    def _state(self, name: str) -> dict[str, Any]:
        voter = self._voter(name)
        item = voter.next
        ballot = None if item is None else self._ballot(name, self._pairs[item])
        return {"voter": name, "done": len(voter.done), "total": len(voter.order), "ballot": ballot}

    def _ballot(self, voter: str, pair: Pair) -> dict[str, Any]:
        item = pair.item.id
        files = {"a": self.match.a.drawn(pair.a), "b": self.match.b.drawn(pair.b)}
        left = left_side(voter, item)
        right = "b" if left == "a" else "a"
        return {
            "id": self._name("ballot", voter, item),
            "left": self._address(files[left], "left", voter, item),
            "right": self._address(files[right], "right", voter, item),
            "messages": [
                {"role": message.role, "text": message.text, "pictures": [
                    self._address(path, "chat", voter, item, name) for name in message.images
                    if (path := benchmark_picture(self.match.benchmark, name)) is not None and path.is_file()
                ]}
                for message in pair.item.input.messages
            ],
        }  # fmt: skip

    def _address(self, path: PictureFile | None, *about: str) -> str:
        name = self._name(*about)
        if path is not None:
            self._files[name] = path
        return f"/picture/{name}"

    def _name(self, *about: str) -> str:
        return hmac.new(self._key, "\0".join(about).encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


def _bare_png(path: PictureFile) -> bytes | None:
    """The picture's pixels and nothing else: drawn pictures carry prompt and model in a text chunk."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            clean = Image.new("RGB", image.size)
            clean.paste(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    clean.save(buffer, format="PNG")
    return buffer.getvalue()
