"""What is watched: all that tasks read, and none of what they make."""

from engine_bench import flow

from runwright.core.watched import watched


def test_inputs_count_and_outputs_do_not() -> None:
    workflow = flow(
        {
            "a": {
                "inputs": ("src/{{.f}}.c", "include/*.h", "!include/gen.h"),
                "outputs": ("out/{{.f}}/{{.g}}.o",),
            },
            "b": {"inputs": ("out/*.o", "include/*.h"), "outputs": ("app",)},
            "c": {},
        }
    )
    assert watched(workflow) == ("src/*.c", "include/*.h", "out/*.o", "!out/*/*.o", "!app")
