"""The last stage: a folder that is a benchmark, a Hugging Face dataset, and says what it is made of.

    benchmark.json catalog.jsonl demonstrations.jsonl items.jsonl pictures/    what `chatgenbench eval` reads
    train_inputs.jsonl    chats of training demonstrations (`--with-train`), what `chatgenbench train` reads besides
    records.jsonl    provenance of the demonstrations: page, licence, hashes of prompt and picture
    chats.jsonl      every freestyle input with persona, style, language model, request, response id and seed
    data/            the same as Parquet, one row per freestyle input
    build.json leaks.json README.md DATASHEET.md croissant.json funnel.svg SHA256SUMS

In the release form, prompts, pictures and addresses of records that are not ours to hand on are left out; their sha256
stays, so that `hydrate` can tell whether it brings back the same.  Equal input gives equal bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chatgenbench
from chatgenbench.benchmark import Manifest
from chatgenbench.build.contents import About, Chat, Form, Provenance, text_sha256
from chatgenbench.build.draft import changed, draft_of
from chatgenbench.build.records import Record
from chatgenbench.build.writer import Writer
from chatgenbench.errors import InfraError, UserError, shorten
from chatgenbench.schema import Demonstration, FreestyleInput, ModelRecord, Noun

NAME_LENGTH = 100


@dataclass(frozen=True)
class Built:
    """What the stages before made.

    Attributes:
        records: each with its split (`train`, `supervised`, `few-shot`); their pictures' paths start from `root`.
        inputs: freestyle inputs with their provenance, as nouns or mappings with the fields of `Chat`; others are
            passed over.  Their reference pictures are pictures of `records`.
        funnel: counters by stage (see `funnel.Count`).
        settings: what the build was asked for, without any secret.
        sources: (name, licence, attribution).
        created: the date of the build, as told; it is never taken from a clock.
        licence: of the dataset as a whole; "" lists the records' licences.
        contact: address for those who want to be left out.
    """

    name: str
    version: str
    label: str
    records: Iterable[tuple[Record, str]]
    catalog: Sequence[ModelRecord]
    inputs: Iterable[Noun | Mapping[str, Any]]
    funnel: Mapping[str, Mapping[str, Any]]
    leaks: Mapping[str, Any]
    settings: Mapping[str, Any]
    sources: Sequence[tuple[str, str, str]]
    created: str
    few_shot_threshold: int
    weights: str = "published"
    licence: str = ""
    contact: str = ""
    root: Path = field(default_factory=Path)


def check_name(name: str) -> None:
    """See that a dataset may be called so: 1 to 100 characters on one line; UserError otherwise."""
    if not name.strip():
        raise UserError("the dataset's name is empty: give one with --name")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise UserError(f"--name '{shorten(name, 40)}' must be at most {NAME_LENGTH} characters, all of them printable")


def publish(built: Built, folder: Path, form: Form = "release") -> None:
    """Write the dataset whole, in place of the one that `folder` may hold.

    Raises:
        UserError: no freestyle input belongs to a test demonstration, or `folder` holds something else.
        InfraError: the disk refuses, or a picture is missing.
    """
    about = About(
        name=built.name, version=built.version, label=built.label, licence=built.licence, created=built.created,
        contact=built.contact, weights=built.weights, few_shot_threshold=built.few_shot_threshold, form=form,
        made_with=f"chatgenbench {chatgenbench.__version__}", sources=tuple(built.sources),
        settings=dict(built.settings), funnel=dict(built.funnel),
    )  # fmt: skip
    parts = (_parts(record, split, form) for record, split in built.records)
    with draft_of(folder) as draft:
        writer = Writer(draft, about, built.catalog, built.leaks)
        writer.write(parts, map(_chat, built.inputs), lambda path: built.root / path)


def _chat(value: Noun | Mapping[str, Any]) -> Chat:
    """The chat of an accepted input; fields that are not published are passed over."""
    fields = value.model_dump() if isinstance(value, Noun) else dict(value)
    given = FreestyleInput.model_validate(fields["input"])
    known = {key: fields[key] for key in Chat.model_fields if fields.get(key) is not None}
    return Chat.model_validate({**known, "id": given.id, "input": given})


def _parts(record: Record, split: str, form: Form) -> tuple[Demonstration, Provenance]:
    """What is published of a record."""
    whole = form == "full" or record.redistributable
    attribution = record.attribution if whole else ""  # it may name a person whose work is not here
    plan = record.plan if whole else record.plan.model_copy(update={"prompt": "", "negative_prompt": ""})
    provenance = Provenance(
        id=record.id, source=record.source, page=_page(record.page), url=record.url if whole else "",
        base_model=record.base_model, prompt_sha256=text_sha256(record.plan.prompt),
        negative_prompt_sha256=text_sha256(record.plan.negative_prompt), picture_sha256=record.picture_sha256,
        licence=record.licence, attribution=attribution, redistributable=record.redistributable, whole=whole,
        creator=record.creator if form == "full" else "", level=record.level, approximated=record.approximated,
    )  # fmt: skip
    demonstration = Demonstration.model_validate(
        {
            "id": record.id, "plan": plan, "picture": record.picture, "picture_sha256": record.picture_sha256,
            "split": split, "source": provenance.page or record.source, "licence": record.licence,
            "attribution": attribution, "slices": {"base model": record.base_model},
        }
    )  # fmt: skip
    return demonstration, provenance


def _page(page: str) -> str:
    """The page of a record, unless its address names a person."""
    return "" if "/user/" in page or "@" in page else page.split("?")[0]


def check_push(repo: str, form: Form = "release") -> None:
    """See before any work is done that its result can be pushed to the dataset `repo`; asks no hub.

    Raises:
        UserError: no token, a name the hub would refuse, or a form that is for the builder's own use.
    """
    if form != "release":
        raise UserError("the full form is for your own use: push with --form release, or leave --push-to-hub out")
    _check_repo(repo)
    _token("HF_TOKEN")


def _check_repo(repo: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    if repo.count("/") != 1:
        raise UserError(f"'{shorten(repo, 80)}' is no name of a dataset: type OWNER/NAME")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"'{shorten(repo, 80)}' is no name of a dataset: {shorten(str(error), 160)}") from None


def _token(variable: str) -> str:
    """The token of the environment; for $HF_TOKEN, the one that `hf auth login` stored will do."""
    token = os.environ.get(variable, "").strip()
    if not token and variable == "HF_TOKEN":
        from huggingface_hub import get_token

        token = get_token() or ""
    if not token:
        raise UserError(f"no token to push with: put one in ${variable} (https://huggingface.co/settings/tokens)")
    return token


def push(folder: Path, repo_id: str, token_env: str = "HF_TOKEN", endpoint: str | None = None) -> str:
    """Upload a release to the Hugging Face hub, in place of what the dataset held; returns its address.

    `endpoint` is another hub's address.  What somebody asked to have removed disappears from the dataset's newest
    version; older versions of the repository still hold it and have to be squashed by hand.

    Raises:
        UserError: no token, a folder that is no published release or was changed since, a name the hub refuses.
        InfraError: the hub does not answer.
    """
    token = _token(token_env)
    _check_pushable(folder, repo_id)
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo_id, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            repo_id=repo_id, folder_path=folder, repo_type="dataset", delete_patterns="*",
            commit_message="Publish the dataset",
        )  # fmt: skip
    except (HfHubHTTPError, HFValidationError) as error:
        status = getattr(getattr(error, "response", None), "status_code", 400)
        kind = InfraError if status >= 500 or status == 429 else UserError
        raise kind(f"the hub refused '{shorten(repo_id, 80)}': {_told(error, token)}") from None
    except (OSError, RuntimeError, ValueError, HTTPError) as error:
        raise InfraError(f"cannot push '{shorten(repo_id, 80)}': {_told(error, token)}; try again") from None
    return f"{api.endpoint}/datasets/{repo_id}"


def _check_pushable(folder: Path, repo_id: str) -> None:
    _check_repo(repo_id)
    try:
        manifest = Manifest.model_validate_json((folder / "benchmark.json").read_bytes())
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no published dataset: run the build first") from None
    if manifest.form != "release":
        raise UserError(f"{folder} is in its full form, which is for your own use: publish with --form release")
    different = changed(folder)
    if different:
        raise UserError(f"{folder / different[0]} was changed since it was published: build again, then push")


def _told(error: Exception, token: str) -> str:
    return shorten(str(error).replace(token, "…"), 200)
