"""Each filter alone, fail-closed, in its order; and the language of prompts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build import filters, language
from chatgenbench.build.filters import REASONS, Limits, check
from chatgenbench.build.records import Record
from chatgenbench.schema import Arguments, Plan

PROMPTS = Path(__file__).parents[1] / "data/civitai/MAPS-research__GEMRec/prompts_for_language.csv"
SOUND = {
    "mode": None, "availability": "Public", "format": "SafeTensor", "nsfw": False, "nsfwLevel": 31, "minor": False,
    "poi": False, "sfwOnly": False, "allowCommercialUse": (), "allowDerivatives": False, "allowNoCredit": False,
    "allowDifferentLicense": False, "downloads": 5,
}  # fmt: skip


def record(prompt: str = "a lighthouse in the evening sun, watercolour", **given: Any) -> Record:
    arguments = Arguments(sampler="Euler a", steps=20, cfg_scale=7, width=512, height=512)
    plan = Plan(prompt=prompt, negative_prompt="nsfw, nude, child", model="civitai:1@2", arguments=arguments)
    fields = {"id": "civitai-1", "source": "civitai", "base_model": "SD 1.5", "level": 1, "licence": "x"} | given
    return Record(plan=plan, **fields)


def test_a_sound_record_stays() -> None:
    assert check(record(), SOUND, Limits()) is None


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"mode": "Archived"}, "model-unavailable"),
        ({"mode": "TakenDown"}, "model-unavailable"),
        ({"availability": "Private"}, "model-unavailable"),
        ({"format": "PickleTensor"}, "not-safetensors"),
        ({"allowCommercialUse": "Rent"}, "licence-forbids"),
        ({"nsfw": True}, "model-nsfw"),
        ({"minor": True}, "model-minor"),
        ({"poi": True}, "model-poi"),
    ],
)
def test_models(flags: dict[str, Any], reason: str) -> None:
    assert check(record(), SOUND | flags, Limits()) == reason


@pytest.mark.parametrize("field", ["availability", "format", "nsfw", "minor", "poi", *filters.LICENCE_FIELDS])
def test_what_a_model_leaves_unsaid_speaks_against_it(field: str) -> None:
    for flags in ({k: v for k, v in SOUND.items() if k != field}, SOUND | {field: None}):
        assert check(record(), flags, Limits()) in REASONS
    assert check(record(), {}, Limits()) == "model-unavailable"


def test_licences() -> None:
    images = Limits(allow_uses=("Image",))
    assert check(record(), SOUND, images) == "licence-forbids"
    assert check(record(), SOUND | {"allowCommercialUse": ("Image", "Sell")}, images) is None
    assert check(record(), SOUND, Limits(need_derivatives=True)) == "licence-forbids"
    assert check(record(), SOUND | {"allowDerivatives": True}, Limits(need_derivatives=True)) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"level": 0}, "picture-nsfw-level"),
        ({"level": 2}, "picture-nsfw-level"),
        ({"prompt": "a schoolgirl in lingerie, best quality"}, "minors"),
        ({"prompt": "portrait of Taylor Swift as a knight"}, "real-person"),
        ({"tags": ("celebrity", "Taylor Swift")}, "real-person"),
        ({"prompt": "a wizard made of CHEESE, oil painting"}, "blocklist"),
        ({"prompt": "a naked statue in a museum"}, "explicit-words"),
        ({"prompt": "blue lighthouse"}, "prompt-too-short"),
        ({"prompt": "<lora:my_style_of_old:0.8> lighthouse (512:1.2)"}, "prompt-too-short"),
        ({"prompt": "a lighthouse in the sun " * 200}, "prompt-too-long"),
        ({"prompt": "ein Leuchtturm in der Abendsonne, Aquarell"}, "language"),
        ({"prompt": "a b c d"}, "language"),
        ({"reactions": 4}, "engagement"),
    ],
)
def test_records(given: dict[str, Any], reason: str) -> None:
    limits = Limits(blocklist=("cheese",), min_reactions=5)
    assert check(record(**({"reactions": 9} | given)), SOUND, limits) == reason


def test_limits_can_be_widened() -> None:
    assert check(record(level=2), SOUND, Limits(max_level=2)) is None
    assert check(record(level=3), SOUND, Limits(max_level=2)) == "picture-nsfw-level"
    assert check(record("ein Leuchtturm in der Abendsonne"), SOUND, Limits(languages=("de", "en"))) is None
    assert check(record("桜の木の下に立つ人、傑作、高品質"), SOUND, Limits(languages=("ja",))) is None


def test_reasons_come_in_the_order_of_the_table() -> None:
    mends: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("model-unavailable", {"availability": "Public"}, {}),
        ("not-safetensors", {"format": "SafeTensor"}, {}),
        ("licence-forbids", dict.fromkeys(filters.LICENCE_FIELDS[1:], False) | {"allowCommercialUse": ()}, {}),
        ("model-nsfw", {"nsfw": False}, {}),
        ("model-minor", {"minor": False}, {}),
        ("model-poi", {"poi": False}, {}),
        ("picture-nsfw-level", {}, {"level": 1}),
        ("minors", {}, {"prompt": "Taylor Swift nude cheese"}),
        ("real-person", {}, {"prompt": "nude cheese"}),
        ("blocklist", {}, {"prompt": "nude gouda"}),
        ("explicit-words", {}, {"prompt": "ein Gouda"}),
        ("prompt-too-short", {}, {"prompt": "ein Gouda liegt auf dem alten Tisch der Nachbarn"}),
        ("prompt-too-long", {}, {"prompt": "ein Gouda liegt auf dem Tisch"}),
        ("language", {}, {"prompt": "a gouda lies on the table"}),
        ("engagement", {}, {"reactions": 1}),
    ]
    assert [reason for reason, _, _ in mends] == list(REASONS)
    limits = Limits(blocklist=("cheese",), min_reactions=1, max_prompt_chars=30)
    flags: dict[str, Any] = {}
    given: dict[str, Any] = {"level": 0, "prompt": "Taylor Swift, teen, nude, cheese"}
    for reason, flag, field in mends:
        assert check(record(**given), flags, limits) == reason
        flags |= flag
        given |= field
    assert check(record(**given), flags, limits) is None


@given(st.dictionaries(st.sampled_from(sorted(SOUND)), st.none() | st.booleans() | st.text(max_size=8), max_size=13))
def test_only_sound_flags_pass(flags: dict[str, Any]) -> None:
    reason = filters.check_model(flags, Limits())
    assert reason is None or reason in REASONS
    if reason is None:
        assert flags["nsfw"] is flags["minor"] is flags["poi"] is False


def test_real_prompts_are_english() -> None:
    with PROMPTS.open(encoding="utf-8", newline="") as file:
        prompts = [row["prompt"] for row in csv.DictReader(file)]
    assert len(prompts) >= 30
    assert {prompt: language.of(prompt) for prompt in prompts} == dict.fromkeys(prompts, "en")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("es", "gato negro, casa antigua, luz de luna, bosque"),
        ("fr", "une femme dans un jardin, peinture, lumiere douce"),
        ("de", "schwarze Katze, altes Haus, Mondlicht, (Wald:1.2)"),
        ("it", "un cane rosso sulla spiaggia, tramonto, dettagliato"),
        ("pt", "uma mulher num jardim, pintura, luz suave"),
        ("ru", "рыжая лиса в лесу, осень, шедевр"),
        ("zh", "一个女孩站在樱花树下，阳光明媚，杰作，高质量"),
        ("ja", "桜の木の下に立つ女の子、傑作、高品質"),
        ("ko", "벚꽃 나무 아래에 서 있는 소녀, 걸작, 고품질"),
        ("pl", "czarny kot na dachu, stary dom, noc, arcydzieło"),
        ("tr", "bahçede bir kadın, yağlı boya, yumuşak ışık"),
        ("id", "seorang wanita di taman, lukisan, cahaya lembut"),
        ("en", "masterpiece, best quality, 1girl, solo, looking at viewer, cyberpunkai, <lora:Zupełnie:0.8>"),
        ("en", "hey could u draw my dog but like in space lol"),
        ("", "a red fox"),
        ("", "score_9, score_8_up, (1girl:1.2) <lora:a_very_long_name_of_a_style:1>"),
        ("", "🦊🌲🌲 12345 !!!"),
    ],
)
def test_languages(code: str, text: str) -> None:
    assert language.of(text) == code


@given(st.text(max_size=120))
def test_any_text_has_one_answer(text: str) -> None:
    assert language.of(text) in ("", *language.LANGUAGES)
    assert language.of(text) == language.of(text)
