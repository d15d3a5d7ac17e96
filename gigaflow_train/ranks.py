"""Several processes that train one policy: all that is global goes through here. Of one process nothing is sent.

`torchrun -m gigaflow_train run ...` starts the processes, also on several machines; each has an environment with worlds of
its own. NCCL sends between cards, Gloo between CPUs.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def start(backend: str) -> None:
    """Join the processes that torchrun has started; alone, there is nothing to join. backend: of the environment."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if backend == "cuda":
            torch.cuda.set_device(local())
        dist.init_process_group("nccl" if backend == "cuda" else "gloo")


def stop() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()


def count() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 to count - 1. Number 0 writes the files and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def local() -> int:
    """Number of this process on its machine: the card it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def sum_(tensor: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if count() > 1:
        dist.all_reduce(tensor)
    return tensor


def max_(tensor: Tensor) -> Tensor:
    """Largest over all processes, in place."""
    if count() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def gathered(number: int, device: torch.device) -> list[int]:
    """A number of every process, in their order."""
    if count() == 1:
        return [number]
    all_ = torch.zeros(count(), dtype=torch.int64, device=device)
    all_[rank()] = number
    return sum_(all_).tolist()


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """The tensors of process 0, to all."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def sum_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Sum over all processes of every gradient, sent as one; those of processes without samples are 0."""
    if count() == 1:
        return
    grads = [parameter.grad if parameter.grad is not None else torch.zeros_like(parameter) for parameter in parameters]
    flat = sum_(torch.cat([grad.flatten() for grad in grads]))
    for parameter, part in zip(parameters, flat.split([grad.numel() for grad in grads]), strict=True):
        parameter.grad = part.view_as(parameter)


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()
