"""Import of the paper's released data, as far as its layout is known.

Known, from the paper's figures and the dataset's page: arguments hold the keys sampler, steps, cfg_scale, width and
height, the last two as text; models go by file stem or version name; inputs are single, multimodal or history; figures
print an answer as lines `Prompt: ...`, `Model: NAME. description`, `Arguments: {...}`.

Guessed, because no file of inputs could be read: every other name below.  Rows may be JSON, JSON lines or Parquet, a
list or a mapping that holds lists; the chat may be text, a list of turns, or a conversation whose last turn is the
answer; `images` are taken for the chat's reference pictures, the names in `PICTURE` for the picture that a person made;
the split comes from the path of the file and the key of its list (`few` = few-shot, `train` = train, else supervised).
Archives are to be unpacked first.

Nothing is made up: what cannot be read is counted by reason.  The models' files, checksums and licences are unknown, so
such a benchmark can be scored on its plans, and drawn by nobody.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chatgenbench.benchmark import Manifest
from chatgenbench.build.draft import draft_of, line_of, real, write_sums
from chatgenbench.build.workspace import pretty
from chatgenbench.errors import UserError, shorten
from chatgenbench.schema import (
    ARGUMENT_KEYS,
    Arguments,
    Demonstration,
    Item,
    Licence,
    Message,
    ModelRecord,
    Plan,
    digest_of,
)

#: Names of fields (guessed unless said above), the first that a row has counts.
CHAT = ("input", "messages", "freestyle_input", "question", "query", "conversations")
PROMPT, NEGATIVE, MODEL = ("prompt", "positive_prompt"), ("negativePrompt", "negative_prompt"), ("model", "model_name")
ARGUMENTS, ANSWER = ("arguments", "args", "config"), ("output", "answer", "response", "gt")
REFERENCES, PICTURE = ("images", "image", "input_images"), ("picture", "target_image", "gt_image", "output_image")
#: Who speaks, by the words that tools use.
USERS, SYSTEMS = frozenset({"user", "human"}), frozenset({"assistant", "gpt", "model", "bot"})
SUFFIXES = (".json", ".jsonl", ".parquet")
PIXELS = 40_000_000
_MARK = re.compile(r"<image>|<img>.*?</img>", re.IGNORECASE | re.DOTALL)
_ANSWER = re.compile(r"Prompt:\s*(.*?)\s*Model:\s*(.*?)\s*Arguments:\s*(\{.*?\})", re.DOTALL)


class _Unreadable(Exception):
    """A row that cannot be read; its text is a short fixed reason."""


def import_authors(source: Path, out: Path) -> dict[str, Any]:
    """Write the benchmark folder `out` from a file or folder of the released data.

    Returns:
        Rows `seen` and `kept`, those `dropped` by reason, and how many `items`, `demonstrations` and `models` came of
        them.

    Raises:
        UserError: nothing to read, no row of it can be read, or `out` is taken, holds the source or lies in it.
        InfraError: the disk refuses.
    """
    files = _files(source)
    _check_apart(source, out)
    with draft_of(out) as draft:
        found = _Import(source if source.is_dir() else source.parent, draft)
        for path in files:
            for key, row in _rows(path):
                found.add(row, _split(f"{path.relative_to(found.root).as_posix()} {key}"))
        found.finish(source)
    return {
        "seen": found.seen, "kept": found.seen - found.dropped.total(), "dropped": dict(sorted(found.dropped.items())),
        "items": len(found.items), "demonstrations": len(found.demonstrations), "models": len(found.models),
    }  # fmt: skip


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise UserError(f"{source} is not there: give a file or folder of the released dataset")
    every = [source] if source.is_file() else sorted(source.rglob("*"))
    found = [path for path in every if path.is_file() and path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f"{source} holds no {', '.join(SUFFIXES)} file: unpack the dataset's archives first")
    return found


def _check_apart(source: Path, out: Path) -> None:
    here, there = real(source), real(out)
    if here.is_relative_to(there) or (here.is_dir() and there.is_relative_to(here)):
        raise UserError(f"--out {out} is the source, holds it or lies in it: choose another place")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of one file, each with the key of the list it stands in ("" without one).

    Raises:
        UserError: it is not what its suffix says.
    """
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(path).iter_batches(batch_size=100):
                yield from (("", row) for row in batch.to_pylist())
        elif path.suffix.lower() == ".jsonl":
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from (("", _parsed(line)) for line in file if line.strip())
        else:
            yield from _listed(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {shorten(str(error), 160)}") from None


def _parsed(line: str) -> Any:
    """One line of JSON; None, which is no row, when it is not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _listed(value: Any) -> list[tuple[str, Any]]:
    """The rows of a JSON file: a list, every list of objects in a mapping, or else the one value it holds."""
    if isinstance(value, list):
        return [("", row) for row in value]
    lists = {key: held for key, held in value.items() if _is_table(held)} if isinstance(value, Mapping) else {}
    if not lists or any(name in value for name in CHAT):
        return [("", value)]
    return [(key, row) for key, held in lists.items() for row in held]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _split(name: str) -> str:
    """The split that a path or key speaks of."""
    name = name.lower()
    return "few-shot" if "few" in name else "train" if "train" in name else "supervised"


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


class _Import:
    """Rows becoming items; equal plans of one split are one demonstration."""

    def __init__(self, root: Path, draft: Path) -> None:
        self.root, self.draft = root, draft
        self.seen = 0
        self.dropped: Counter[str] = Counter()
        self.models: dict[str, ModelRecord] = {}
        self.demonstrations: dict[str, Demonstration] = {}
        self.items: dict[str, Item] = {}

    def add(self, row: Any, split: str) -> None:
        """Read one row, or count why it cannot be read."""
        self.seen += 1
        try:
            if not isinstance(row, Mapping):
                raise _Unreadable("not-an-object")
            self._add(row, split)
        except _Unreadable as reason:
            self.dropped[str(reason)] += 1
        except (ValidationError, UnicodeEncodeError):  # half of a surrogate pair, which no file can hold
            self.dropped["bad-text"] += 1

    def _add(self, row: Mapping[str, Any], split: str) -> None:
        chat = _chat(row)
        prompt, model, arguments = _answer(row, chat)
        if not chat:
            raise _Unreadable("no-input")
        plan = _plan(prompt, _first(row, NEGATIVE), arguments)
        images = [] if split == "train" else [self._picture(image) for image in _list(_first(row, REFERENCES))]
        picture = self._gold(row)
        plan = plan.model_copy(update={"model": self._model(model)})
        name = f"{split}-{digest_of([plan.model_dump(mode='json'), picture])[:16]}"
        if split == "train":
            self._demonstrate(name, plan, picture, split)
            return
        messages = [*chat[:-1], chat[-1].model_copy(update={"images": tuple(images)})]
        turns = sum(message.role == "user" for message in messages)
        kind = "history" if turns > 1 else "multimodal" if images else "single"
        self._item(name, split, kind, messages, (plan, picture))

    def _item(
        self, name: str, split: str, kind: str, messages: list[Message], gold: tuple[Plan, tuple[str, str]]
    ) -> None:
        told = [message.model_dump(mode="json") for message in messages]
        key = f"{split}-{digest_of([name, told])[:16]}"
        if key in self.items:
            raise _Unreadable("repeated")
        item = Item.model_validate(
            {"id": key, "input": {"id": key, "kind": kind, "messages": told}, "demonstration": name, "split": split}
        )
        self._demonstrate(name, *gold, split)
        self.items[key] = item

    def _demonstrate(self, name: str, plan: Plan, picture: tuple[str, str], split: str) -> None:
        self.demonstrations.setdefault(
            name,
            Demonstration.model_validate(
                {"id": name, "plan": plan, "picture": picture[0], "picture_sha256": picture[1], "split": split,
                 "source": "ChengyouJia/ChatGenBench", "licence": "NOASSERTION", "attribution": ""}
            ),
        )  # fmt: skip

    def _model(self, told: Any) -> str:
        """The catalog id of a model, by its name alone; text after `NAME. ` is its description."""
        if not isinstance(told, str) or not told.strip():
            raise _Unreadable("no-model")
        told.encode()  # it is written at the end, when no row can be dropped any more
        name, _, description = told.strip().partition(". ")
        if len(name) > 400:
            raise _Unreadable("bad-model")
        known = self.models.get(_key(name))
        if known is None or (description and not known.description):
            known = ModelRecord(
                id=known.id if known else name, name=name, file_stem=name, type="checkpoint", base_model="not stated",
                description=description.strip()[:2000], sha256="", files={}, licence=Licence(spdx="NOASSERTION"),
            )  # fmt: skip
            self.models[_key(name)] = known
        return known.id

    def _gold(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Path and sha256 of the picture that a person made; empty when the row tells none."""
        told = _first(row, PICTURE)
        if told is None:
            return "", ""
        path = self._picture(told)
        return path, Path(path).stem

    def _picture(self, told: Any) -> str:
        """Copy a picture into the draft: a path under the source, or bytes as Parquet holds them."""
        data = told.get("bytes") if isinstance(told, Mapping) else None
        if data is None:
            data = self._read(told.get("path") if isinstance(told, Mapping) else told)
        if not isinstance(data, bytes):
            raise _Unreadable("bad-picture")
        suffix = _suffix(data)
        digest = hashlib.sha256(data).hexdigest()
        path = f"pictures/{digest[:2]}/{digest}.{suffix}"
        (self.draft / path).parent.mkdir(parents=True, exist_ok=True)
        (self.draft / path).write_bytes(data)
        return path

    def _read(self, told: Any) -> bytes:
        if not isinstance(told, str):
            raise _Unreadable("bad-picture")
        try:
            path = (self.root / told).resolve()
            if Path(told).is_absolute() or not path.is_relative_to(self.root.resolve()):
                raise _Unreadable("picture-outside")
            if not path.is_file():  # nor a pipe, which would be waited for
                raise _Unreadable("picture-missing")
            return path.read_bytes()
        except (OSError, ValueError, RuntimeError):  # a name with NUL or without end, a loop of links
            raise _Unreadable("picture-missing") from None

    def finish(self, source: Path) -> None:
        """Write the benchmark's files."""
        if not self.items:
            told = ", ".join(f"{reason} {number}" for reason, number in self.dropped.most_common(5)) or "no rows"
            raise UserError(f"no item could be read from {source} ({told}): is it the released dataset?")
        pictures = self._drop_without_picture()
        manifest = Manifest(
            name="chatgenbench-import", version="1", label="import of the paper's released layout, as far as known",
            licence="as the dataset's page states", default_model=self._default_model(), few_shot_threshold=0,
            pictures=pictures,
        )  # fmt: skip
        (self.draft / "benchmark.json").write_bytes(pretty(manifest.model_dump(mode="json")))
        parts: dict[str, Mapping[str, Any]] = {
            "catalog": self.models, "demonstrations": self.demonstrations, "items": self.items,
        }  # fmt: skip
        for name, nouns in parts.items():
            lines = (line_of(nouns[key]) + b"\n" for key in sorted(nouns))
            (self.draft / f"{name}.jsonl").write_bytes(b"".join(lines))
        write_sums(self.draft)

    def _drop_without_picture(self) -> bool:
        """Where some items have a picture to be compared with, drop the others; whether those that stay have one."""
        bare = {key for key, item in self.items.items() if not self.demonstrations[item.demonstration].picture}
        if len(bare) == len(self.items):
            return False
        for key in bare:
            self.demonstrations.pop(self.items.pop(key).demonstration, None)
            self.dropped["no-picture"] += 1
        return True

    def _default_model(self) -> str:
        """The commonest model of train (of all, without train); of equals, the first id."""
        every = list(self.demonstrations.values())
        counts = Counter(d.plan.model for d in [d for d in every if d.split == "train"] or every)
        return min(counts, key=lambda model: (-counts[model], model))


def _key(name: str) -> str:
    """Names that the catalog takes for the same."""
    return re.sub(r"\.(safetensors|ckpt|pt)$", "", name.strip().casefold())


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _chat(row: Mapping[str, Any]) -> list[Message]:
    """The turns of the chat up to the person's last one; none when there is nothing that can be read."""
    told = _first(row, CHAT)
    turns = [{"role": "user", "content": told}] if isinstance(told, str) else _list(told)
    found = [message for turn in turns if (message := _message(turn)) is not None]
    while found and found[-1].role != "user":
        found.pop()
    return found


def _message(turn: Any) -> Message | None:
    if isinstance(turn, str):
        turn = {"role": "user", "content": turn}
    if not isinstance(turn, Mapping):
        return None
    role = str(_first(turn, ("role", "from")) or "user").lower()
    text = _first(turn, ("text", "content", "value"))
    if not isinstance(text, str) or role not in USERS | SYSTEMS:
        return None
    clean = _MARK.sub("", text).strip()
    try:
        return Message(role="user" if role in USERS else "assistant", text=clean) if clean else None
    except ValidationError:
        return None


def _answer(row: Mapping[str, Any], chat: list[Message]) -> tuple[Any, Any, Any]:
    """Prompt, model and arguments: fields of their own, or lines of one answer."""
    if _first(row, PROMPT) is not None:
        return _first(row, PROMPT), _first(row, MODEL), _first(row, ARGUMENTS)
    told = _first(row, ANSWER)
    if told is None:
        turns = _list(_first(row, ("conversations", "messages")))
        last = turns[-1] if turns and isinstance(turns[-1], Mapping) else {}
        told = _first(last, ("text", "content", "value"))
    found = _ANSWER.search(told) if isinstance(told, str) else None
    if found is None:
        raise _Unreadable("no-prompt")
    return found[1], found[2], found[3]


def _plan(prompt: Any, negative: Any, told: Any) -> Plan:
    """A plan with the five arguments and no model yet; other arguments that a row holds are passed over."""
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            raise _Unreadable("bad-arguments") from None
    if not isinstance(told, Mapping):
        raise _Unreadable("no-arguments")
    try:
        arguments = Arguments.model_validate({key: told[key] for key in ARGUMENT_KEYS if key in told})
    except ValidationError:
        raise _Unreadable("bad-arguments") from None
    try:
        return Plan(prompt=prompt, negative_prompt=negative or "", model="-", arguments=arguments)
    except ValidationError:
        raise _Unreadable("bad-prompt") from None


def _suffix(data: bytes) -> str:
    """What kind of picture these bytes are, by their header."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > PIXELS:
                raise _Unreadable("picture-too-large")
            return {"PNG": "png", "JPEG": "jpg"}.get(str(image.format), "webp")
    except (OSError, ValueError, Image.DecompressionBombError):
        raise _Unreadable("bad-picture") from None
