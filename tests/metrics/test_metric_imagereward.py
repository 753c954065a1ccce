"""ImageReward: conversion of the released names, a forward pass written out by hand, batches, goldens."""

from __future__ import annotations

import json

import numpy as np
import pytest
import t2imetrics
from t2imetrics import _blip
from t2imetrics.errors import ImageError, WeightsError

from tests.metrics import small_weights as small

torch = pytest.importorskip("torch")

#: Scores of the seeded weights; they change only if the mathematics does.
GOLDEN = [13.0457, 15.3189, 15.6473, 16.0575]


def as_released(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names of ImageReward.pt, with the parts that the score leaves unused."""
    head = {str(new): str(old) for new, old in enumerate((0, 2, 4, 6, 7))}  # dropouts were numbered too
    names = {
        "vision_model.embeddings.class_embedding": "blip.visual_encoder.cls_token",
        "vision_model.embeddings.position_embedding": "blip.visual_encoder.pos_embed",
        "vision_model.embeddings.patch_embedding": "blip.visual_encoder.patch_embed.proj",
        "vision_model.post_layernorm": "blip.visual_encoder.norm",
        "vision_model.encoder.layers": "blip.visual_encoder.blocks",
        "text_encoder": "blip.text_encoder",
    }
    released = {}
    for key, tensor in state.items():
        part, _, rest = key.partition(".")
        name = f"mlp.layers.{head[rest[0]]}{rest[1:]}" if part == "mlp" else key
        for new, old in names.items():
            name = name.replace(new, old) if name.startswith(new) else name
        if name.startswith("blip.visual_encoder.blocks"):
            for new, old in (("layer_norm", "norm"), ("self_attn.projection", "attn.proj"), ("self_attn", "attn")):
                name = name.replace(new, old)
        released[name] = tensor
    released["blip.text_encoder.embeddings.position_ids"] = torch.arange(512)[None]
    released["blip.vision_proj.weight"] = released["blip.text_proj.bias"] = torch.zeros(3)
    return released


def attend(q, k, v, heads: int, mask=None) -> torch.Tensor:
    split = lambda t: t.unflatten(-1, (heads, -1)).transpose(1, 2)  # noqa: E731
    q, k, v = split(q), split(k), split(v)
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        logits = logits.masked_fill(mask[:, None, None] == 0, float("-inf"))
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)


def by_hand(w: dict[str, torch.Tensor], pixels, ids, mask) -> torch.Tensor:
    """Reward from the released names: ViT (pre-norm, eps 1e-6), BERT with cross-attention (eps 1e-12), linear head."""
    import torch.nn.functional as f

    linear = lambda x, name: f.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])  # noqa: E731
    norm = lambda x, name, eps: f.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)  # noqa: E731
    v, t = "blip.visual_encoder", "blip.text_encoder"
    patch = f.conv2d(pixels, w[f"{v}.patch_embed.proj.weight"], w[f"{v}.patch_embed.proj.bias"], stride=8)
    x = torch.cat([w[f"{v}.cls_token"].expand(len(pixels), -1, -1), patch.flatten(2).transpose(1, 2)], 1)
    x = x + w[f"{v}.pos_embed"]
    for i in range(2):
        b = f"{v}.blocks.{i}"
        qkv = linear(norm(x, f"{b}.norm1", 1e-6), f"{b}.attn.qkv").chunk(3, -1)
        x = x + linear(attend(*qkv, heads=2), f"{b}.attn.proj")
        x = x + linear(f.gelu(linear(norm(x, f"{b}.norm2", 1e-6), f"{b}.mlp.fc1")), f"{b}.mlp.fc2")
    seen = norm(x, f"{v}.norm", 1e-6)

    e = f"{t}.embeddings"
    h = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.position_embeddings.weight"][: ids.shape[1]]
    h = norm(h, f"{e}.LayerNorm", 1e-12)
    for i in range(2):
        for block, source, m in (("attention", None, mask), ("crossattention", seen, None)):
            b = f"{t}.encoder.layer.{i}.{block}"
            s = h if source is None else source
            q, k, v_ = (linear(y, f"{b}.self.{n}") for y, n in ((h, "query"), (s, "key"), (s, "value")))
            h = norm(h + linear(attend(q, k, v_, 2, m), f"{b}.output.dense"), f"{b}.output.LayerNorm", 1e-12)
        b = f"{t}.encoder.layer.{i}"
        up = f.gelu(linear(h, f"{b}.intermediate.dense"))
        h = norm(h + linear(up, f"{b}.output.dense"), f"{b}.output.LayerNorm", 1e-12)
    r = h[:, 0]
    for i in (0, 2, 4, 6, 7):
        r = linear(r, f"mlp.layers.{i}")
    return r[:, 0]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    mask = torch.ones(3, 35, dtype=torch.long)
    mask[1, 4:], mask[2, 20:] = 0, 0
    ids = torch.from_numpy(rng.integers(5, 30000, (3, 35))) * mask
    return torch.from_numpy(rng.normal(size=(3, 3, 32, 32))).float(), ids, mask


def test_released_names_convert_back_and_forth() -> None:
    state = small.reward_state()
    converted = _blip.convert(as_released(state))
    head = {"2": "1", "4": "2", "6": "3", "7": "4", "0": "0"}
    restored = {f"mlp.{head[k[4]]}{k[5:]}" if k.startswith("mlp.") else k: v for k, v in converted.items()}
    assert set(restored) == set(state)
    assert all(torch.equal(restored[key], state[key]) for key in state)
    with pytest.raises(ValueError, match=r"unexpected entry 'blip\.surprise'"):
        _blip.convert({"blip.surprise": torch.zeros(1)})


def test_converted_weights_give_the_reward_written_out_by_hand() -> None:
    released = as_released(small.reward_state())
    model = _blip.RewardModel(small.REWARD_CONFIG, _blip.convert(released))
    with torch.no_grad():
        np.testing.assert_allclose(model(*inputs()), by_hand(released, *inputs()), rtol=1e-4)


def test_the_published_configuration_has_the_released_shapes() -> None:
    text, vision = _blip.PUBLISHED["text"], _blip.PUBLISHED["vision"]
    assert (text["vocab_size"], text["hidden_size"], text["layer_norm_eps"]) == (30524, 768, 1e-12)
    assert (vision["hidden_size"], vision["num_hidden_layers"], vision["layer_norm_eps"]) == (1024, 24, 1e-6)
    assert _blip.PUBLISHED["max_length"] == t2imetrics.card("imagereward").text_limit == 35


def test_scores_are_standardised_rewards_of_padded_texts(scorers, pictures, texts) -> None:
    scorer = t2imetrics.load("imagereward", weights=scorers, device="cpu", batch_size=3)
    values = scorer.score(pictures, texts)
    np.testing.assert_allclose(values[:4], GOLDEN, atol=2e-3)
    pixels = torch.stack([small_pixels(p) for p in pictures])
    with torch.no_grad():
        raw = scorer.model(pixels, *scorer._encode(texts)).double().numpy()
    np.testing.assert_allclose(values, (raw - 0.1) / 2.0, atol=1e-4)


def small_pixels(image) -> torch.Tensor:
    from t2imetrics._images import preprocess_a

    return preprocess_a(image, 32)


def test_ids_are_those_of_transformers(scorers, texts) -> None:
    from transformers import BertTokenizer

    theirs = BertTokenizer(vocab=str(small.bert_vocabulary()))
    assert len(theirs) == 30522
    coded = theirs(texts, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    scorer = t2imetrics.load("imagereward", weights=scorers, device="cpu")
    ids, mask = scorer._encode(texts)
    assert torch.equal(ids, coded["input_ids"])
    assert torch.equal(mask, coded["attention_mask"])
    assert scorer.tokens(texts).tolist() == [len(theirs(text)["input_ids"]) for text in texts]


def test_batch_size_and_row_order_do_not_matter(scorers, pictures, texts) -> None:
    one = t2imetrics.load("imagereward", weights=scorers, device="cpu", batch_size=1).score(pictures, texts)
    many = t2imetrics.load("imagereward", weights=scorers, device="cpu", batch_size=8)
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    np.testing.assert_allclose(
        many.score([pictures[i] for i in order], [texts[i] for i in order]), one[order], atol=1e-4
    )
    assert many.score([], []).shape == (0,)
    with pytest.raises(ImageError, match="row 1: "):
        many.score([pictures[0], "nowhere.png"], ["a", "b"])


def test_a_vocabulary_of_another_model_is_refused(tmp_path) -> None:
    small.write_reward(tmp_path / "reward")
    path = tmp_path / "reward" / "vocab.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:1000]) + "\n")
    small.seal(tmp_path / "reward", "cut")
    with pytest.raises(WeightsError, match="has 1000 tokens, the model reads 30522"):
        t2imetrics.load("imagereward", weights=tmp_path)


def test_missing_weights_are_named(tmp_path) -> None:
    small.write_reward(tmp_path / "reward")
    (tmp_path / "reward" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        t2imetrics.load("imagereward", weights=tmp_path)
    (tmp_path / "reward" / "weights.json").write_text(json.dumps({"name": "x", "sha256": {}}))
    with pytest.raises(WeightsError, match="states no sha256"):
        t2imetrics.load("imagereward", weights=tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mean": None}, "'mean' must be a number, got None"),
        ({"std": 0}, "'std' must be a number, got 0"),
        ({"max_length": "35"}, "'max_length' must be a number"),
        ({"max_length": 9999}, "max_length 9999 is not in 2 to 512"),
        ({"text": None}, "'text' must be an object"),
    ],
)
def test_a_configuration_that_says_too_little_is_told(tmp_path, change: dict[str, object], told: str) -> None:
    small.write_reward(tmp_path / "reward")
    (tmp_path / "reward" / "config.json").write_text(json.dumps({**small.REWARD_CONFIG, **change}))
    small.seal(tmp_path / "reward", "mine")
    with pytest.raises(WeightsError, match=told):
        t2imetrics.load("imagereward", weights=tmp_path, device="cpu")
