"""PTX, the machine-independent code of a CUDA kernel, as C: one function, which machine.c calls for each thread.

A PTX register becomes a variable, an instruction a statement that rounds as the card does: once an instruction, fused where
the compiler fused. Only what our kernels need is there; other instructions are refused by name.

Source: Parallel Thread Execution ISA, version 8, NVIDIA.
"""

import hashlib
import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BITS = (8, 16, 32, 64)
LETTERS = {"b": "uint", "u": "uint", "s": "int"}
C_TYPES = {f"{letter}{bits}": f"{name}{bits}_t" for bits in BITS for letter, name in LETTERS.items()}
C_TYPES |= {"f32": "float", "pred": "int"}
SPECIAL = {
    "%tid.x": "t->tid", "%ctaid.x": "t->ctaid", "%ntid.x": "t->ntid", "%nctaid.x": "t->nctaid",
    "%tid.y": "0", "%tid.z": "0", "%ctaid.y": "0", "%ctaid.z": "0", "%ntid.y": "1", "%ntid.z": "1",
    "%laneid": "(t->tid & 31)", "%dynamic_smem_size": "t->shared_bytes",
}  # fmt: skip
ROUNDED = {"rzi": "truncf", "rni": "rintf", "rmi": "floorf", "rpi": "ceilf"}
COMPARED = {"eq": "==", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
JOINED = {"and": "&&", "or": "||", "xor": "^"}
INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^"}
COMPILER = ("gcc", "-O0", "-w", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-mfma", "-shared", "-fPIC")


class Unknown(Exception):
    """An instruction or operand that has no translation yet."""


def library(ptx: str, folder: Path) -> Path:
    """The kernel as a shared library in `folder`: translated and compiled once.

    Args:
        ptx: the code of one kernel.
        folder: where libraries are kept, by the hash of what they are made of.
    """
    made_of = ptx + Path(__file__).read_text() + (HERE / "thread.h").read_text()
    found = folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.so"
    if not found.exists():
        source = found.with_suffix(".c")
        source.write_text(Translation(ptx).source())
        subprocess.run([*COMPILER, "-I", str(HERE), str(source), "-o", str(found), "-lm"], check=True)
    return found


def is_float(kind: str) -> bool:
    return kind.startswith("f")


def width(kind: str) -> int:
    return int(kind[1:])


class Translation:
    """One kernel on its way to C."""

    def __init__(self, ptx: str) -> None:
        head, _, rest = ptx[re.search(r"\.entry", ptx).start() :].partition("\n{")
        self.body = rest[: rest.rindex("}")]
        self.parameters = {name: k for k, name in enumerate(re.findall(r"(\w+_param_\d+)", head))}
        self.shared = set(re.findall(r"\.extern \.shared .*?(\w+)\[\]", ptx))
        self.classes: dict[str, str] = {}  # of registers, by prefix or name
        self.declared: list[str] = []
        self.lines: list[str] = []
        self.blocks: list[int] = []  # instructions of each basic block
        self.accesses: list[tuple[bool, bool, int]] = []  # memory instructions: shared, store, basic block

    def source(self) -> str:
        """The C code."""
        self._block()
        for line in self.body.splitlines():
            line = re.sub(r"//.*", "", line).strip()
            if line.startswith(".reg"):
                self._declare(line)
            elif line in ("{", "}"):
                self.lines.append(line)
            elif re.fullmatch(r"\$?[\w$]+:", line):
                self.lines.append(f"{_label(line[:-1])}:;")
                self._block()
            elif line.startswith((".local", ".shared")):
                raise Unknown(f"a kernel's own memory: {line}")
            elif line and not line.startswith((".pragma", ".loc")):
                self.blocks[-1] += 1
                self._instruction(line.rstrip(";").strip())
        rows = ",".join(f"{{{int(a)},{int(b)},{c}}}" for a, b, c in self.accesses) or "{0}"
        return "\n".join([
            '#include "thread.h"',
            f"const int blocks = {len(self.blocks)}, accesses = {len(self.accesses)};",
            f"const int instructions[] = {{{','.join(map(str, self.blocks))}}};",
            f"const Instruction memory[] = {{{rows}}};",
            "void body(Thread *t, void **parameters) {",
            *self.declared,
            *self.lines,
            ";}\n",
        ])  # fmt: skip

    def _declare(self, line: str) -> None:
        kind, name, number = re.fullmatch(r"\.reg \.(\w+)\s+%(\w+)(?:<(\d+)>)?;", line).groups()
        self.classes[name] = kind
        if number is None:  # of a scope of its own
            self.lines.append(f"{C_TYPES[kind]} {name} = 0;")
        else:
            self.declared.append(f"{C_TYPES[kind]} {', '.join(f'{name}{k} = 0' for k in range(int(number)))};")

    def _block(self) -> None:
        self.blocks.append(0)
        self.lines.append(f"t->visits[{len(self.blocks) - 1}]++;")

    def _class(self, text: str) -> str | None:
        """The type that a register was declared with; None for what is none."""
        if not text.startswith("%"):
            return None
        name = text[1:]
        return self.classes.get(name) or self.classes.get(name.rstrip("0123456789"))

    def _value(self, text: str, kind: str) -> str:
        """An operand as a C expression of type `kind`."""
        to = C_TYPES[kind]
        declared = self._class(text)
        if declared is not None:
            name = text[1:]
            if is_float(kind) == is_float(declared):
                return name if kind in (declared, "pred") else f"(({to}){name})"
            return f"as_float({name})" if is_float(kind) else f"(({to})as_bits({name}))"
        if text in SPECIAL:
            return f"(({to}){SPECIAL[text]})"
        if text in self.shared:
            return "((uint64_t)t->shared)"
        if re.fullmatch("0f[0-9A-Fa-f]{8}", text):
            return f"as_float(0x{text[2:]}u)"
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", text):
            number = int(text.rstrip("U"), 0)
            if kind == "pred":
                return str(int(number != 0))
            return f"(({to})0x{number % 2**64:x}ull)"
        raise Unknown(f"operand {text} of type {kind}")

    def _assign(self, register: str, expression: str, kind: str) -> str:
        """A statement that gives a register a value of type `kind`: widened by that type's sign."""
        declared = self._class(register)
        if declared is None:
            raise Unknown(f"result {register}")
        if is_float(declared) != is_float(kind):
            expression = f"as_float({expression})" if is_float(declared) else f"as_bits({expression})"
        elif not is_float(kind) and "pred" not in (declared, kind):
            expression = f"({C_TYPES[kind]})({expression})"
        return f"{register[1:]} = {expression};"

    def _instruction(self, line: str) -> None:
        guard, negated, predicate, name, rest = re.fullmatch(r"(@(!?)%(\w+)\s+)?([\w.:]+)\s*(.*)", line).groups()
        operation, *modifiers = name.split(".")
        operands = re.findall(r"[\[{][^\]}]*[\]}]|[^,\s][^,]*", rest)
        try:
            statement = self._statement(operation, modifiers, [one.strip() for one in operands])
        except (Unknown, KeyError, IndexError) as error:
            raise Unknown(f"PTX instruction without translation: {line}") from error
        self.lines.append(f"if ({negated}{predicate}) {{{statement}}}" if guard else statement)
        if operation in ("bra", "ret"):
            self._block()

    def _statement(self, operation: str, modifiers: list[str], operands: list[str]) -> str:
        here = len(self.lines)
        match operation:
            case "bra":
                return f"goto {_label(operands[0])};"
            case "ret":
                return "return;"
            case "bar" | "barrier":
                return self._barrier(modifiers, operands, here)
            case "vote" if "ballot" in modifiers:
                return self._exchange(here, operands[0], self._value(operands[1], "pred"), "-1", operands[2])
            case "shfl" if "bfly" in modifiers:
                source = f"(t->tid & 31) ^ {self._value(operands[2], 'u32')}"
                to = operands[0].split("|")[0]
                return self._exchange(here, to, self._value(operands[1], "u32"), source, operands[-1])
            case "ld":
                return self._load(modifiers, *operands)
            case "st":
                return self._store(modifiers, *operands)
            case "mov" if "{" in "".join(operands):
                return self._repack(modifiers[-1], *operands)
            case "setp":
                return self._assign(operands[0], self._comparison(modifiers, operands), "pred")
            case "cvt" if "f16" in modifiers:
                return self._assign(operands[0], f"half_of({self._value(operands[1], 'f32')})", "u16")
            case "cvt":
                return self._assign(operands[0], self._conversion(modifiers, operands[1]), modifiers[-2])
        kind = modifiers[-1]
        if operation in ("mul", "mad") and modifiers[0] == "wide":
            kind = f"{kind[0]}{2 * width(kind)}"
        if operation in ("shf", "clz", "popc"):
            kind = "u32"
        if kind not in C_TYPES or kind == "f64" or {"approx", "ftz", "sat"} & set(modifiers):
            raise Unknown(operation)
        return self._assign(operands[0], self._expression(operation, modifiers, operands[1:]), kind)

    def _expression(self, operation: str, modifiers: list[str], operands: list[str]) -> str:
        """The value of an instruction that only computes."""
        kind = modifiers[-1]
        a, b, c = ([self._value(one, kind) for one in operands[:3]] + ["", "", ""])[:3]
        last = self._value(operands[-1], "u32") if operation in ("shl", "shr", "shf", "bfe", "bfi", "prmt") else ""
        match operation:
            case "mov" | "cvta":
                return a
            case "add" | "sub" | "and" | "or" | "xor":
                return f"{a} {INFIX[operation]} {b}"
            case "mul" if is_float(kind) or modifiers[0] == "lo":
                return f"{a} * {b}"
            case "mad" if modifiers[0] == "lo":
                return f"{a} * {b} + {c}"
            case "mul" | "mad" if modifiers[0] == "wide":
                wide = f"{kind[0]}{2 * width(kind)}"
                product = f"({C_TYPES[wide]}){a} * ({C_TYPES[wide]}){b}"
                return product if operation == "mul" else f"{product} + {self._value(operands[2], wide)}"
            case "mul" if modifiers[0] == "hi":
                wide = "__int128" if kind[0] == "s" else "unsigned __int128"
                return f"({wide}){a} * ({wide}){b} >> {width(kind)}"
            case "fma":
                return f"fmaf({a}, {b}, {c})"
            case "div" if is_float(kind):
                return f"{a} / {b}"
            case "div" | "rem":
                return f"({b} ? {a} {'/' if operation == 'div' else '%'} {b} : 0)"
            case "rcp":
                return f"1.0f / {a}"
            case "sqrt":
                return f"sqrtf({a})"
            case "abs":
                return f"fabsf({a})" if is_float(kind) else f"({a} < 0 ? -{a} : {a})"
            case "neg":
                return f"-{a}"
            case "not":
                return f"{'!' if kind == 'pred' else '~'}{a}"
            case "min" | "max" if is_float(kind):
                return f"f{operation}f({a}, {b})"
            case "min" | "max":
                return f"({a} {'<' if operation == 'min' else '>'} {b} ? {a} : {b})"
            case "copysign":
                return f"copysignf({b}, {a})"
            case "selp":
                return f"({operands[2][1:]} ? {a} : {b})"
            case "shl":
                return f"({last} >= {width(kind)} ? 0 : {a} << {last})"
            case "shr" if kind[0] == "s":
                return f"{a} >> ({last} >= {width(kind)} ? {width(kind) - 1} : {last})"
            case "shr":
                return f"({last} >= {width(kind)} ? 0 : {a} >> {last})"
            case "shf":
                both = f"((uint64_t){self._value(operands[1], 'u32')} << 32 | {self._value(operands[0], 'u32')})"
                return f"{both} >> ({last} & 31)" if modifiers[0] == "r" else f"({both} << ({last} & 31)) >> 32"
            case "prmt":
                return f"permute({self._value(operands[0], 'u32')}, {self._value(operands[1], 'u32')}, {last})"
            case "bfi":
                return f"insert_bits({a}, {b}, {self._value(operands[2], 'u32')}, {last}, {width(kind)})"
            case "bfe" if kind[0] == "u":
                return f"(({a} >> {self._value(operands[1], 'u32')}) & ((1ull << {last}) - 1))"
            case "popc":
                return f"__builtin_popcount{'ll' if width(kind) == 64 else ''}({a})"
            case "clz":
                bits = width(kind)
                return f"({a} ? __builtin_clz{'ll' if bits == 64 else ''}({a}) : {bits})"
        raise Unknown(operation)

    def _barrier(self, modifiers: list[str], operands: list[str], here: int) -> str:
        match modifiers:
            case ["warp", "sync"]:
                return f"wait_for_warp(t, {here});"
            case ["sync", *_]:
                return f"wait_for_block(t, {here});"
            case ["red", *_] if "or" in modifiers:
                return f"{operands[0][1:]} = any_of_block(t, {here}, {operands[-1][1:]});"
        raise Unknown("barrier")

    def _exchange(self, here: int, to: str, value: str, source: str, who: str) -> str:
        return self._assign(to, f"exchange(t, {here}, {value}, {source}, {self._value(who, 'u32')})", "u32")

    def _access(self, space: str, store: bool, kind: str, count: int) -> str:
        """Tells the machine of a load or store at `address`."""
        self.accesses.append((space == "shared", store, len(self.blocks) - 1))
        which, bytes_ = len(self.accesses) - 1, width(kind) // 8
        return f"t->access(t, {which}, address, {bytes_}, {count});"

    def _address(self, text: str) -> str:
        base, offset = re.fullmatch(r"\[([%\w.]+?)\s*(?:\+\s*(-?\d+))?\]", text).groups()
        return f"uint64_t address = {self._value(base, 'u64')} + ({offset or 0});"

    def _load(self, modifiers: list[str], to: str, place: str) -> str:
        space, kind = modifiers[0], modifiers[-1]
        if space == "param":
            return self._assign(to, f"*({C_TYPES[kind]} *)parameters[{self.parameters[place[1:-1]]}]", kind)
        registers = _several(to)
        reads = "".join(
            self._assign(register, f"(({C_TYPES[kind]} *)address)[{k}]", kind) for k, register in enumerate(registers)
        )
        return f"{{{self._address(place)} {self._access(space, False, kind, len(registers))} {reads}}}"

    def _store(self, modifiers: list[str], place: str, values: str) -> str:
        space, kind = modifiers[0], modifiers[-1]
        sources = _several(values)
        writes = "".join(f"(({C_TYPES[kind]} *)address)[{k}] = {self._value(one, kind)};" for k, one in enumerate(sources))
        return f"{{{self._address(place)} {self._access(space, True, kind, len(sources))} {writes}}}"

    def _repack(self, kind: str, to: str, source: str) -> str:
        """A register from its parts, or its parts from a register."""
        targets, sources = _several(to), _several(source)
        bits = width(kind) // max(len(targets), len(sources))
        part = f"u{bits}"
        if len(sources) > 1:
            parts = " | ".join(f"(uint64_t){self._value(one, part)} << {k * bits}" for k, one in enumerate(sources))
            return self._assign(to, parts, f"u{width(kind)}")
        parts = "".join(self._assign(one, f"whole >> {k * bits}", part) for k, one in enumerate(targets) if one != "_")
        return f"{{uint64_t whole = {self._value(source, f'u{width(kind)}')}; {parts}}}"

    def _comparison(self, modifiers: list[str], operands: list[str]) -> str:
        how, kind = modifiers[0], modifiers[-1]
        a, b = self._value(operands[1], kind), self._value(operands[2], kind)
        if how in ("nan", "num"):
            found = f"{'' if how == 'nan' else '!'}isunordered({a}, {b})"
        elif how == "ne":
            found = f"({a} < {b} || {a} > {b})" if is_float(kind) else f"({a} != {b})"
        elif how in COMPARED:
            found = f"({a} {COMPARED[how]} {b})"
        elif how == "neu":
            found = f"({a} != {b})"
        else:
            found = f"(isunordered({a}, {b}) || {a} {COMPARED[how.removesuffix('u')]} {b})"
        return f"({found} {JOINED[modifiers[1]]} {operands[3].replace('%', '')})" if len(modifiers) == 3 else found

    def _conversion(self, modifiers: list[str], operand: str) -> str:
        *how, to, source = modifiers
        value = self._value(operand, source)
        if is_float(source) and is_float(to):
            return f"{ROUNDED[how[0]]}({value})"
        if is_float(source):
            return f"to_{to}({ROUNDED[how[0]]}({value}))"
        return f"(float){value}" if is_float(to) else f"({C_TYPES[to]}){value}"


def _label(text: str) -> str:
    return text.replace("$", "L")


def _several(text: str) -> list[str]:
    return [one.strip() for one in text.strip("{}").split(",")]
