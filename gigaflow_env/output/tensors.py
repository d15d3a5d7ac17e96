"""What an environment returns as torch tensors that share the simulator's memory, on the CPU and on CUDA devices."""

from typing import Any

import numpy as np

from gigaflow_env.extras import needed
from gigaflow_env.simulator import Simulator

with needed("output='torch' needs torch", "train", "torch"):
    import torch

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Tensors:
    """An Output of tensors. On a CUDA device nothing here waits for the device, but a mask of the host."""

    def __init__(self, simulator: Simulator, copy: bool, device: int) -> None:
        self.simulator = simulator
        self.copies = copy
        self.on_cuda = simulator.backend == "cuda"
        self.device = torch.device("cuda", device) if self.on_cuda else torch.device("cpu")
        self._views: dict[int, torch.Tensor] = {}
        self._fixed: torch.Tensor | None = None  # who drives does not change
        self._steps_until_recorded = -1  # below 0: not wanted, or done

    def of(self, array: Any) -> torch.Tensor:
        """A tensor for an array of the simulator, which shares its memory or is a copy."""
        view = self._view(array)
        return view.clone() if self.copies else view

    def begin(self) -> None:
        """Nothing: tensors are copied where the user wants copies."""

    def observations(self) -> torch.Tensor:
        """What all rows see."""
        return self.of(self.simulator.observations)

    def rows_of(self, array: np.ndarray) -> torch.Tensor:
        """An array of the host, one entry a row."""
        if self._fixed is None:
            self._fixed = torch.from_numpy(array).to(self.device)
        return self._fixed

    def only(self, array: Any, where: torch.Tensor) -> torch.Tensor:
        """The rows where `where` is True, 0 elsewhere."""
        view = self._view(array)
        return view.masked_fill(~where.view(-1, *[1] * (view.dim() - 1)), 0)

    def _view(self, array: Any) -> torch.Tensor:
        if not self.on_cuda:
            return self._halves(torch.from_numpy(self.simulator.per_row(array)))
        # Through the array interface, which is slow: once an array.
        key, simulator = id(array), self.simulator
        if array.shape[1] != simulator.seats:  # of scenes: others than the rows have no place in what is returned
            if key not in self._views:
                self._views[key] = torch.as_tensor(array, device=self.device)
            return self._views[key][:, : simulator.seats].flatten(0, 1)[: simulator.rows]
        if key not in self._views:
            self._views[key] = self._halves(torch.as_tensor(simulator.per_row(array), device=self.device))
        return self._views[key]

    def _halves(self, view: torch.Tensor) -> torch.Tensor:
        return view.view(_HALVES[self.simulator.obs_dtype]) if view.dtype == torch.uint16 else view

    def mask(self, given: Any) -> Any:
        """A reset mask as the backend takes it, or None."""
        if not self.on_cuda:
            return None if given is None else np.asarray(given)
        self._follow_stream()
        if not isinstance(given, torch.Tensor):
            return given
        if self.simulator.seats < self.simulator.agents:
            return given.cpu().numpy()
        self._view(self.simulator.chosen).copy_(given)
        return self.simulator.chosen

    def actions(self, given: Any) -> Any:
        """given: tensor (rows,), or what torch takes by DLPack, on the simulator's device; or an array on the host.

        Those on a CUDA device are not checked, as that would wait for it.
        """
        if not self.on_cuda:
            return np.asarray(given)
        if self.simulator.contacts is not None and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("a step with events=True can't be recorded, as the host reads it: env.capture() can")
        target = self.simulator.wanted if self.simulator.wanted.size else self.simulator.actions
        buffer = self._view(target)
        if not isinstance(given, (np.ndarray, torch.Tensor)) and hasattr(given, "__dlpack__"):
            given = torch.from_dlpack(given)
        if isinstance(given, torch.Tensor) and given.is_cuda:
            if given.shape != buffer.shape:
                raise ValueError(f"actions have shape {tuple(given.shape)}: expected one per row, {tuple(buffer.shape)}")
            if given.data_ptr() != buffer.data_ptr():
                buffer.copy_(given)
        else:
            self._follow_stream()
            self.simulator.write_actions(np.asarray(given))
        self._record()
        return target

    def capture(self) -> None:
        """From the second step on, a step is one launch of a recorded graph. The first loads the kernels."""
        if self.simulator.page is not None:
            raise RuntimeError("capture() records the step of towns: pages of scenes bring tables of their own")
        if not self.on_cuda:
            raise RuntimeError("capture() records the step of a CUDA device: it needs backend='cuda' and output='torch'")
        self._steps_until_recorded = 1

    def _record(self) -> None:
        """Before a step: record it where that is wanted and kernels are loaded; the simulator replays it from then on."""
        if self._steps_until_recorded == 0 and not torch.cuda.is_current_stream_capturing():
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self.device), torch.cuda.graph(graph):
                self._follow_stream()
                self.simulator.step(self.simulator.actions)
            self.simulator.replay = graph.replay  # recording does nothing but record
            self._steps_until_recorded = -1
        if self._steps_until_recorded > 0:
            self._steps_until_recorded -= 1
        self._follow_stream()  # after the recording, which has its own

    def _follow_stream(self) -> None:
        self.simulator.stream = torch.cuda.current_stream(self.device).cuda_stream
