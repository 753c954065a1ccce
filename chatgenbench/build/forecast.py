"""What collecting may take before anything was asked: bounds from the query, and from what is stored already."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from chatgenbench.build.collect import Query, images, models
from chatgenbench.build.funnel import Count
from chatgenbench.build.store import RawStore
from chatgenbench.build.walk import IMAGES_A_PAGE, MODELS_A_PAGE, versions_of
from chatgenbench.errors import InfraError

#: Versions that a model is taken to have at most, and bytes of a picture: stated rules, for forecasts only.
VERSIONS_A_MODEL, PICTURE_BYTES = 5, 1_500_000


@dataclass(frozen=True)
class Forecast:
    """Bounds (fewest, most); the most is None where the query sets no bound.

    `requests` are those of the whole collection, of which `stored` are answered; `whole` when nothing is left to ask.
    `versions` is the number of model versions once the list of models is stored.
    """

    requests: tuple[int, int | None]
    pictures: int | None
    stored: int
    whole: bool
    versions: int | None = None


def forecast(store: RawStore, query: Query) -> Forecast:
    """What `collect` would still have to do; asks nobody."""
    stored = sum(1 for _ in store)
    try:
        versions = len(versions_of(models(store, query), query))
    except InfraError:
        requests, pictures = _bounds(query, None)
        return Forecast(requests, pictures, stored, False)
    try:
        found = sum(1 for _ in images(store, query, Count()))
    except InfraError:
        requests, pictures = _bounds(query, versions)
        return Forecast(requests, pictures, stored, False, versions)
    return Forecast((stored, stored), found, stored, True, versions)


def _bounds(query: Query, versions: int | None) -> tuple[tuple[int, int | None], int | None]:
    """(fewest, most) requests, and the most pictures.

    Every version is asked for a page at least, unless `max_images` is reached before; the list of models comes first.
    """
    fewest_versions, most_versions = versions, versions
    lists = ceil(query.max_models / MODELS_A_PAGE) if query.max_models else None
    if versions is None and query.max_models is not None:
        fewest_versions, most_versions = 1, query.max_models * VERSIONS_A_MODEL
    pages = fewest_versions or 1
    most = None if most_versions is None else most_versions * ceil(query.images_per_model / IMAGES_A_PAGE)
    pictures = None if most_versions is None else most_versions * query.images_per_model
    if query.max_images is not None:
        pages = min(pages, ceil(query.max_images / min(IMAGES_A_PAGE, query.images_per_model)))
        pictures = min(query.max_images, pictures) if pictures is not None else query.max_images
    requests = (1 + pages, None if most is None or lists is None else lists + most)
    return requests, pictures
