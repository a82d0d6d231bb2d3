"""Models that share a column and an onset have one incident: one message, one answer, whoever judged first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from middlewatch import groups
from middlewatch.alerts import tick
from middlewatch.errors import UsageError
from middlewatch.groups import Onset, grouped
from middlewatch.incidents import Incidents
from middlewatch.library import Handle
from middlewatch.project import Project
from middlewatch.responses import respond
from middlewatch.status import status
from receiving import NOW, Clock, Receiver, http_receiver, make_site, open_incident

MODELS = ("delay", "fraud", "churn")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with http_receiver() as receiver:
        monkeypatch.setenv("HOOK", f"webhook+{receiver.url}/hooks/t0ps3cr3t")
        monkeypatch.setenv("MIDDLEWATCH_WEBHOOK_SECRET", "a long random text that both sides know")
        yield receiver


@pytest.fixture
def clock() -> Clock:
    return Clock()


def site(root: Path, clock: Clock) -> Project:
    """A project of three models whose alerts have been set up for a minute."""
    project = make_site(root)
    text = (root / "middlewatch.toml").read_text()
    for name in MODELS[1:]:
        text += f'\n[models.{name}]\ntarget = "late"\ntask = "binary"\n'
        (root / f"{name}.schema.toml").write_text((root / "delay.schema.toml").read_text())
    (root / "middlewatch.toml").write_text(text)
    project = Project.open(root)
    tick(project, clock=clock)
    clock.forward(minutes=1)
    return project


def opened(project: Project, model: str, clock: Clock, **facts: Any) -> int:
    """An incident of any model as the monitor opens one; returns its number."""
    one = open_incident(project, clock(), key="x" + str(facts.get("since", "")), **facts)
    if model == "delay":
        return one.n
    told = {name: getattr(one, name) for name in ("title", "since", "until", "severity", "columns", "channels", "top",
                                                  "peak", "paged", "before", "after", "rows", "windows")}  # fmt: skip
    return project.incidents(model).open(key=one.key, at=clock(), actor="monitor", facts={**told, **facts}).n


# -- which belong together


def onset(model: str, n: int = 1, columns: str = "temp", since: int = 1, until: int = 2) -> Onset:
    return Onset(
        f"2026-11-{20 + n:02d}", model, n, f"2026-11-{since:02d}", f"2026-11-{until:02d}", frozenset(columns.split())
    )


def test_a_shared_input_and_onset_make_one_of_two_models() -> None:
    assert set(grouped([onset("a"), onset("b")])) == {("a", 1), ("b", 1)}
    assert grouped([onset("a"), onset("b", columns="humid")]) == {}
    assert grouped([onset("a"), onset("b", since=2, until=3)]) == {}
    assert set(grouped([onset("a", until=3), onset("b", since=2, until=3)])) == {("a", 1), ("b", 1)}
    assert grouped([onset("a"), onset("a", n=2)]) == {}
    assert grouped([onset("a", columns=""), onset("b", columns="")]) == {}


ONSETS = st.builds(
    onset,
    model=st.sampled_from("abcd"),
    n=st.integers(1, 4),
    columns=st.sampled_from(["temp", "humid", "temp humid", "seats", ""]),
    since=st.integers(1, 5),
    until=st.integers(6, 8),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ONSETS, max_size=6, unique_by=lambda one: one.name))
def test_groups_do_not_depend_on_who_was_first(onsets: list[Onset]) -> None:
    found = grouped(onsets)
    for mixed in itertools.islice(itertools.permutations(onsets), 0, 720, 97):
        assert grouped(mixed) == found
    for one, other in itertools.combinations(onsets, 2):
        if one.joins(other):
            assert found[one.name] is found[other.name]
    for name, group in found.items():
        assert len(group) > 1
        assert name in {one.name for one in group}
        assert all(any(one.joins(other) for other in group) for one in group)
        assert group[0] == min(group)


def test_predictions_and_requests_are_no_shared_feed(tmp_path: Path, clock: Clock) -> None:
    project = site(tmp_path, clock)
    for model in MODELS:
        opened(project, model, clock, columns=["mw.score", "(requests)", "(rows)"])
    assert groups.groups(project.store) == {}


# -- one message


def test_models_that_alarm_together_are_one_message_and_one_answer(
    tmp_path: Path, hook: Receiver, clock: Clock
) -> None:
    project = site(tmp_path, clock)
    for model in MODELS:
        opened(project, model, clock)
    tick(project, clock=clock)
    tick(project, clock=clock)
    [got] = hook.got
    assert got.facts["title"].startswith("PAGE ")
    assert " and 2 more models: " in got.facts["title"]
    assert {one["model"] for one in got.facts["models"]} == set(MODELS)
    assert "they began together and share distance" in got.facts["text"]
    clock.forward(minutes=5)
    done, also = respond(project, "fraud", 1, "ack", at=clock(), actor="ann")
    assert done.state == "acknowledged"
    assert {(one.model, one.state) for one in also} == {("delay", "acknowledged"), ("churn", "acknowledged")}
    tick(project, clock=clock)
    assert hook.kinds()[1:] == ["acknowledged"]
    clock.forward(days=2)
    tick(project, clock=clock)
    assert len(hook.got) == 2
    # The monitor closes one after the other; that it is over is told once, with the last.
    for model in MODELS:
        project.incidents(model).add(1, "resolve", at=clock(), actor="monitor", reason="2 clean windows")
        tick(project, clock=clock)
    assert hook.kinds()[2:] == ["resolved"]
    assert len({one.facts["dedup_key"] for one in hook.got}) == 1


def test_who_joins_what_was_told_is_no_news_unless_it_is_heavier(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = site(tmp_path, clock)
    opened(project, "delay", clock, severity="ticket", columns=["distance"])
    tick(project, clock=clock)
    assert hook.kinds() == ["opened"]
    clock.forward(minutes=20)
    opened(project, "fraud", clock, severity="ticket", columns=["distance"])
    tick(project, clock=clock)
    assert len(hook.got) == 1
    opened(project, "churn", clock, severity="page")
    tick(project, clock=clock)
    assert hook.kinds() == ["opened", "opened"]
    assert hook.titles()[1].startswith("PAGE churn incident 1 and 2 more models: ")
    assert hook.got[0].facts["dedup_key"] == hook.got[1].facts["dedup_key"]


def test_an_open_page_of_many_models_is_repeated_as_one(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = site(tmp_path, clock)
    for model in MODELS:
        opened(project, model, clock)
        tick(project, clock=clock)
    for _ in range(5):
        clock.forward(hours=1)
        tick(project, clock=clock)
    assert hook.kinds() == ["opened", "repeat"]


# -- one answer, and what people see


def test_the_page_and_the_status_name_all_models(tmp_path: Path, clock: Clock) -> None:
    project = site(tmp_path, clock)
    for model in MODELS[:2]:
        opened(project, model, clock)
    found = status(project, "delay", clock=NOW + timedelta(hours=1))
    assert "(one with fraud 1)" in found.sentence
    [plain] = found.to_dict()["incidents"]
    assert [(one["model"], one["n"], one["state"]) for one in plain["with"]] == [("fraud", 1, "open")]
    assert Handle(project, "fraud").beside(project.incidents("fraud").get(1))[0]["model"] == "delay"
    assert status(project, "churn", clock=NOW).shared == {}


def test_the_true_cause_is_told_for_all_but_a_diagnosis_is_confirmed_for_its_own(tmp_path: Path, clock: Clock) -> None:
    project = site(tmp_path, clock)
    for model in MODELS[:2]:
        opened(project, model, clock)
    respond(project, "delay", 1, "resolve", at=clock(), actor="ann", cause="the feed sent miles", confirmed=True)
    other = Incidents(project.store, "fraud").get(1)
    assert (other.state, other.cause, other.confirmed) == ("resolved", "the feed sent miles", None)
    assert other.events[-1].facts["through"] == "delay 1"
    with pytest.raises(UsageError, match="cannot be acknowledged"):
        respond(project, "delay", 1, "ack", at=clock(), actor="bob")
    again, also = respond(project, "delay", 1, "reopen", at=clock(), actor="bob")
    assert (again.state, also) == ("open", [])
