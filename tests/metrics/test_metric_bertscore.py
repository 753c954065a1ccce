"""BERTScore against the bert-score package, on a real sentence encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import t2imetrics
from t2imetrics import _encoder, bertscore
from t2imetrics.errors import OptionError, WeightsError

from tests.metrics import small_weights as small
from tests.metrics.pictures import real_pairs

CANDIDATES = ["a red apple on a table", "glossy toy car", "A DOG!", "one", "black ink stamp of a fox, no color", "sun"]
REFERENCES = ["red apple, 3d render", "black ink drawing", "a dog", "one", "red apple, 3d render", "the moon at night"]
#: F1 of the pairs with the packaged encoder; real weights, so the numbers mean what they say.
GOLDEN = [0.5679, 0.1703, 0.7251, 1.0, 0.2035, 0.3863]

#: Prompts beside those of `real_pairs`: special tokens that somebody typed, invisible characters, a control character.
ODD = ["a [SEP] fox [CLS] here", "[MASK] cat", "fox </s> <s>", "\u200b", "a\x00fox", "\ufeffred fox", " ", ""]


@pytest.fixture(scope="module")
def scorer():
    return t2imetrics.load("bertscore", weights="miniature", device="cpu")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> list[str]:
    return [text for _, text in real_pairs(tmp_path_factory.mktemp("pairs"))]


def test_precision_recall_and_f1_are_those_of_bert_score(scorer) -> None:
    theirs = of_bert_score(CANDIDATES, REFERENCES, model_type=str(small.bert_vocabulary().parent), num_layers=6)
    ours = scorer.score_all(CANDIDATES, REFERENCES)
    for measure, values in zip(("precision", "recall", "f1"), theirs, strict=True):
        np.testing.assert_allclose(ours[measure], values, atol=1e-5)


def test_real_and_odd_prompts_agree_with_bert_score(scorer, prompts) -> None:
    """Empty, emoji, 500-token, Chinese and right-to-left prompts too."""
    candidates, references = turned([*prompts, *ODD])
    theirs = of_bert_score(candidates, references, model_type=str(small.bert_vocabulary().parent), num_layers=6)
    assert_equal(scorer.score_all(candidates, references), theirs, "bundled encoder")


def test_rescaled_scores_agree_with_bert_score(prompts, tmp_path, monkeypatch) -> None:
    """The published form with seeded numbers for its weights: layer 17 of a RoBERTa, and the package's own baseline."""
    from transformers import AutoTokenizer

    bert_score = pytest.importorskip("bert_score")
    texts = [text for text in prompts if text.strip()]  # no empty ones: the package fails on them
    candidates, references = turned(texts)
    folder = write_roberta(tmp_path / "ours", layers=18, positions=514)
    source = bertscore._Source(folder, t2imetrics.Weights("stand-in"), bertscore.LAYER, bertscore.BASELINE)
    monkeypatch.setattr(bertscore, "_source", lambda setting: source)
    scorer = t2imetrics.load("bertscore", device="cpu")
    assert scorer.tokens(texts).max() > scorer.card.text_limit == 512
    # `add_prefix_space`, which bert-score asks for at each call, is heard by transformers 5 at loading only
    AutoTokenizer.from_pretrained(folder, add_prefix_space=True, local_files_only=True).save_pretrained(folder)
    baseline = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "roberta-large.tsv"
    theirs = of_bert_score(
        candidates, references, model_type=str(folder), num_layers=bertscore.LAYER, lang="en",
        rescale_with_baseline=True, baseline_path=str(baseline),
    )  # fmt: skip
    assert_equal(scorer.score_all(candidates, references), theirs, "rescaled RoBERTa")


#: bert-score reads an empty text with a function that transformers 5 took away; it is put back, so that what the
#: package means by an empty text (a raw 0) is compared as well.
REFERENCE = """
import json, sys
import bert_score, transformers
transformers.logging.set_verbosity_error()
transformers.PreTrainedTokenizerFast.build_inputs_with_special_tokens = (
    lambda self, ids: [self.cls_token_id, *ids, self.sep_token_id]
)
asked = json.load(sys.stdin)
found = bert_score.score(asked.pop("texts"), asked.pop("others"), device="cpu", use_fast_tokenizer=True, **asked)
print("FOUND " + json.dumps([values.tolist() for values in found]))
"""


def of_bert_score(candidates: list[str], references: list[str], **options: object) -> np.ndarray:
    """Precision, recall and F1 by the package, in a process where nobody else has touched its libraries."""
    pytest.importorskip("bert_score")
    asked = json.dumps({"texts": candidates, "others": references, **options})
    done = subprocess.run(
        [sys.executable, "-c", REFERENCE], input=asked, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.rpartition("FOUND ")[2]))


def turned(texts: list[str]) -> tuple[list[str], list[str]]:
    """Each text against the next one."""
    return texts, texts[1:] + texts[:1]


def assert_equal(ours, theirs, what: str) -> None:
    """Precision, recall and F1 within 1e-4 on at least 64 pairs."""
    gaps = {m: np.abs(ours[m] - t).max() for m, t in zip(bertscore.MEASURES, theirs, strict=True)}
    print(f"bertscore, {what}: largest difference {max(gaps.values()):.1e} on {len(ours['f1'])} pairs")
    assert len(ours["f1"]) >= 64
    assert max(gaps.values()) <= 1e-4


