"""Write a C program of 33 files: 32 reversible steps that mix a 64-bit number, and a main that takes them all."""

from pathlib import Path

FAMILIES = ("add", "multiply", "rotate", "xorshift")
EACH = 8
MASK = (1 << 64) - 1

STEPS = {
    "add": ("x + ADD_BASE * {k}ULL", "x - ADD_BASE * {k}ULL"),
    "multiply": ("x * {odd}ULL", "x * {inverse}ULL"),
    "rotate": ("ROTATE_LEFT(x, {shift})", "ROTATE_LEFT(x, 64 - {shift})"),
    "xorshift": ("x ^ (x >> XORSHIFT_WIDTH)", "x ^ (x >> XORSHIFT_WIDTH)"),
}
HEADERS = {
    "add": "#define ADD_BASE 0x9e3779b97f4a7c15ULL",
    "multiply": "/* Odd factors have an inverse modulo 2^64. */",
    "rotate": "#define ROTATE_LEFT(x, n) (((x) << (n)) | ((x) >> (64 - (n))))",
    "xorshift": "#define XORSHIFT_WIDTH 32",
}


def constants(number: int) -> dict[str, int]:
    odd = 2 * (0x5851F42D4C957F2D + 977 * number) % (1 << 64) + 1
    return {"k": number + 1, "odd": odd, "inverse": pow(odd, -1, 1 << 64), "shift": 5 + 7 * number}


def step(family: str, number: int) -> str:
    forth, back = (text.format(**constants(number)) for text in STEPS[family])
    name = f"{family}_{number}"
    return (
        f'#include "mix.h"\n#include "{family}.h"\n\n'
        f"uint64_t {name}(uint64_t x)\n{{\n    return {forth};\n}}\n\n"
        f"uint64_t {name}_back(uint64_t x)\n{{\n    return {back};\n}}\n"
    )


def main() -> None:
    names = [f"{family}_{number}" for number in range(EACH) for family in FAMILIES]
    for folder in ("out/src", "out/include"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        Path("out/include", f"{family}.h").write_text(
            f"/* What the {family} steps share. */\n{HEADERS[family]}\n"
        )
        for number in range(EACH):
            Path("out/src", f"{family}_{number}.c").write_text(step(family, number))
    declared = "".join(f"uint64_t {name}(uint64_t x);\nuint64_t {name}_back(uint64_t x);\n" for name in names)
    Path("out/include/mix.h").write_text(f"#pragma once\n#include <stdint.h>\n\n{declared}")
    forth = "".join(f"    x = {name}(x);\n" for name in names)
    back = "".join(f"    x = {name}_back(x);\n" for name in reversed(names))
    Path("out/src/main.c").write_text(
        "#include <inttypes.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        '#include "mix.h"\n\n'
        "int main(int count, char **words)\n{\n"
        "    uint64_t given = count > 1 ? strtoull(words[1], NULL, 10) : 0, x = given;\n"
        f'{forth}    printf("%016" PRIx64 "\\n", x);\n{back}    return x != given;\n}}\n'
    )


def mixed(x: int) -> str:
    """Return what the program must print for a number."""
    for number in range(EACH):
        k = constants(number)
        x = (x + 0x9E3779B97F4A7C15 * k["k"]) & MASK
        x = x * k["odd"] & MASK
        x = (x << k["shift"] | x >> (64 - k["shift"])) & MASK
        x ^= x >> 32
    return f"{x:016x}"


if __name__ == "__main__":
    main()
