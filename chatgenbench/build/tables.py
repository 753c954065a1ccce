"""The dataset as Parquet, one file a split, one row a freestyle input, with the features of the `datasets` library."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from chatgenbench.build.contents import Chat, Provenance
from chatgenbench.errors import InfraError
from chatgenbench.schema import Demonstration

#: Splits as the Hugging Face hub may name them.
SPLITS = {"train": "train", "supervised": "supervised", "few-shot": "few_shot"}
#: Rows held in memory and written as one row group; pictures make rows heavy.
GROUP = 200


def features() -> Any:
    """The `datasets.Features` of a row; a demonstration without a chat has an empty `id` and no messages."""
    from datasets import Features, Image, List, Value  # type: ignore[import-untyped]

    text, number = Value("string"), Value("int64")
    message = {"role": text, "text": text, "images": List(text)}
    return Features(
        {
            "id": text, "demonstration": text, "kind": text, "messages": List(message),
            "reference_pictures": List(Image()), "prompt": text, "negative_prompt": text, "prompt_sha256": text,
            "model": text, "sampler": text, "steps": number, "cfg_scale": Value("float64"), "width": number,
            "height": number, "seed": number, "clip_skip": number, "lora_weight": Value("float64"),
            "picture": Image(), "picture_sha256": text, "base_model": text, "page": text, "licence": text,
            "attribution": text, "persona": text, "style": text,
        }
    )  # fmt: skip


def file_of(split: str) -> str:
    """Path of a split's file in the dataset."""
    return f"data/{SPLITS[split]}-00000-of-00001.parquet"


class Tables:
    """Writes the rows of all splits side by side.  `rows` counts them by split."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self._folder = folder
        self._schema = features().arrow_schema
        (folder / "data").mkdir()
        self._writers = {
            split: pq.ParquetWriter(folder / file_of(split), self._schema, compression="zstd", version="2.6")
            for split in SPLITS
        }
        self._waiting: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self.rows: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for split, writer in self._writers.items():
            if kind is None:
                self._flush(split)
            writer.close()

    def add(self, demonstration: Demonstration, record: Provenance, chat: Chat | None) -> None:
        """One row: a demonstration with one of its chats, or without any."""
        split = demonstration.split
        self._waiting[split].append(self._row(demonstration, record, chat))
        self.rows[split] += 1
        if len(self._waiting[split]) == GROUP:
            self._flush(split)

    def _flush(self, split: str) -> None:
        import pyarrow as pa

        rows, self._waiting[split] = self._waiting[split], []
        if rows:
            self._writers[split].write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def _row(self, demonstration: Demonstration, record: Provenance, chat: Chat | None) -> dict[str, Any]:
        plan = demonstration.plan
        images = chat.input.images if chat else ()
        references = [self._image(path) for path in images]
        return {
            "id": chat.id if chat else "", "demonstration": demonstration.id, "kind": chat.input.kind if chat else "",
            "messages": [message.model_dump(mode="json") for message in chat.input.messages] if chat else [],
            "reference_pictures": [image for image in references if image],
            "prompt": plan.prompt, "negative_prompt": plan.negative_prompt, "prompt_sha256": record.prompt_sha256,
            "model": plan.model, **plan.arguments.model_dump(),
            "picture": self._image(demonstration.picture), "picture_sha256": demonstration.picture_sha256,
            "base_model": record.base_model, "page": record.page, "licence": record.licence,
            "attribution": record.attribution, "persona": chat.persona if chat else "",
            "style": chat.style if chat else "",
        }  # fmt: skip

    def _image(self, path: str) -> dict[str, Any] | None:
        """Bytes and name of a picture that is in the dataset, else None."""
        file = self._folder / path
        if not path or not file.is_file():
            return None
        try:
            return {"bytes": file.read_bytes(), "path": file.name}
        except OSError as error:
            raise InfraError(f"cannot read {file}: {error.strerror}") from error
