"""How Numba compiles what is always inlined: it stays LLVM's code, and only its kernel becomes machine code.

By default Numba optimises every function in full and makes machine code of it, also of those that nobody can call: a sixth
of the compile time. The functions' own passes and the cheap ones stay: with less, the kernel's passes take longer than that
saves.
Numba's code libraries are not a public interface: what changes there is found by every test that compiles.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _NoMachineCode:
    """What Numba asks for the address of a function's environment, which exists in machine code only."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing: kernels read no environment, as they have no objects."""


class _InlinedLibrary(JITCodeLibrary):
    codegen = _NoMachineCode()  # type: ignore[assignment]

    def _optimize_final_module(self) -> None:
        codegen = self._codegen
        passes, builder = codegen._module_pass_manager(
            loop_vectorize=codegen._loopvect, slp_vectorize=False, opt=codegen._opt_level, cost="cheap"
        )
        passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # as for a function that has no wrapper for Python


class InlinedCompiler(Compiler):
    """For `numba.njit(pipeline_class=...)` of functions without wrappers."""

    def define_pipelines(self) -> Any:
        """Numba's own passes, into a library of the kind above."""
        codegen = self.state.targetctx.codegen()
        self.state.library = _InlinedLibrary(codegen, self.state.func_id.func_qualname)
        return super().define_pipelines()


class DistinctArrays(InlinedCompiler):
    """The same for a function whose arrays don't overlap: LLVM may then keep what it read, whatever is stored elsewhere."""

    def define_pipelines(self) -> Any:
        """Numba's own passes, where arguments that are addresses are marked."""
        self.state.flags.noalias = True
        return super().define_pipelines()
