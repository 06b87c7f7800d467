"""Batch-norm over what all processes of a run see in a step, on any device.

PyTorch's SyncBatchNorm trains on GPUs alone; this one needs nothing but sums over the processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import ranks


def sync_norms(network: nn.Module) -> None:
    """Replace every batch-norm that keeps running statistics by one over all processes, with the same parameters.

    One without running statistics normalises with a task's own images (`BACKBONE.ARGS.norm: batch`); those are in one
    process, and it stays as it is.
    """
    for module in list(network.modules()):
        for name, norm in list(module.named_children()):
            if type(norm) in _SYNCED and norm.track_running_stats:
                setattr(module, name, _SYNCED[type(norm)].like(norm))


class _Synced(nn.modules.batchnorm._BatchNorm):
    """What the synchronised norms of any number of axes have in common."""

    @classmethod
    def like(cls, norm: Any) -> _Synced:
        """A norm that shares the parameters and the running statistics of another."""
        synced = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        for name in ("weight", "bias"):
            setattr(synced, name, getattr(norm, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(synced, name, getattr(norm, name))
        return synced.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """x [n, C, ...] normalised; in training by mean and variance over all processes' x."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            assert self.running_mean is not None, "sync_norms leaves norms without running statistics alone"
            assert self.running_var is not None, "as above"
            assert self.num_batches_tracked is not None, "as above"
            self.num_batches_tracked += 1
            rate = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
            self.running_mean += rate * (mean - self.running_mean)
            self.running_var += rate * (variance * (count / (count - 1)) - self.running_var)
        return y


class _Synced1d(_Synced, nn.BatchNorm1d):
    """On [n, C] or [n, C, L]."""


class _Synced2d(_Synced, nn.BatchNorm2d):
    """On [n, C, h, w]."""


_SYNCED: dict[type[nn.Module], type[_Synced]] = {nn.BatchNorm1d: _Synced1d, nn.BatchNorm2d: _Synced2d}


class _Normalise(torch.autograd.Function):
    """Normalised x, with the mean and the variance [C] that did it, and the number of values behind each.

    The kernels of PyTorch's own batch-norm sum up what this process sees.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = x if x.dtype == torch.float64 else x.float()
        here, spread = torch.batch_norm_update_stats(exact, None, None, 0.0)  # mean and variance of this process
        values = torch.full_like(here, x.numel() // x.shape[1], dtype=torch.float64)
        # In float64 nothing of a small variance is lost beside the square of a large mean.
        moments = torch.stack([values, values * here, values * (spread.double() + here.double() ** 2)])
        count, total, squares = ranks.current().add(moments)
        center = total / count
        mean, variance = center.to(here.dtype), (squares / count - center**2).clamp_(min=0).to(here.dtype)
        y = torch.nn.functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, rate, count = ctx.saved_tensors
        shape = [1, -1] + [1] * (x.dim() - 2)
        _, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, None, None, mean, rate, True, 0.0, [False, True, True]
        )
        # Every process's loss depends on the statistics, so what they get from all is summed.
        d_shift, d_gain = ranks.current().add(torch.stack([d_bias, d_weight])) / count.to(d_bias.dtype)
        gain = rate if weight is None else rate * weight
        # gain * (dy - d_shift - (x - mean) * rate * d_gain), as one multiple of x and one of dy.
        slope = -gain * rate * d_gain
        offset = -gain * d_shift - slope * mean
        dx = torch.addcmul(offset.view(shape), slope.view(shape), x).addcmul_(gain.view(shape), dy)
        return dx, (None if weight is None else d_weight), (None if weight is None else d_bias), None
