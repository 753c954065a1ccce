"""Aesthetic score: how beautiful people would find a picture, predicted from CLIP's picture embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2imetrics._card import MetricCard, Weights
from t2imetrics._images import CentreCrop
from t2imetrics._scorer import Floats, PictureScorer, Setting
from t2imetrics._weights import UrlFile, fetch, find_part, or_damaged, read_checkpoint, require_finite, together
from t2imetrics.clipscore import BACKBONES, TAG
from t2imetrics.errors import WeightsError

if TYPE_CHECKING:
    import torch

COMMIT = "6934dd81792f086e613a121dbce43082cb8be85e"
#: The digest was measured on the file of this commit; its publisher states none.
HEAD = UrlFile(
    "https://raw.githubusercontent.com/christophschuhmann/improved-aesthetic-predictor/"
    f"{COMMIT}/sac+logos+ava1-l14-linearMSE.pth",
    "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)
#: Width of each layer's output; no activation lies between them, and dropout does nothing when scoring.
WIDTHS, DROPOUTS = (1024, 128, 64, 16, 1), (0.2, 0.2, 0.1)


class Aesthetic(PictureScorer):
    """LAION's aesthetic predictor v2 on the unit vector of CLIP's picture embedding.

    Args:
        setting: weights, device, batch size.
    """

    card = MetricCard(
        name="aesthetic",
        title="Aesthetic",
        unit="predicted rating on people's scale of 1 to 10",
        lower=-12.76,
        upper=23.24,
        higher_is_better=True,
        reads="images",
        text_limit=None,
        reduction="mean",
        failed_value=1.0,
        source="Schuhmann, improved-aesthetic-predictor (no paper of its own; audited in arXiv 2601.09896)",
        weights=Weights(HEAD.url.rsplit("/", 1)[1], COMMIT, HEAD.sha256_prefix),
        note="preprocessing A; OpenAI's ViT-L/14; a failed row scores the worst rating, which is our choice",
    )

    def __init__(self, setting: Setting) -> None:
        from t2imetrics import _clip

        self.setting = setting
        self.head, weights = _load_head(setting)
        require_finite(weights, self.head)
        if setting.weights == "published":
            self.towers = _clip.load_tagged(setting, BACKBONES["ViT-L/14"], TAG)
        else:
            self.towers = _clip.load_folder(setting, "clip")
        self._require_fit(weights)
        self.how = CentreCrop(self.towers.size, self.towers.mean, self.towers.std)
        self.hows = (self.how,)
        weights = replace(weights, files=together(weights, self.towers.weights))
        lower, upper = _bounds(self.head)
        tower = f"picture tower {self.towers.weights.name}, sha256 {self.towers.weights.sha256}"
        self.card = replace(self.card, lower=lower, upper=upper, weights=weights, note=f"preprocessing A; {tower}")

    def rows(self, batch: Any, against: Any = None) -> Floats:
        """Values of one batch, shape (n,), predicted ratings; nothing holds them between 1 and 10."""
        import torch

        with torch.inference_mode():
            unit = torch.nn.functional.normalize(self.towers.image_features(batch, self.how))
            ratings: Floats = self.head(unit.double())[:, 0].numpy()
        return ratings

    def _require_fit(self, weights: Weights) -> None:
        reads, gives = _reads(self.head), int(self.towers.model.visual.output_dim)
        if reads != gives:
            raise WeightsError(f"{weights.name} reads {reads} numbers, the picture tower gives {gives}")


def _load_head(setting: Setting) -> tuple[Any, Weights]:
    if setting.weights == "published":
        path, weights = fetch(HEAD)
        return _head(path), replace(weights, revision=COMMIT)
    folder, weights = find_part("aesthetic", setting.weights, "aesthetic")
    return _head(folder / "model.safetensors"), weights


def _head(path: Path) -> torch.nn.Sequential:
    """The released layers (`layers.0` to `layers.7`), float64, on the processor: they cost next to nothing."""
    from torch import nn

    state = read_checkpoint(path)

    def build() -> nn.Sequential:
        wide = [state["layers.0.weight"].shape[1], *WIDTHS]
        layers: list[nn.Module] = []
        for place, width in enumerate(WIDTHS):
            layers.append(nn.Linear(wide[place], width))
            layers += [nn.Dropout(share) for share in DROPOUTS[place : place + 1]]
        whole = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        whole.load_state_dict(state)
        return nn.Sequential(*layers).double().eval().requires_grad_(False)

    return or_damaged(path, build)


def _reads(head: torch.nn.Sequential) -> int:
    """Width of the embedding it was trained on."""
    return int(next(head.parameters()).shape[1])


def _bounds(head: torch.nn.Sequential) -> tuple[float, float]:
    """Least and greatest rating of a unit vector; the layers are one affine map, bias -+ length of its weights."""
    import torch

    units = torch.eye(_reads(head), dtype=torch.float64)
    with torch.inference_mode():
        bias = head(torch.zeros_like(units[:1]))
        reach = (head(units) - bias).norm()
    return float(bias - reach), float(bias + reach)
