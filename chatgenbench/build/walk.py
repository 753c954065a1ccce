"""What to ask the hub next, and what its answers bring: the same for collecting and for reading the store again.

Nothing here touches the network or the disk, and nothing depends on when an answer came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chatgenbench.build import civitai, fields
from chatgenbench.build.funnel import Count
from chatgenbench.build.store import UNANSWERED, Answer, key_of
from chatgenbench.errors import UserError

#: So many pages with nothing new in a row end a list.
STALLED = 3
MODELS_A_PAGE, IMAGES_A_PAGE = 100, 200
_AHEAD = 16


@dataclass(frozen=True)
class Query:
    """What to collect.

    `max_models` and `max_images` bound the whole, `images_per_model` the pictures of each model version (a picture
    made with two of them counts for both).  With few pictures per model, `max_images` spreads over more models.
    """

    base_url: str = "https://civitai.com/api/v1"
    max_models: int | None = None
    max_images: int | None = None
    period: str = "AllTime"
    base_models: tuple[str, ...] = ()
    nsfw: str = "none"
    models_sort: str = "Most Downloaded"
    images_per_model: int = 200
    requests_per_second: float = 1.0
    concurrency: int = 4


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    params: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return key_of(self.path, self.params)


class _Pages:
    """How far a list was followed, and when to stop."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.done = False
        self._before: set[str] = set()
        self._stalled = 0

    def turn(self, page: civitai.Page, new: int, count: Count) -> None:
        """Go to the next page, if there is one worth asking for; `new` items of this one were new."""
        self._stalled = 0 if new else self._stalled + 1
        self.cursor = page.cursor
        if page.cursor is None or not page.items:
            self.done = True
        elif page.cursor in self._before:
            self.done = True
            count.noted["cursor-loop"] += 1
        elif self._stalled >= STALLED:
            self.done = True
            count.noted["nothing-new"] += 1
        else:
            self._before.add(page.cursor)

    def more(self) -> tuple[tuple[str, str], ...]:
        return (("cursor", self.cursor),) if self.cursor is not None else ()


