"""Every format: well formed whatever the names hold, deterministic, and complete."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable

import pytest
from picture_cases import HOSTILE, failed_night, graph_of, hostile, nightly, picture, record_of, task

from runwright.cli.render import (
    graph_ascii,
    graph_dot,
    graph_html,
    graph_json,
    graph_mermaid,
    graph_svg,
    timeline,
)
from runwright.cli.render.palette import DARK, LIGHT, TONES
from runwright.cli.render.picture import Picture
from runwright.cli.render.svg_parts import style
from runwright.cli.render.terminal import Out, cell_width
from runwright.core.graph import Graph
from runwright.core.states import RunState, TaskState

SVG = "{http://www.w3.org/2000/svg}"
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066\ufeff]")


class Terminal(io.StringIO):
    encoding = "utf-8"


def out(*, fine: bool = True, width: int = 0, colour: bool = False) -> Out:
    made = Out(Terminal())
    made.unicode, made.width, made.colour = fine, width, colour
    return made


def joined(lines: Iterable[str]) -> str:
    return "\n".join(lines)


RENDERERS: dict[str, Callable[[Picture], str]] = {
    "ascii": lambda drawn: joined(graph_ascii.render(drawn, out())),
    "mermaid": lambda drawn: joined(graph_mermaid.render(drawn)),
    "dot": lambda drawn: joined(graph_dot.render(drawn)),
    "svg": graph_svg.render,
    "html": graph_html.render,
}


def drawings(graph: Graph, **wishes: bool) -> dict[str, str]:
    return {name: render(picture(graph, **wishes)) for name, render in RENDERERS.items()}


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{SVG}text")]


# -- all formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("kind", RENDERERS)
def test_nothing_invisible_or_moving_gets_into_a_drawing(kind: str, name: str) -> None:
    graph = hostile(name)
    plain = RENDERERS[kind](picture(graph, detail=True, handlers=True, critical=True))
    ran = RENDERERS[kind](picture(graph, record_of(graph), detail=True, handlers=True))

    for drawing in (plain, ran):
        assert not FORBIDDEN.search(drawing)


@pytest.mark.parametrize("kind", RENDERERS)
def test_the_same_picture_is_drawn_the_same_way_twice(kind: str) -> None:
    graph = nightly()
    first, second = (RENDERERS[kind](picture(graph, failed_night(graph), detail=True)) for _ in range(2))

    assert first == second


@pytest.mark.parametrize("kind", RENDERERS)
def test_an_empty_workflow_can_be_drawn(kind: str) -> None:
    assert RENDERERS[kind](picture(graph_of()))


# -- SVG -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_svg_is_well_formed_and_holds_text_only_where_text_belongs(name: str) -> None:
    graph = hostile(name)
    for drawing in (
        graph_svg.render(picture(graph, detail=True, handlers=True)),
        timeline.render(graph, record_of(graph, reason=name, states={"z": TaskState.FAILED})),
    ):
        tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(drawing).iter()}
        assert tags <= {"svg", "title", "style", "rect", "g", "path", "text", "circle"}


def test_svg_shows_every_label_time_and_state() -> None:
    graph = nightly()
    shown = texts(graph_svg.render(picture(graph, failed_night(graph))))

    for label in ("nightly", "Every night", "fetch", "Build the wheel", "os=mac, py=2", "Page the owner"):
        assert label in shown
    assert "1 of 24 failed · 9.0 s" in shown
    assert any("critical path 23.0 s" in text for text in shown)
    assert {"31 succeeded", "1 failed", "1 cancelled", "critical path", "runs on failure"} <= set(shown)
    assert any("unfolds them" in text for text in shown)


def test_svg_boxes_do_not_overlap_and_lie_on_the_paper() -> None:
    graph = graph_of(
        *(
            task(f"t{level}-{n}", *[f"t{level - 1}-{(n * k + k) % 6}" for k in range(1, 4)] if level else [])
            for level in range(6)
            for n in range(6)
        )
    )
    root = ET.fromstring(graph_svg.render(picture(graph)))
    boxes = [group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g") if group.get("class") == "b"]
    rects = [
        [float(box.get(side, "")) for side in ("x", "y", "width", "height")]
        for box in boxes
        if box is not None
    ]

    assert len(rects) == 36
    for place, (x, y, width, height) in enumerate(rects):
        assert x + width <= float(root.get("width", ""))
        assert y + height <= float(root.get("height", ""))
        for left, top, wide, high in rects[:place]:
            assert x >= left + wide or left >= x + width or y >= top + high or top >= y + height


def test_svg_levels_run_from_left_to_right() -> None:
    graph = nightly()
    root = ET.fromstring(graph_svg.render(picture(graph)))
    left = {
        group.get("data-id"): float(rect.get("x", ""))
        for group in root.iter(f"{SVG}g")
        if group.get("class") == "b" and (rect := group.find(f"{SVG}rect")) is not None
    }

    assert left["fetch"] < left["build"] < left["unit"] < left["publish"]


def test_svg_has_a_light_and_a_dark_scheme_with_readable_contrast() -> None:
    assert "@media(prefers-color-scheme:dark)" in style()
    for tone in TONES.values():
        assert contrast(tone.light, LIGHT.card) >= 4.5
        assert contrast(tone.dark, DARK.card) >= 4.5
    for scheme in (LIGHT, DARK):
        for back in (scheme.paper, scheme.card):
            assert contrast(scheme.ink, back) >= 7
            assert contrast(scheme.muted, back) >= 4.5


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# -- HTML ------------------------------------------------------------------------------------------------------


def strip_code(text: str) -> str:
    """Leave out the script, which is no XML."""
    head, _, rest = text.replace("<!DOCTYPE html>", "", 1).partition("<script>")
    return head + rest.partition("</script>")[2]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_page_has_one_script_of_ours_and_reaches_for_nothing(name: str) -> None:
    graph = hostile(name)
    page = graph_html.render(picture(graph, record_of(graph), detail=True, handlers=True))
    root = ET.fromstring(strip_code(page))

    assert page.count("<script") == page.count("</script>") == 1
    for element in root.iter():
        assert not {"src", "href", "srcset", "action", "data", "style"} & set(element.attrib)
        assert not any(key.startswith("on") for key in element.attrib)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_of_a_page_allows_exactly_its_own_script_and_styles() -> None:
    page = graph_html.render(picture(nightly()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))

    def digests(tag: str) -> set[str]:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return {
            f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in found
        }

    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].split()) == digests("script")
    assert set(rules["style-src"].split()) == digests("style")


def test_a_page_offers_search_states_and_details() -> None:
    graph = nightly()
    root = ET.fromstring(strip_code(graph_html.render(picture(graph, failed_night(graph)))))
    chips = {one.get("data-state") for one in root.iter("button") if one.get("data-state")}
    blocks = {one.get("data-id"): one for one in root.iter(f"{SVG}g") if one.get("class") == "b"}

    assert chips == {"succeeded", "failed", "cancelled"}
    assert any(one.get("type") == "search" for one in root.iter("input"))
    assert blocks["unit"].get("data-state") == "failed"
    assert "runs\tmake fetch" in (blocks["fetch"].get("data-facts") or "")


# -- Mermaid and DOT -------------------------------------------------------------------------------------------

MERMAID_LINE = re.compile(
    r"%% [^\n]*|flowchart LR| +end"
    r'| +subgraph n\d+\["[^"\[\]{}()|<>`]*(<br/>[^"\[\]{}()|<>`]*)*"\]'
    r' *| +n\d+(c\d+)?(\(|\[\[|\[|\{\{)"[^"\[\]{}()|<>`]*(<br/>[^"\[\]{}()|<>`]*)*"(\)|\]\]|\]|\}\})(:::[a-z]+)?'
    r"| +n\d+(c\d+)? (-->|==>|-\.->) n\d+"
    r"| +classDef [a-z]+ [a-z0-9:#,\- ]+"
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_every_line_of_mermaid_is_one_of_its_statements(name: str) -> None:
    graph = hostile(name)
    for drawn in (
        picture(graph, detail=True, handlers=True),
        picture(graph, record_of(graph), handlers=True),
    ):
        for line in graph_mermaid.render(drawn):
            assert MERMAID_LINE.fullmatch(line), line


def test_mermaid_keeps_words_readable_and_draws_every_edge() -> None:
    graph = nightly()
    drawing = joined(graph_mermaid.render(picture(graph, failed_night(graph))))

    assert '["os=mac, py=2 · 9.0 s"]:::succeeded' in drawing
    assert '[["Unit tests<br/>1 of 24 failed · 9.0 s"]]:::failed' in drawing
    assert "n0 ==> n1" in drawing
    assert "-.->" in drawing
    assert re.search(r"n1c2 --> n3", drawing)


DOT_TOKEN = re.compile(r'\s+|//[^\n]*|"(?:[^"\\]|\\.)*"|->|[{}\[\];=,]|[A-Za-z0-9_.]+')


def dot_tokens(text: str) -> list[str]:
    """Split DOT into tokens; fails on anything that is none."""
    tokens, place = [], 0
    while place < len(text):
        found = DOT_TOKEN.match(text, place)
        assert found, text[place : place + 40]
        place = found.end()
        if not found.group().isspace() and not found.group().startswith("//"):
            tokens.append(found.group())
    return tokens


def check_dot(text: str) -> tuple[set[str], int]:
    """Check a graph against the part of the DOT grammar that we use; returns its nodes and how many edges it has."""
    tokens = dot_tokens(text)
    nodes: set[str] = set()
    count = place = 0

    def take(*wanted: str) -> str:
        nonlocal place
        token = tokens[place]
        assert not wanted or token in wanted, (token, wanted)
        place += 1
        return token

    def attributes() -> None:
        if tokens[place] != "[":
            return
        take("[")
        while True:
            take()
            take("=")
            take()
            if take(",", "]") == "]":
                return

    def statements() -> None:
        nonlocal count
        while tokens[place] != "}":
            name = take()
            if name == "subgraph":
                assert take().startswith("cluster_")
                take("{")
                statements()
                take("}")
                continue
            if tokens[place] == "->":
                take("->")
                assert {name, take()} <= nodes
                count += 1
            elif name not in {"graph", "node", "edge"}:
                nodes.add(name)
            attributes()
            take(";")

    take("digraph")
    assert take().startswith('"')
    take("{")
    statements()
    take("}")
    assert place == len(tokens)
    return nodes, count


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_dot_obeys_its_grammar(name: str) -> None:
    graph = hostile(name)
    for drawn in (
        picture(graph, detail=True, handlers=True),
        picture(graph, record_of(graph), handlers=True),
    ):
        nodes, count = check_dot(joined(graph_dot.render(drawn)))
        cells = sum(len(block.cells) - 1 for block in drawn.blocks if block.cells)
        assert len(nodes) == len(drawn.blocks) + cells
        assert count == len(drawn.edges)


def test_the_check_of_dot_notices_a_quote_that_is_not_escaped() -> None:
    with pytest.raises(AssertionError):
        check_dot('digraph "a" { n0 [label="x"y"]; }')


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_graphviz_accepts_our_dot(name: str) -> None:
    source = joined(graph_dot.render(picture(hostile(name), detail=True, handlers=True)))
    done = subprocess.run(
        ["dot", "-Tsvg"], input=source.encode(), capture_output=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr.decode()


# -- JSON ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_json_keeps_every_name_as_it_is_and_shows_nothing_raw(name: str) -> None:
    graph = hostile(name)
    text = graph_json.render(graph, None, critical=False)

    assert json.loads(text)["name"] == name
    assert not FORBIDDEN.search(text)


def test_json_is_complete() -> None:
    graph = nightly()
    found = json.loads(graph_json.render(graph, failed_night(graph), critical=True))

    assert found["total_tasks"] == len(found["nodes"]) == 33
    assert found["roots"] == ["fetch"]
    assert found["leaves"] == ["publish"]
    assert {"from": "build[os=linux,py=3]", "to": "wheel"} in found["edges"]
    assert found["critical_path"] == ["fetch", "build[os=mac,py=2]", "unit[n=07]"]
    assert found["critical_path_seconds"] == 23.0
    assert found["handlers"][0]["serves"] == ["publish"]
    assert found["handlers"][0]["runs"][0]["id"] == "alarm@unit[n=07]"
    assert found["run"]["state"] == "failed"
    by_id = {node["id"]: node for node in found["nodes"]}
    assert by_id["unit[n=07]"]["attempts"] == 2
    assert by_id["unit[n=07]"]["matrix"] == {"n": "07"}
    assert by_id["publish"]["reason"] == "needs unit[n=07]"


# -- the tree for terminals ------------------------------------------------------------------------------------


def test_the_tree_of_a_workflow() -> None:
    lines = [line.rstrip() for line in graph_ascii.render(picture(nightly(), handlers=True), out(width=70))]

    assert lines == [
        "nightly",
        "Every night",
        "33 tasks · 4 levels",
        "",
        "○ fetch",
        "↓ ◫ build  6 nodes",
        "│  ┊ ○ os=linux, py=1",
        "│  ┊ ○ os=linux, py=2",
        "│  ┊ ○ os=linux, py=3",
        "│  ┊ ○ os=mac, py=1",
        "│  ┊ ○ os=mac, py=2",
        "│  ┊ ○ os=mac, py=3",
        "├─ ◫ Unit tests  24 nodes",
        "│  ↓ ○ publish  also after Build the wheel, fetch",
        "└─ ○ Build the wheel",
        "◇ Page the owner  on failure of the workflow, publish",
        "",
        "24 matrix tasks are folded; --matrix unfolds them.",
    ]


def test_the_tree_of_a_run_has_marks_times_and_a_strip() -> None:
    graph = nightly()
    lines = list(graph_ascii.render(picture(graph, failed_night(graph)), out(width=100)))
    (unit,) = [line for line in lines if "Unit tests" in line]
    (fetch,) = [line for line in lines if "fetch" in line and "also" not in line]
    (alarm,) = [line for line in lines if "Page the owner" in line]

    assert lines[2].startswith("✗ failed in 35.0 s")
    assert re.search(r"✗ Unit tests  1 of 24 failed .* 9\.0 s ★", unit)
    assert re.search(r"5\.0 s ★  ━━━┈+$", fetch)
    assert alarm.endswith("━")
    assert any("⊖ publish  needs unit[n=07]" in line for line in lines)


@pytest.mark.parametrize("width", [30, 60, 84, 120])
@pytest.mark.parametrize("name", ["x" * 300, *HOSTILE], ids=range(len(HOSTILE) + 1))
def test_no_line_of_the_tree_is_wider_than_the_terminal(name: str, width: int) -> None:
    graph = hostile(name)
    for drawn in (picture(graph, detail=True, handlers=True), picture(graph, record_of(graph), detail=True)):
        assert max(cell_width(line) for line in graph_ascii.render(drawn, out(width=width))) <= width


def test_a_deep_tree_stays_within_the_terminal() -> None:
    tasks = [task("t0")]
    for level in range(1, 60):  # every level branches, so the tree would go ever deeper
        tasks += [task(f"t{level}", f"t{level - 1}"), task(f"leaf{level}", f"t{level - 1}")]
    lines = list(graph_ascii.render(picture(graph_of(*tasks)), out(width=60)))

    assert max(map(len, lines)) <= 60
    assert all(any(line.split()[-1:] == [f"t{level}"] for line in lines) for level in range(60))


def test_the_tree_is_ascii_where_the_terminal_has_nothing_better() -> None:
    graph = nightly()
    for drawn in (picture(graph, handlers=True, critical=True), picture(graph, failed_night(graph))):
        assert joined(graph_ascii.render(drawn, out(fine=False, width=100))).isascii()


def test_colours_are_used_only_where_they_are_wanted() -> None:
    graph = nightly()
    drawn = picture(graph, failed_night(graph))

    assert "\x1b[31m" in joined(graph_ascii.render(drawn, out(colour=True)))
    assert "\x1b" not in joined(graph_ascii.render(drawn, out()))


def test_detail_adds_what_a_task_does() -> None:
    lines = joined(graph_ascii.render(picture(nightly(), detail=True), out(width=90)))

    for fact in ("about: Get the sources", "runs: make fetch", "retries: 2", "if: x == 'y'"):
        assert fact in lines


def test_a_running_task_has_a_strip_up_to_now() -> None:
    graph = graph_of(task("a"), task("b"))
    record = record_of(
        graph,
        {"a": [(0.0, 10.0)], "b": [(5.0, None)]},
        {"b": TaskState.RUNNING},
        state=RunState.RUNNING,
        length=10,
    )
    lines = list(graph_ascii.render(picture(graph, record), out(width=100)))

    assert re.search(r"→ b +5\.0 s   +┈{11}━{11}$", next(line for line in lines if "→ b" in line))


# -- the smaller formats' detail -------------------------------------------------------------------------------


def test_detail_reaches_every_format() -> None:
    for kind, drawing in drawings(nightly(), detail=True).items():
        assert "make fetch" in drawing, kind
