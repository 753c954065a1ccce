"""Inception features: TensorFlow's pooling and the resize in floating point."""

from __future__ import annotations

import numpy as np
import pytest
import t2imetrics
from PIL import Image

from tests.metrics import small_weights as small

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def network():
    from t2imetrics import _inception

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return _inception.build()


def test_average_pools_leave_out_the_padding_and_the_last_block_takes_the_maximum(network) -> None:
    x = torch.rand(1, 2048, 4, 4)
    for name, pool in (("Mixed_7b", "avg"), ("Mixed_7c", "max")):
        block = getattr(network, name)
        seen: list[torch.Tensor] = []
        hook = block.branch_pool.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        block(x[:, : block.branch_pool.conv.in_channels])
        hook.remove()
        corner = x[0, 0, :2, :2]
        expected = corner.mean() if pool == "avg" else corner.max()
        assert seen[-1][0, 0, 0, 0] == pytest.approx(float(expected), rel=1e-5)


def test_pixels_are_resized_in_float_and_cut_off_at_black_and_white() -> None:
    from t2imetrics._inception import preprocess

    image = Image.fromarray(np.kron(np.eye(2, dtype=np.uint8) * 255, np.ones((8, 8), np.uint8))).convert("RGB")
    pixels = preprocess(image)
    assert pixels.shape == (3, 299, 299)
    assert pixels.max() == 127 / 128, "what bicubic overshoots is cut off"
    assert len(pixels.unique()) > 256, "nothing is rounded to levels"
    grey = preprocess(Image.new("RGB", (10, 20), (128, 64, 0)))
    assert torch.allclose(grey, torch.tensor([0.0, -0.5, -1.0])[:, None, None].expand_as(grey), atol=1e-5)


def test_the_published_path_gives_2048_features(network, monkeypatch, tmp_path) -> None:
    """The real loading code on a random network in the published file's place."""
    import hashlib

    from t2imetrics import _inception, fid

    state = {key: value.clone() for key, value in _inception.build().state_dict().items()}
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path / "checkpoints" / "net.pth"
    path.parent.mkdir()
    torch.save(state, path)
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(fid, "INCEPTION", fid.UrlFile("https://example.org/net.pth", prefix))
    scorer = t2imetrics.load("fid", device="cpu", batch_size=2)
    features = scorer.features([small.picture(i) for i in range(3)])
    assert features.shape == (3, 2048)
    assert np.isfinite(features).all()
    single = t2imetrics.load("fid", device="cpu", batch_size=1).features([small.picture(2)])
    np.testing.assert_allclose(single[0], features[2], atol=1e-4)
    assert scorer.card.weights.sha256.startswith(prefix)
