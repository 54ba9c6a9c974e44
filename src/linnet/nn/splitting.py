"""Section 5.1 in torch: a block evaluated in t slices of its expanded channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linnet.nn.convolution import ConvolutionModule
from linnet.nn.modules import Chain, GraphNetwork, Output


def forward_in_splits(network: GraphNetwork, images: Tensor, *, splits: int) -> Output:
    """The network's output with each inverted residual computed in `splits` slices of its expanded channels.

    Only one slice of the expanded tensor and of the depthwise output exists at a time: everything between expansion
    and projection works channel by channel, and the projection is a sum over channels. Equal to the plain forward
    pass up to rounding. A block whose expanded tensor a shortcut or a detector's head needs runs whole; so do layers of
    other kinds.

    Args:
        network: in evaluation mode.
        images: (N, C, H, W).
        splits: the paper's t of section 5.1 (it recommends 2 to 5): a whole number from 1; blocks with fewer
            channels than that are split into single channels.

    Returns:
        What the network itself gives: logits (N, classes), pooled features, or a detector's offsets and logits.

    Raises:
        ValueError: if the network is in training mode or `splits` is not a whole number from 1.
    """
    if network.training:
        raise ValueError("Splitting needs a network in evaluation mode. Call `.eval()` first.")
    if not isinstance(splits, int) or splits < 1:
        raise ValueError(f"`splits` (={splits!r}) must be a whole number from 1.")

    def run_chain(chain: Chain, x: Tensor) -> Tensor:
        kinds = [operation.kind for operation in chain.convolutions]
        if kinds not in (["pointwise", "depthwise", "pointwise"], ["depthwise", "pointwise"]):
            return network.run_chain(chain, x)
        *expand, depthwise, project = (network.module_of(operation.name) for operation in chain.convolutions)
        y = _in_splits(expand[0] if expand else None, depthwise, project, x, splits)
        return y.add_(x) if chain.adds_input else y

    with torch.no_grad():
        return network.run(images, (), run_chain=run_chain)[0]


def _in_splits(
    expand: ConvolutionModule | None, depthwise: ConvolutionModule, project: ConvolutionModule, x: Tensor, splits: int
) -> Tensor:
    """Expansion, depthwise and projection in slices of the channels between them: (N, in, H, W) → (N, out, H', W')."""
    total: Tensor | None = None
    for channels in torch.arange(depthwise.layer.in_channels).tensor_split(splits):
        if len(channels) == 0:
            continue
        part = slice(int(channels[0]), int(channels[-1]) + 1)
        hidden = x[:, part] if expand is None else _outputs(expand, x, part)  # (N, part, H, W)
        hidden = _outputs(depthwise, hidden, part)  # (N, part, H', W')
        partial = F.conv2d(hidden, project.convolution.weight[:, part])  # (N, out, H', W')
        total = partial if total is None else total.add_(partial)
        # A slice must be gone before the next one is made.
        del hidden, partial
    assert total is not None
    bias = project.convolution.bias
    if bias is not None:
        total += bias[:, None, None]
    return project.activation(project.norm(total))


def _outputs(module: ConvolutionModule, x: Tensor, part: slice) -> Tensor:
    """The output channels `part` of a convolution module; of a depthwise one `x` holds just those channels."""
    convolution, norm = module.convolution, module.norm
    y = F.conv2d(
        module.pad(x),
        convolution.weight[part],
        None if convolution.bias is None else convolution.bias[part],
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        x.shape[1] if module.layer.depthwise else 1,
    )
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        y = F.batch_norm(
            y, norm.running_mean[part], norm.running_var[part], norm.weight[part], norm.bias[part], eps=norm.eps
        )
    return module.activation(y)
