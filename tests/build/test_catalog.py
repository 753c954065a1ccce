"""Recorded models as a catalog, and pictures of the hub as demonstrations."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build import catalog, versions
from chatgenbench.build.catalog import Hub, pairs_of, to_record
from chatgenbench.build.funnel import Count
from chatgenbench.build.records import Drop, Record, Resource

RECORDED = Path(__file__).parent.parent / "data" / "civitai"
PONY, DETAIL, FIGMA = "civitai:257749@290640", "civitai:122359@135867", "civitai:7984@9413"


def recorded() -> list[dict[str, Any]]:
    page = json.loads((RECORDED / "Stepwisecliche__civitai-api/api_responses.json").read_bytes())
    old = ("OwenTruong__civitdl/model_dict-example.3615b385.json", "invoke-ai__InvokeAI/RepoCivitaiModelMetadata1.json")
    more = [json.loads((RECORDED / name).read_bytes()) for name in old]
    return [*page["models_list_page1"]["items"], page["model_get_1102"], *more]


@pytest.fixture(scope="module")
def hub() -> Hub:
    return Hub(recorded(), Count())


def body(
    number: int = 1, kind: str = "Checkpoint", base: str = "SD 1.5", downloads: int = 5, **changes: Any
) -> dict[str, Any]:
    sha = str(number) * 64
    file = {"name": f"m{number}.safetensors", "type": "Model", "primary": True, "metadata": {"format": "SafeTensor"},
            "hashes": {"SHA256": sha.upper(), "AutoV1": f"{number:08X}", "AutoV3": f"A{number:011X}"}}  # fmt: skip
    version = {"id": number * 10, "name": f"v{number}", "baseModel": base, "availability": "Public", "files": [file],
               "trainedWords": ["word"], "stats": {"downloadCount": downloads}}  # fmt: skip
    return {
        "id": number, "name": f"Model {number}", "type": kind, "nsfw": False, "poi": False, "minor": False,
        "availability": "Public", "allowCommercialUse": ["Image"], "allowDerivatives": True, "allowNoCredit": True,
        "allowDifferentLicense": True, "creator": {"username": "SecretName"}, "modelVersions": [version], **changes,
    }  # fmt: skip


def small() -> list[dict[str, Any]]:
    return [body(1), body(2, downloads=9), body(3, "LORA"), body(4, "LORA", base="Odd"), body(5, "LORA")]


def image(**changes: Any) -> dict[str, Any]:
    meta = {"prompt": "a fox <lora:m3:0.7>", "sampler": "dpmpp_2m", "scheduler": "karras", "steps": 20, "cfgScale": 7,
            "Size": "512x768", "seed": 4, "Model hash": "1" * 10, "clipSkip": 2}  # fmt: skip
    meta |= changes.pop("meta", {})
    return {
        "id": 99, "url": "https://image.civitai.com/x/original=true/99.jpeg", "type": "image", "width": 1024,
        "height": 1536, "browsingLevel": 1, "username": "SecretName", "meta": meta, "tags": [{"id": 1, "name": "fox"}],
        "stats": {"likeCount": 3, "heartCount": 2, "laughCount": None, "cryCount": 1, "dislikeCount": 9}, **changes,
    }  # fmt: skip


def record(**changes: Any) -> Record | Drop:
    return to_record(image(**changes), Hub(small(), Count()), lambda name: f"hash-of-{len(name)}", Count())


def test_recorded_models_become_records(hub: Hub) -> None:
    pony = hub.find(Resource(kind="checkpoint", version=290640))
    assert pony is not None
    assert (pony.id, pony.name) == (PONY, "Pony Diffusion V6 XL – V6 (start with this one)")
    assert pony.file_stem == "ponyDiffusionV6XL_v6StartWithThisOne"
    assert pony.sha256 == "67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3"
    urn = "urn:air:sdxl:checkpoint:civitai:257749@290640"
    assert pony.aliases == ("V6 (start with this one)", urn, "e577480d", "67ab2fd8ec", "e023c143436d")
    assert (pony.base_model, pony.licence.spdx) == ("Pony", "LicenseRef-Civitai")
    assert pony.files == {"checkpoint": "civitai:290640?fileId=228616#bytes=6938041050"}
    assert 0 < len(pony.description) <= 2000
    assert "<" not in pony.description
    assert "http" not in pony.description


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (Resource(kind="checkpoint", hash="67ab2fd8ec"), PONY),
        (Resource(kind="other", hash="67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3"), PONY),
        (Resource(kind="checkpoint", hash="e577480d"), PONY),
        (Resource(kind="checkpoint", hash="e023c143436d"), PONY),
        (Resource(kind="checkpoint", name="PonyDiffusionV6XL_v6StartWithThisOne"), PONY),
        (Resource(kind="checkpoint", name="Pony Diffusion V6 XL V6 (start with this one)"), PONY),
        (Resource(kind="lora", hash="67ab2fd8ec"), None),
        (Resource(kind="lora", version=290640), None),
        (Resource(kind="lora", name="add-detail-xl", hash="9c783c8ce46c"), DETAIL),
        (Resource(kind="lora", name="add-detail-xl", hash="ffffffffffff"), None),
        (Resource(kind="lora", name="figma", hash="dc746a5a4da9"), FIGMA),
        (Resource(kind="checkpoint", name="no such thing"), None),
        (Resource(kind="checkpoint", version=1), None),
    ],
)
def test_lookup(hub: Hub, resource: Resource, found: str | None) -> None:
    record = hub.find(resource)
    assert (record.id if record else None) == found


def test_flags_are_what_the_hub_says(hub: Hub) -> None:
    assert hub.flags(PONY) == {
        "nsfw": False, "nsfwLevel": 7, "minor": False, "poi": False, "sfwOnly": False, "mode": None,
        "allowDerivatives": True, "allowNoCredit": False, "allowDifferentLicense": False, "availability": "Public",
        "format": "SafeTensor", "allowCommercialUse": ("Image", "RentCivit"), "baseModelType": "Standard",
        "downloads": 650872,
    }  # fmt: skip
    assert hub.flags("civitai:0@0") == {}
    told = Hub([body(1, minor=None, availability=None, allowCommercialUse=None, nsfw="no")], Count()).flags(
        "civitai:1@10"
    )
    assert (told["minor"], told["allowCommercialUse"], told["nsfw"]) == (None, None, "no")


def test_what_cannot_be_listed_is_counted() -> None:
    broken = body(6)
    broken["modelVersions"] = [
        {"id": 1, "files": []}, {"id": 2, "files": None}, None,
        {**body(7)["modelVersions"][0], "name": None},
        {"id": 3, "files": [{"name": "x", "type": "Model", "hashes": {}}]},
    ]  # fmt: skip
    count = Count()
    hub = Hub(
        [broken, body(8, "TextualInversion"), {}, {"type": "LORA"}, {"type": ["LORA"], "modelVersions": {}}], count
    )
    assert count.noted == {"no-model-file": 2, "no-sha256": 1, "model-type": 1}
    assert len(hub) == 1


def test_safetensors_stand_for_a_version_before_a_primary_pickle() -> None:
    mixed = body(1)
    pickle = {"name": "p.ckpt", "type": "Model", "primary": True, "metadata": {"format": "PickleTensor"},
              "hashes": {"SHA256": "f" * 64}}  # fmt: skip
    files = mixed["modelVersions"][0]["files"]
    files[0]["primary"] = None
    files.insert(0, pickle)
    hub = Hub([mixed], Count())
    assert hub.flags("civitai:1@10")["format"] == "SafeTensor"
    by_pickle = hub.find(Resource(kind="checkpoint", hash="f" * 10))
    assert by_pickle is not None
    assert by_pickle.sha256 == "1" * 64


def test_one_file_uploaded_twice_is_the_older_one_and_two_files_of_a_name_are_neither() -> None:
    twin, other = body(2), body(3)
    twin["modelVersions"][0]["files"] = body(1)["modelVersions"][0]["files"]
    other["modelVersions"][0]["files"][0]["name"] = "m4.safetensors"
    hub = Hub([twin, body(1), other, body(4)], Count())
    same = hub.find(Resource(kind="checkpoint", name="m1"))
    assert same is not None
    assert same.id == "civitai:1@10"
    assert hub.find(Resource(kind="checkpoint", name="m4")) is None


def test_names_of_uploaders_are_nowhere() -> None:
    written = body(1, description="<p>By <b>SecretName</b>, see https://x.io/SecretName or me@secretname.org</p>")
    hub = Hub([written, *small()[1:]], Count())
    listed = [hub.version(n) for n in (10, 20, 30)]
    made = to_record(image(), hub, lambda name: "h" * 16, Count())
    assert isinstance(made, Record)
    everything = json.dumps([m.model_dump(mode="json") for m in (*listed, made) if m is not None])
    assert "secretname" not in everything.casefold()
    assert listed[0] is not None
    assert listed[0].description == "By the author, see or"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Rent", ("Rent",)), ("None", ()), (["Image", "Rent"], ("Image", "Rent")),
        ("{Image,RentCivit}", ("Image", "RentCivit")),
        ("{}", ()), ([], ()), (None, None), (True, None),
    ],
)  # fmt: skip
def test_commercial_uses_in_every_shape(value: Any, expected: tuple[str, ...] | None) -> None:
    assert versions.uses(value) == expected


def test_descriptions_are_text() -> None:
    assert versions.plain("<p>One &amp; <b>two</b></p><ul><li>three</li></ul>") == "One & two\nthree"
    assert versions.plain("x" * 10_000_000) == "x" * 2000
    assert versions.plain(None) == ""


def test_a_picture_becomes_a_demonstration() -> None:
    made = record()
    assert isinstance(made, Record)
    assert made.id == "civitai-99"
    assert made.page == "https://civitai.com/images/99"
    assert (made.plan.prompt, made.plan.model, made.plan.ranking) == (
        "a fox",
        "civitai:3@30",
        ("civitai:3@30", "civitai:1@10"),
    )
    arguments = made.plan.arguments.model_dump()
    assert arguments == {
        "sampler": "DPM++ 2M Karras", "steps": 20, "cfg_scale": 7.0, "width": 512, "height": 768, "seed": 4,
        "clip_skip": 2, "lora_weight": 0.7,
    }  # fmt: skip
    assert (made.creator, made.level, made.reactions, made.tags) == ("hash-of-10", 1, 6, ("fox",))
    assert (made.source, made.licence, made.redistributable) == ("civitai", "LicenseRef-Civitai", False)


def test_a_picture_without_lora_aims_at_its_checkpoint() -> None:
    made = record(meta={"prompt": "a fox"})
    assert isinstance(made, Record)
    assert (made.plan.model, made.plan.ranking, made.plan.arguments.lora_weight) == ("civitai:1@10", (), None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "video"}, "not-a-picture"),
        ({"id": None}, "no-id"),
        ({"meta": {"prompt": ""}}, "no-prompt"),
        ({"meta": {"prompt": "<lora:m3:1>"}}, "no-prompt"),
        ({"meta": {"prompt": "x" * 20_001}}, "prompt-too-long"),
        ({"meta": {"prompt": "x <hypernet:y:1>"}}, "hypernetwork"),
        ({"meta": {"prompt": "x <lora:m3:1> <lora:m5:1>"}}, "several-loras"),
        ({"meta": {"prompt": "x <lora:m3:1> <lora:strange:1>"}}, "several-loras"),
        ({"meta": {"prompt": "x <lora:strange:1>"}}, "lora-unknown"),
        ({"meta": {"prompt": "x <lora:m4:1>"}}, "no-base"),
        ({"meta": {"prompt": "x", "Model hash": "ffffffffff"}}, "model-unknown"),
        (
            {"meta": {"prompt": "x", "civitaiResources": [{"type": "checkpoint", "modelVersionId": 20}]}},
            "several-checkpoints",
        ),
        ({"meta": {"civitaiResources": [{"modelVersionId": 4040}]}}, "resource-unknown"),
        ({"meta": {"sampler": None, "scheduler": None}}, "no-sampler"),
        ({"meta": {"sampler": "Undefined", "scheduler": None}}, "no-sampler"),
        ({"meta": {"sampler": "res_multistep"}}, "unknown-sampler"),
        ({"meta": {"steps": None}}, "no-steps"),
        ({"meta": {"cfgScale": "x"}}, "no-cfg"),
        ({"meta": {"Size": None}, "width": None}, "no-size"),
        ({"meta": {"steps": 9999}}, "out-of-range"),
        ({"meta": {"Size": "9000x9000"}}, "out-of-range"),
        ({"meta": {"Denoising strength": 0.4}}, "image-guided"),
    ],
)
def test_why_pictures_are_dropped(changes: dict[str, Any], reason: str) -> None:
    made = record(**changes)
    assert isinstance(made, Drop)
    assert made.reason == reason
    assert reason in catalog.REASONS


def test_weightless_loras_do_not_count() -> None:
    made = record(meta={"prompt": "a fox <lora:strange:0> <lora:m3:0.5>"})
    assert isinstance(made, Record)
    assert made.plan.model == "civitai:3@30"


def test_the_hub_itself_may_name_the_model() -> None:
    unnamed = {"prompt": "a fox", "Model hash": None, "Model": "renamed"}
    count, hub = Count(), Hub(small(), Count())
    made = to_record(image(meta=unnamed, modelVersionIds=[20]), hub, str, count)
    assert isinstance(made, Record)
    assert (made.plan.model, count.noted) == ("civitai:2@20", {"model-by-hub": 1})
    asked = to_record(image(meta=unnamed, modelVersionId=10), hub, str, Count())
    assert isinstance(asked, Record)
    lora = {"prompt": "a fox <lora:renamed:0.4>"}
    known = to_record(image(meta=lora, modelVersionIds=[10, 30]), hub, str, Count())
    assert isinstance(known, Record)
    assert (known.plan.model, known.plan.arguments.lora_weight) == ("civitai:3@30", 0.4)
    partly = to_record(image(meta=lora, modelVersionIds=[10, 30, 777]), hub, str, Count())
    assert isinstance(partly, Drop)


@pytest.mark.parametrize(
    ("changes", "level"),
    [({}, 1), ({"browsingLevel": 0, "nsfwLevel": "None"}, 0), ({"browsingLevel": None, "nsfwLevel": "None"}, 0),
     ({"browsingLevel": None, "nsfwLevel": 4}, 4)],
)  # fmt: skip
def test_levels(changes: dict[str, Any], level: int) -> None:
    made = record(**changes)
    assert isinstance(made, Record)
    assert made.level == level


def test_seeds_beyond_63_bits_are_left_out() -> None:
    count = Count()
    made = to_record(image(meta={"seed": 2**63 + 5}), Hub(small(), Count()), str, count)
    assert isinstance(made, Record)
    assert (made.plan.arguments.seed, count.noted) == (None, {"seed-dropped": 1})


def test_loras_sit_on_the_checkpoint_they_were_used_with() -> None:
    hub = Hub(small(), Count())
    found = {m.id: m.base for m in hub.catalog({"civitai:3@30": 2, "civitai:4@40": 1})}
    assert found == {"civitai:3@30": "civitai:2@20", "civitai:2@20": None}
    pairs = {"civitai:3@30": {"civitai:1@10": 3, "civitai:2@20": 1}}
    assert {m.id: m.base for m in hub.catalog({"civitai:3@30": 2}, pairs)} == {
        "civitai:3@30": "civitai:1@10",
        "civitai:1@10": None,
    }
    made = record()
    assert isinstance(made, Record)
    assert pairs_of([made, made]) == {"civitai:3@30": {"civitai:1@10": 2}}


@pytest.mark.parametrize(
    "closed", [{"nsfw": True}, {"minor": None}, {"poi": True}, {"availability": "Private"}, {"mode": "TakenDown"}]
)
def test_no_lora_sits_on_a_closed_or_unsafe_checkpoint(closed: dict[str, Any]) -> None:
    hub = Hub([body(1), body(2, downloads=9, **closed), body(3, "LORA")], Count())
    assert [m.id for m in hub.catalog({"civitai:3@30": 1})] == ["civitai:1@10", "civitai:3@30"]
    assert hub.catalog({"civitai:3@30": 1}, {"civitai:3@30": {"civitai:2@20": 5}})[1].base == "civitai:1@10"


def test_order_of_models_does_not_matter(hub: Hub) -> None:
    models = recorded()
    random.Random(0).shuffle(models)
    other = Hub(models, Count())
    used = {PONY: 1, DETAIL: 2}
    assert [m.model_dump() for m in hub.catalog(used)] == [m.model_dump() for m in other.catalog(used)]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(sorted(image())), values),
    st.dictionaries(st.sampled_from(sorted(image()["meta"])), values),
)
def test_foreign_types_in_images_never_raise(changes: dict[str, Any], meta: dict[str, Any]) -> None:
    odd = {**image(meta=meta), **changes}
    assert isinstance(to_record(odd, Hub(small(), Count()), str, Count()), Record | Drop)


@given(
    st.dictionaries(st.sampled_from(sorted(body())), values),
    st.dictionaries(st.sampled_from(["id", "files", "stats", "name", "trainedWords", "baseModel"]), values),
)
def test_foreign_types_in_models_never_raise(changes: dict[str, Any], version: dict[str, Any]) -> None:
    odd = body(1)
    odd["modelVersions"][0] |= version
    found = Hub([{**odd, **changes}, body(2)], Count()).catalog({"civitai:1@10": 1, "civitai:2@20": 1})
    assert {model.id for model in found} <= {"civitai:1@10", "civitai:2@20"}
