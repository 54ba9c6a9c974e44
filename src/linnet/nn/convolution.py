"""A convolution with what follows it, as a torch module."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from linnet.architecture import Convolve


class ConvolutionModule(nn.Module):
    """Convolution, batch norm (none once folded) and activation."""

    def __init__(self, layer: Convolve) -> None:
        super().__init__()
        self.layer = layer
        # Equal zeros on both sides belong to the convolution; others are written by `forward`.
        symmetric = layer.padding == "symmetric" or layer.stride == 1
        self.convolution = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            padding=layer.dilation * (layer.kernel - 1) // 2 if symmetric else 0,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=layer.norm is None,
        )
        self.pads_first = not symmetric
        self.norm: nn.Module = nn.Identity()
        if layer.norm is not None:
            self.norm = nn.BatchNorm2d(layer.out_channels, eps=layer.norm.epsilon, momentum=layer.norm.momentum)
        # In place: neither a convolution nor batch norm needs its own output again.
        activations = {"relu6": nn.ReLU6(inplace=True), "relu": nn.ReLU(inplace=True), "linear": nn.Identity()}
        self.activation = activations[layer.activation]

    def pad(self, x: Tensor) -> Tensor:
        """The input with TensorFlow's zeros around it, where the convolution does not add its own."""
        if not self.pads_first:
            return x
        top, bottom = self.layer.pad_axis(x.shape[2])
        left, right = self.layer.pad_axis(x.shape[3])
        return F.pad(x, (left, right, top, bottom))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        x = F.dropout(x, self.layer.dropout, self.training) if self.layer.dropout else x
        return self.activation(self.norm(self.convolution(self.pad(x))))
