"""Arrays become tensors; what lies in a file that may only be read is copied, without a word to the user."""

import numpy as np
import torch

from tunesmith.models.transfer import on_device


def test_an_array_is_the_same_memory_on_a_cpu() -> None:
    array = np.arange(3)
    tensor = on_device(array, "cpu")
    array[0] = 7
    assert tensor.tolist() == [7, 1, 2]


def test_an_array_that_may_only_be_read_is_copied_so_that_nothing_can_write_to_it() -> None:
    array = np.frombuffer(np.arange(3).tobytes(), dtype=np.int64)
    tensor = on_device(array, torch.device("cpu"))
    tensor[0] = 7
    assert array.tolist() == [0, 1, 2]
