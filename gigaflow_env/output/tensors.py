"""What an environment returns as torch tensors that share the simulator's memory, on the CPU and on CUDA devices."""

from typing import Any

import numpy as np

from gigaflow_env.simulator import Simulator

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise  # it is there, but broken: that is another story
    raise ImportError("output='torch' needs torch: pip install 'gigaflow-env[train]'") from None

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Tensors:
    """As `output.Arrays`. On a CUDA device nothing here waits for the device, but `reset` with a mask of the host."""

    def __init__(self, simulator: Simulator, copy: bool, device: int) -> None:
        self.simulator = simulator
        self.copies = copy
        self.on_cuda = simulator.backend == "cuda"
        self.device = torch.device("cuda", device) if self.on_cuda else torch.device("cpu")
        self._views: dict[int, torch.Tensor] = {}
        self._graph: Any = None
        self._fixed: torch.Tensor | None = None  # who drives does not change
        self._wanted = self._driven = False

    def of(self, array: Any) -> torch.Tensor:
        view = self._view(array)
        return view.clone() if self.copies else view

    def rows_of(self, array: np.ndarray) -> torch.Tensor:
        """An array of the host, one entry a row."""
        if self._fixed is None:
            self._fixed = torch.from_numpy(array).to(self.device)
        return self._fixed

    def only(self, array: Any, where: torch.Tensor) -> torch.Tensor:
        view = self._view(array)
        return view.masked_fill(~where.view(-1, *[1] * (view.dim() - 1)), 0)

    def _view(self, array: Any) -> torch.Tensor:
        if not self.on_cuda:
            return self._halves(torch.from_numpy(self.simulator.per_row(array)))
        # Through the array interface, which is slow: once an array.
        key = id(array)
        if key not in self._views:
            self._views[key] = self._halves(torch.as_tensor(self.simulator.per_row(array), device=self.device))
        return self._views[key]

    def _halves(self, view: torch.Tensor) -> torch.Tensor:
        return view.view(_HALVES[self.simulator.obs_dtype]) if view.dtype == torch.uint16 else view

    def reset(self, key: np.ndarray | None, mask: Any) -> None:
        if not self.on_cuda:
            self.simulator.reset(key, None if mask is None else np.asarray(mask))
            return
        self._follow_stream()
        if isinstance(mask, torch.Tensor):
            self._view(self.simulator.chosen).copy_(mask)
            mask = self.simulator.chosen
        self.simulator.reset(key, mask)

    def step(self, actions: Any) -> None:
        """actions: tensor (rows,), or what torch takes by DLPack, on the simulator's device; or an array on the host.

        Those on a CUDA device are not checked, as that would wait for it.
        """
        if not self.on_cuda:
            self.simulator.step(np.asarray(actions))
            return
        if self.simulator.contacts is not None and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("a step with events=True can't be recorded, as the host reads it: env.capture() can")
        target = self.simulator.wanted if self.simulator.wanted.size else self.simulator.actions
        buffer = self._view(target)
        if not isinstance(actions, (np.ndarray, torch.Tensor)) and hasattr(actions, "__dlpack__"):
            actions = torch.from_dlpack(actions)
        if isinstance(actions, torch.Tensor) and actions.is_cuda:
            if actions.shape != buffer.shape:
                raise ValueError(f"actions have shape {tuple(actions.shape)}: expected one per row, {tuple(buffer.shape)}")
            if actions.data_ptr() != buffer.data_ptr():
                buffer.copy_(actions)
        else:
            self._follow_stream()
            self.simulator.write_actions(np.asarray(actions))
        self._drive()

    def _drive(self) -> None:
        if self._graph is None and self._wanted and self._driven and not torch.cuda.is_current_stream_capturing():
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self.device), torch.cuda.graph(graph):
                self._follow_stream()
                self.simulator.step(self.simulator.actions)
            self._graph = graph  # recording does nothing but record
        self._follow_stream()  # after the recording, which has its own
        if self._graph is not None:
            self._graph.replay()
            return
        self.simulator.step(self.simulator.actions)
        self._driven = True

    def capture(self) -> None:
        """From the second step on, a step is one launch of a recorded graph. The first loads the kernels."""
        if not self.on_cuda:
            raise RuntimeError("capture() records the step of a CUDA device: it needs backend='cuda' and output='torch'")
        self._wanted = True

    def _follow_stream(self) -> None:
        self.simulator.stream = torch.cuda.current_stream(self.device).cuda_stream
