"""Pictures of some rows, decoded once and prepared once for all metrics that look at them.  Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from PIL import Image

from t2imetrics._images import open_rgb
from t2imetrics.errors import ImageError

T = TypeVar("T")

#: A frozen, hashable preprocessing: RGB picture -> float32 (3, height, width).
How = Callable[[Image.Image], torch.Tensor]


class Batch:
    """Some rows' pictures; whatever is made of them is made once and shared.

    Args:
        images: decoded pictures in RGB.
        pixels: tensors (n, 3, h, w) that were prepared already, by preprocessing.
    """

    def __init__(self, images: Sequence[Image.Image], pixels: dict[How, torch.Tensor] | None = None) -> None:
        self.images = list(images)
        self._made: dict[Hashable, Any] = dict((pixels or {}).items())

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, how: How) -> torch.Tensor:
        """Every picture through `how`: float32 (n, 3, h, w) on the CPU."""
        return self.once(how, lambda: torch.stack([how(image) for image in self.images]))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave the first time it was asked for under `key`."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


def prepared(pictures: Sequence[Any], size: int, hows: Sequence[How], workers: int) -> Iterator[tuple[int, Batch]]:
    """Open `pictures` in batches of `size`, one batch ahead of the reader.

    Threads decode and preprocess (PIL and torch let go of the interpreter there); at most two batches are in memory.
    What a picture becomes does not depend on `workers`.

    Args:
        pictures: paths, bytes, file objects or PIL images.
        hows: preprocessings that every batch will be asked for.
        workers: threads; 0 does all in the caller's.

    Yields:
        (first row, batch), in order.

    Raises:
        ImageError: a picture that cannot be opened; the message names its row.
    """
    spans = [(start, min(start + size, len(pictures))) for start in range(0, len(pictures), size)]
    if workers == 0:
        for first, end in spans:
            yield first, _collect([_prepare(found, row, hows) for row, found in _settled(pictures, first, end)], hows)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: list[tuple[int, list[Future[_Prepared]]]] = []
        try:
            for first, end in spans:
                settled = _settled(pictures, first, end)
                ahead.append((first, [pool.submit(_prepare, found, row, hows) for row, found in settled]))
                if len(ahead) > 1:
                    yield _wait(*ahead.pop(0), hows)
            while ahead:
                yield _wait(*ahead.pop(0), hows)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_Prepared = tuple[Image.Image, list[torch.Tensor]]


def _settled(pictures: Sequence[Any], first: int, end: int) -> Iterator[tuple[int, Any]]:
    """Rows `first` to `end` with pictures that threads can open at once, though several rows may share one file.

    An open file, or an image PIL has not read yet, has one position in its file: it is read here, in the caller's
    thread, once.
    """
    seen: dict[int, tuple[Any, Any]] = {}  # the object is kept beside what it gave, so that its id stays its own
    for row in range(first, end):
        picture = pictures[row]
        if id(picture) not in seen:
            seen[id(picture)] = picture, _settle(picture)
        yield row, seen[id(picture)][1]


def _settle(picture: Any) -> Any:
    try:
        if isinstance(picture, Image.Image):
            picture.load()
        elif hasattr(picture, "read"):
            if hasattr(picture, "seek"):
                picture.seek(0)
            return bytes(picture.read())
    except Exception as error:  # told with its row, in order, by `_prepare`
        return error
    return picture


def _prepare(picture: Any, row: int, hows: Sequence[How]) -> _Prepared:
    if isinstance(picture, Exception):
        raise ImageError(row, str(picture) or type(picture).__name__)
    image = open_rgb(picture, row)
    try:
        return image, [how(image) for how in hows]
    except ValueError as error:  # a shape that a preprocessing refuses
        raise ImageError(row, str(error)) from None


def _wait(first: int, futures: Sequence[Future[_Prepared]], hows: Sequence[How]) -> tuple[int, Batch]:
    return first, _collect([future.result() for future in futures], hows)


def _collect(rows: Sequence[_Prepared], hows: Sequence[How]) -> Batch:
    pixels = {how: torch.stack([tensors[i] for _, tensors in rows]) for i, how in enumerate(hows)}
    return Batch([image for image, _ in rows], pixels)
