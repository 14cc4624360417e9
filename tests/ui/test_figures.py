"""What the Compare tab and the cards show, without a browser: which entries, which rows, what is best, and Stop."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from evaluations import CONTROLS, drawn, row, written
from toys import put_on_shelf, small

from gen_models import evaluate, zoo
from gen_models.ui import compare, figures
from gen_models.ui.visits import Visits
from gen_models.ui.widgets import Ask


@pytest.fixture
def visits(page_shelf) -> Visits:
    return Visits(page_shelf)


def test_what_a_visit_trained_is_compared_in_this_visit_only(visits):
    visit = visits.of(SimpleNamespace(session_hash="mine"))
    put_on_shelf(visit.shelf.root / "yours-1", small(zoo.ZOO["gan-8gaussians"]))
    mine = compare.entries_of(visits, visit)["8gaussians"]
    assert [picked.name for picked in mine][-1] == "yours-1"
    assert figures.group(mine[-1], visit)["why"] == "not evaluated: it was trained in this visit"
    assert "yours-1" not in [picked.name for picked in compare.entries_of(visits)["8gaussians"]]


def test_stop_keeps_what_was_drawn(visits):
    visit = visits.of(SimpleNamespace(session_hash="mine"))
    members = compare.entries_of(visits, visit)["8gaussians"]
    ask = Ask(members[0], visit, {"seed": 1, "data": "8gaussians", "entries": members}, {}, "a run")
    updates = compare._drawn(ask, "cpu")
    first = next(update for update in updates if isinstance(update, dict))
    assert list(first["drawn"]) == [members[0].name]
    visit.stopped.add("a run")
    assert list(updates) == [f"stopped after 1 of {len(members)} entries; the others keep their seeds"]


def test_a_broken_checkpoint_does_not_end_the_others(visits, page_shelf, monkeypatch):
    visit = visits.of(SimpleNamespace(session_hash="mine"))
    put_on_shelf(visit.shelf.root / "yours-1", small(zoo.ZOO["gan-8gaussians"]))
    (visit.shelf.root / "yours-1" / "model.safetensors").write_bytes(b"no weights")
    members = compare.entries_of(visits, visit)["8gaussians"][-2:]
    ask = Ask(members[0], visit, {"seed": 1, "data": "8gaussians", "entries": members[::-1]}, {}, "")
    *_, last = compare._drawn(ask, "cpu")
    assert "error" in last["drawn"]["yours-1"]
    assert last["said"].startswith("1 of 2 entries in")
    assert "points" in last["drawn"][members[0].name]


def group(name: str, *rows: dict[str, Any], controls=()) -> dict[str, Any]:
    found = {"entry": name, "why": "", "marks": [], "likelihood": None}
    return found | {"rows": [figures._row(one) for one in rows], "controls": [figures._row(one) for one in controls]}


def test_the_best_is_found_among_rows_of_one_n_where_the_figure_shifts_with_n():
    few, many = row("few", 0.1, drawn(0.5, 0.001, 0.99), n=2000), row("many", 0.1, drawn(1.5, 0.002, 0.8))
    other = row("other", 0.1, drawn(2.5, 0.003, 0.7))
    table = figures.table([group("a", few), group("b", many, other)])
    rows = [one for part in table["groups"] for one in part["rows"]]
    best = {(one["name"], key) for one in rows for key, cell in one["cells"].items() if cell.get("best")}
    assert best == {("many", "fd"), ("many", "coverage"), ("few", "kid")}


def test_plots_use_the_figure_that_most_entries_have_and_name_the_others():
    slow = group("slow", row("s", 0.1, drawn(None, 0.004, 0.9)))
    fast = group("fast", row("f", 0.1, drawn(1.0, 0.002, 0.8)))
    assert figures.table([fast, slow])["axes"]["quality"]["key"] == "kid"
    blank = group("blank", row("b", 0.1, {"copies": {"value": 0.0}}))
    axes = figures.table([fast, blank])["axes"]
    assert (axes["quality"]["key"], axes["variety"]["key"], axes["absent"]) == ("fd", "coverage", ["blank"])
    assert figures.table([group("none")])["axes"] == {"quality": None, "variety": None, "absent": []}


def test_control_rows_stand_once_for_each_n():
    smaller = [one | {"n": 2000} for one in CONTROLS]
    parts = [group("a", controls=CONTROLS), group("b", controls=CONTROLS), group("c", controls=smaller)]
    assert [(one["control"], one["note"]) for one in figures.table(parts)["controls"]] == [
        (name, f"n = {n}") for n in ("10,000", "2,000") for name in ("real", "copycat", "noise")]  # fmt: skip
    once = figures.table(parts[:2])["controls"]
    assert [(one["name"], one["note"]) for one in once] == [("real", ""), ("copycat", ""), ("noise", "")]


def test_a_shelf_without_checkpoints_has_nothing_to_compare(tmp_path):
    visits = Visits(zoo.Shelf(tmp_path))
    shown = compare._shown(visits, visits.of(SimpleNamespace(session_hash="mine")), "mnist")
    assert (shown["data"], shown["sets"], shown["entries"], shown["table"]["groups"]) == (None, [], [], [])


def test_an_unfinished_evaluation_does_not_claim_that_there_is_no_likelihood(visits, judged):
    picked = visits.picked("gan-mnist")
    begun = json.loads(written(judged, "gan-mnist").read_text()) | {"finished": False}
    written(judged, "gan-mnist").write_text(json.dumps(begun))
    found = figures.group(picked)
    assert (found["marks"], found["likelihood"]["cells"]) == (["unfinished"], {})
    written(judged, "gan-mnist").write_text(json.dumps(begun | {"rows": []}))
    assert "has only begun" in figures.group(picked)["why"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (4.5e-5, "45 µs"), (0.0123, "12 ms"), (3.14, "3.1 s"), (119, "119 s"), (1440, "24 min")],
)
def test_durations_in_words(seconds, text):
    assert figures.duration(seconds) == text


def test_a_card_tells_what_one_switch_alone_changes():
    told = figures.card(Visits(zoo.BUNDLED).picked("sagan-cifar10"))["targets"]
    (said,) = (one["text"] for one in told if "the same but for" in one["text"])
    assert said.startswith("sagan-cifar10-plain, the same but for attention: FD_clf ")
    other = evaluate.read(zoo.BUNDLED, "sagan-cifar10-plain")
    figure = next(row for row in other["rows"] if row["kind"] == "model")["figures"]["coverage"]
    assert f"Coverage {evaluate.written('coverage', figure)} (here " in said
    alone = figures.card(Visits(zoo.BUNDLED).picked("gan-mnist"))["targets"]
    assert not any("the same but for" in one["text"] for one in alone)