class ModelWalk:
    """The list of models: what to ask next, what an answer brings."""

    def __init__(self, query: Query, count: Count) -> None:
        self._query, self._count = query, count
        self._pages = _Pages()
        self._ids: set[int] = set()

    def ask(self) -> Ask | None:
        """The next request; None at the end."""
        if self._pages.done:
            return None
        query = self._query
        params = [("limit", str(MODELS_A_PAGE)), ("nsfw", "false"), ("sort", query.models_sort)]
        params += [("types", kind) for kind in ("Checkpoint", "LORA")]
        params += [("baseModels", name) for name in query.base_models]
        return Ask("/models", (*params, ("period", query.period), *self._pages.more()))

    def take(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """The models of a page that did not come before."""
        if answer.status == UNANSWERED:
            self._count.noted["models-unanswered"] += 1
            self._pages.done = True
            return
        check_listed(answer)
        before = len(self._ids)
        page = civitai.page(answer.body, "models", self._count)
        for item in page.items:
            number = fields.integer(item.get("id"))
            if number is None or number in self._ids:
                self._count.noted["models-no-id" if number is None else "models-repeated"] += 1
                continue
            self._ids.add(number)
            civitai.drift("models", item, self._count)
            yield civitai.model(item, self._count)
            if len(self._ids) == self._query.max_models:
                self._pages.done = True
                return
        self._pages.turn(page, len(self._ids) - before, self._count)


class Feed:
    """The pictures of one model version."""

    def __init__(self, version: int, period: str) -> None:
        self.version, self._period = version, period
        self.pages = _Pages()
        self.ids: set[int] = set()

    def ask(self) -> Ask:
        params = [("modelVersionId", str(self.version)), ("limit", str(IMAGES_A_PAGE)), ("nsfw", "None")]
        params += [("withMeta", "true"), ("flatMeta", "true"), ("type", "image"), ("sort", "Most Reactions")]
        return Ask("/images", (*params, ("period", self._period), *self.pages.more()))

    def end(self) -> None:
        self.pages.done = True
        self.ids = set()


class ImageWalk:
    """Rounds over the versions.  Answers are taken in the order in which `batch` names their feeds."""

    def __init__(self, query: Query, versions: list[int], count: Count) -> None:
        self._query, self._count = query, count
        self._round = [Feed(version, query.period) for version in versions]
        self._at = 0
        self._ids: set[int] = set()
        # with a bound on the whole, what to ask next depends on what came: look no further ahead than necessary
        self._width = query.concurrency * (_AHEAD if query.max_images is None else 1)
        self.versions, self.finished = len(versions), 0

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def full(self) -> bool:
        return self._query.max_images is not None and len(self._ids) >= self._query.max_images

    def batch(self) -> list[Feed]:
        """Feeds to ask for a page each; their answers do not depend on one another.  Empty at the end."""
        if self.full:
            return []
        if self._at >= len(self._round):
            self._round = [feed for feed in self._round if not feed.pages.done]
            self._at = 0
        found = self._round[self._at : self._at + self._width]
        self._at += self._width
        return found

    def take(self, feed: Feed, answer: Answer) -> Iterator[dict[str, Any]]:
        """The pictures of a page that did not come before."""
        if answer.status != 200:
            unanswered = answer.status == UNANSWERED
            self._count.noted["unanswered" if unanswered else f"refused:{answer.status}"] += 1
            feed.pages.done = True
        else:
            yield from self._new(feed, civitai.page(answer.body, "images", self._count))
        if feed.pages.done:
            feed.end()
            self.finished += 1

    def _new(self, feed: Feed, page: civitai.Page) -> Iterator[dict[str, Any]]:
        before = len(feed.ids)
        for item in page.items:
            if self.full:
                return
            number = self._number(feed, item)
            if number is None:
                continue
            feed.ids.add(number)
            if number in self._ids:
                self._count.noted["other-version"] += 1
            else:
                self._ids.add(number)
                civitai.drift("images", item, self._count)
                yield civitai.image(item, feed.version)
            if len(feed.ids) == self._query.images_per_model:
                feed.pages.done = True
                return
        feed.pages.turn(page, len(feed.ids) - before, self._count)

    def _number(self, feed: Feed, item: dict[str, Any]) -> int | None:
        """The id of a picture that is of this version and new to it, else None."""
        number = fields.integer(item.get("id"))
        versions = item.get("modelVersionIds")
        if number is None:
            self._count.noted["no-id"] += 1
        elif isinstance(versions, list) and versions and feed.version not in map(fields.integer, versions):
            self._count.noted["foreign"] += 1
        elif number in feed.ids:
            self._count.noted["repeated"] += 1
        else:
            return number
        return None


def check_listed(answer: Answer) -> None:
    """Without the list of models there is nothing to go on with."""
    if answer.status != 200:
        said = civitai.reason(answer.body) or f"status {answer.status}"
        raise UserError(f"the API refuses to list models ({said}): check --base-model, --period and $CIVITAI_API_TOKEN")


def versions_of(bodies: Iterable[dict[str, Any]], query: Query) -> list[int]:
    return in_order([place for number, body in enumerate(bodies) for place in places_of(body, number, query)])


def places_of(body: dict[str, Any], number: int, query: Query) -> list[tuple[int, int, int]]:
    """(rank among the model's versions, number of the model, version id) of each version to ask pictures of."""
    ids = [
        fields.integer(version.get("id"))
        for version in fields.items(body.get("modelVersions"))
        if not query.base_models or version.get("baseModel") in query.base_models
    ]
    return [(rank, number, version) for rank, version in enumerate(ids) if version is not None]


def in_order(places: list[tuple[int, int, int]]) -> list[int]:
    """First versions of all models, then second ones, and so on: a bound on the whole leaves out no model."""
    return list(dict.fromkeys(version for _, _, version in sorted(places)))
