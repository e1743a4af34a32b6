import pytest
import torch
from torch import Tensor

from tunesmith.models import decoding
from tunesmith.models.decoding import Mask, attend


def parts(masked: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    random = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 3, n, 8, generator=random) for n in (4, 9, 9))
    seen = torch.rand(2, 1, 4, 9, generator=random) > 0.4
    seen[0, 0, 1] = False  # a row that sees nothing of this part
    return q, k, v, seen if masked else None


@pytest.mark.parametrize("masked", [True, False])
def test_the_kernel_gives_what_plain_operations_give(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, seen = parts(masked)
    mask = None if seen is None else Mask(seen)
    out, lse = attend(q, k, v, mask, 0.3, None)
    monkeypatch.setattr(decoding, "_suits_kernel", lambda *_: False)
    plain_out, plain_lse = attend(q, k, v, mask, 0.3, None)
    torch.testing.assert_close(lse, plain_lse)
    visible = plain_lse > -1e20
    torch.testing.assert_close(out[visible], plain_out[visible])
    assert bool(out.isfinite().all())


def test_attention_over_one_part_is_torchs_own() -> None:
    q, k, v, _ = parts(False)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.3)
    torch.testing.assert_close(attend(q, k, v, None, 0.3, None)[0], expected)


def test_a_soft_cap_bounds_the_scores() -> None:
    q, k, v, _ = parts(False)
    scores = torch.tanh(q @ k.transpose(-1, -2) * 0.3 / 0.5) * 0.5
    out, lse = attend(q, k, v, None, 0.3, 0.5)
    torch.testing.assert_close(out, scores.softmax(-1) @ v)
    torch.testing.assert_close(lse, scores.logsumexp(-1))
