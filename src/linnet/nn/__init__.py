"""The architecture as torch modules: build, freeze, adapt, run in slices, load and save."""

from linnet.nn.files import checkpoint_of, from_checkpoint, load_tensors, save, tensors_of
from linnet.nn.modules import Network, build
from linnet.nn.splitting import forward_in_splits
from linnet.nn.surgery import adapt_input_channels, freeze

__all__ = [
    "Network",
    "adapt_input_channels",
    "build",
    "checkpoint_of",
    "forward_in_splits",
    "freeze",
    "from_checkpoint",
    "load_tensors",
    "save",
    "tensors_of",
]