def test_f1_is_a_harmonic_mean_or_nothing() -> None:
    import torch

    away = torch.tensor([[1.0, 0.0], [-0.6, 0.8]]), torch.tensor([True, True])
    back = torch.tensor([[-1.0, 0.0]]), torch.tensor([True])
    precision, recall, f1 = bertscore._match(back, away)
    assert (precision, recall, f1) == (pytest.approx(0.6), pytest.approx(-0.2), 0.0)


def test_golden_numbers(scorer) -> None:
    np.testing.assert_allclose(scorer.score(CANDIDATES, REFERENCES), GOLDEN, atol=1e-3)


def test_rows_keep_their_order_whatever_the_batch(scorer) -> None:
    whole = scorer.score(CANDIDATES, REFERENCES)
    single = t2imetrics.load("bertscore", weights="miniature", device="cpu", batch_size=1)
    np.testing.assert_allclose(single.score(CANDIDATES, REFERENCES), whole, atol=1e-5)
    order = [4, 1, 5, 0, 3, 2]
    mixed = scorer.score([CANDIDATES[i] for i in order], [REFERENCES[i] for i in order])
    np.testing.assert_allclose(mixed, whole[order], atol=1e-5)


def test_the_same_text_scores_one_and_an_empty_one_the_failed_value(scorer) -> None:
    values = scorer.score(["same words", "", " \n", "words", "\u200b"], ["same words", "words", "words", "", "words"])
    np.testing.assert_allclose(values, [1, 0, 0, 0, 0], atol=1e-5)
    assert scorer.card.failed_value == 0
    assert scorer.score([], []).shape == (0,)


def test_long_texts_are_cut_and_counted(scorer) -> None:
    long = "word " * 800
    assert scorer.tokens([long, "word", ""]).tolist() == [802, 3, 2]
    assert scorer.card.text_limit == 512
    assert scorer.score([long], [long + "more"]) == pytest.approx([1], abs=1e-5)


def test_the_card_tells_what_was_loaded(scorer) -> None:
    card = scorer.card
    assert card.weights.name == _encoder.BUNDLED
    assert card.weights.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert card.note == "f1, layer 6, not rescaled, no idf"
    assert card.lower == -1


def test_rescaling_needs_a_published_baseline() -> None:
    with pytest.raises(OptionError, match="no baseline is published"):
        t2imetrics.load("bertscore", weights="miniature", rescale=True)
    with pytest.raises(OptionError, match="layer must be 1 to 6"):
        t2imetrics.load("bertscore", weights="miniature", layer=7)
    with pytest.raises(OptionError, match="measure 'f' is not known"):
        t2imetrics.load("bertscore", weights="miniature", measure="f")


@pytest.fixture
def roberta(tmp_path):
    return write_roberta(tmp_path / "roberta", layers=3, positions=66)


def write_roberta(folder: Path, layers: int, positions: int) -> Path:
    """A tiny RoBERTa with a byte-level tokenizer, standing in for the published encoder."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        CANDIDATES * 3, vocab_size=320, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    folder.mkdir()
    bpe.save_model(str(folder))
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    vocab = json.loads((folder / "vocab.json").read_text())
    tokenizer = RobertaTokenizer(vocab=vocab, merges=merges, model_max_length=512)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=positions, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    small.fill(RobertaModel(config, add_pooling_layer=False)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_published_form_is_rescaled_by_its_baseline(roberta, monkeypatch) -> None:
    weights = t2imetrics.Weights("stand-in")
    source = bertscore._Source(roberta, weights, 2, bertscore.BASELINE)
    monkeypatch.setattr(bertscore, "_source", lambda setting: source)
    raw = t2imetrics.load("bertscore", device="cpu", rescale=False).score_all(CANDIDATES, REFERENCES)
    scorer = t2imetrics.load("bertscore", device="cpu")
    rescaled = scorer.score_all(CANDIDATES, REFERENCES)
    for measure, base in bertscore.BASELINE.items():
        np.testing.assert_allclose(rescaled[measure], (raw[measure] - base) / (1 - base), atol=1e-12)
    assert len(scorer.model.encoder.layer) == scorer.layer == 2
    assert scorer.card.text_limit == 64, "two positions of the table are for padding"
    assert scorer.score([""], ["a"]).tolist() == [scorer.card.failed_value] == [-1.0]
    other = t2imetrics.load("bertscore", device="cpu", layer=3)
    assert "not rescaled" in other.card.note, "the baseline holds for its own layer only"


def test_a_roberta_text_is_spelt_as_after_a_space(roberta, monkeypatch) -> None:
    from transformers import AutoTokenizer

    source = bertscore._Source(roberta, t2imetrics.Weights("stand-in"), None, None)
    monkeypatch.setattr(bertscore, "_source", lambda setting: source)
    scorer = t2imetrics.load("bertscore", device="cpu")
    prefixed = AutoTokenizer.from_pretrained(roberta, add_prefix_space=True, local_files_only=True)
    ours = [scorer.tokenizer(scorer._spell(text))["input_ids"] for text in CANDIDATES]
    assert ours == [prefixed(text)["input_ids"] for text in CANDIDATES]
    assert ours != [scorer.tokenizer(text)["input_ids"] for text in CANDIDATES]


def test_an_encoder_without_its_vocabulary_is_refused(tmp_path) -> None:
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path / "text"
    config = BertConfig(vocab_size=500, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config).save_pretrained(folder)
    BertTokenizer().save_pretrained(folder)
    with pytest.raises(WeightsError, match="the tokenizer has 5 tokens, the model 500"):
        t2imetrics.load("bertscore", weights=tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        t2imetrics.load("bertscore", weights=tmp_path)
