"""Arrays of the host as tensors beside the parameters, without the host waiting for the device.

The decision: a copy to a GPU goes from pinned memory, because one from ordinary memory makes the driver wait for all
that the device has still to do. What comes back, comes back once a step (`training.step`).
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def on_device(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """A NumPy array as a tensor on `device`; on a CPU it is the same memory, unless that may not be written to."""
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
