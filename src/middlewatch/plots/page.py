"""From facts to a whole page, or the part of one that a notebook shows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from .drawing import bars, by_target, histogram, number, over_time, percent, span

MOST: Final = 200
"""Columns drawn: a page of more is read by nobody, and said so."""
_WORDS: Final = {"fail": "FAIL", "warn": "WARN", "note": "note"}


def page(facts: Mapping[str, Any], *, title: str) -> str:
    """A complete page: no script, nothing from outside, dark and light, for a phone and a wide screen."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>html{{background:var(--paper)}}body{{margin:0}}{_style()}</style></head>"
        f"<body>{_main(facts, title)}</body></html>"
    )


def fragment(facts: Mapping[str, Any], *, title: str) -> str:
    """The same for a notebook: its style touches nothing but itself."""
    scoped = _style().replace(":root,.mw", ".mw")
    return f"<style>{scoped}</style>{_main(facts, title)}"


@cache
def _style() -> str:
    """The style sheet, without its comment."""
    return files(__package__).joinpath("table.css").read_text(encoding="utf-8").partition("*/")[2].strip()


def _main(facts: Mapping[str, Any], title: str) -> str:
    columns = facts["columns"]
    shown = sorted(columns, key=lambda one: _worst(one, facts))[:MOST]
    parts = ['<main class="mw">', f'<p class="soft small">{escape(title)}</p>', f"<h1>{_headline(facts)}</h1>"]
    findings = facts.get("findings") or []
    if findings:
        parts.append(f'<ol class="found">{"".join(_finding(one) for one in findings)}</ol>')
    parts.append(_associations(facts))
    parts.append(f'<h2 id="columns">{len(columns)} columns</h2>')
    if len(columns) > MOST:
        parts.append(f'<p class="soft">the {MOST} with the most to say are drawn</p>')
    if len(shown) > 6:
        index = "".join(f'<li><a href="#c{at}">{escape(_cut(one["name"]))}</a></li>' for at, one in enumerate(shown))
        parts.append(f'<nav aria-label="columns"><ul class="index">{index}</ul></nav>')
    parts.append(f'<p class="soft small">{_legend(facts)}</p>')
    parts += [_column(one, at, facts) for at, one in enumerate(shown)]
    return "".join([*parts, "</main>"])


def _worst(column: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
    """Columns with findings first, failures before warnings; all others stay in the table's order."""
    rank = {"fail": 0, "warn": 1}
    mine = [one for one in facts.get("findings") or [] if one.get("column") == column["name"]]
    return min((rank.get(one["severity"], 2) for one in mine), default=2)


def _headline(facts: Mapping[str, Any]) -> str:
    rows = f"{facts['rows']:,} rows"
    if facts.get("ok") is None:
        return f"{rows}, {len(facts['columns'])} columns"
    findings = facts.get("findings") or []
    failed = sum(1 for one in findings if one["severity"] == "fail")
    warned = sum(1 for one in findings if one["severity"] == "warn")
    if failed:
        return f'<span class="word fail">FAIL</span> {failed} data tests of {rows} failed'
    if warned:
        return f'<span class="word warn">WARN</span> {rows} pass their data tests, {warned} with a warning'
    return f'<span class="word ok">ok</span> {rows} pass their data tests'


def _finding(one: Mapping[str, Any]) -> str:
    kind = {"fail": "f", "warn": "w"}.get(one["severity"], "")
    fix = f'<br><span class="soft small">{escape(one["fix"])}</span>' if one.get("fix") else ""
    return f'<li class="{kind}"><b>{_WORDS[one["severity"]]}</b> {escape(one["message"])}{fix}</li>'


def _associations(facts: Mapping[str, Any]) -> str:
    pairs = facts.get("associations") or []
    if not pairs:
        return ""
    rows = "".join(
        f"<tr><td>{escape(_cut(one['a']))}</td><td>{escape(_cut(one['b']))}</td>"
        f'<td><svg width="80" height="10" aria-hidden="true"><rect class="n" width="{round(80 * one["strength"])}" '
        f'height="10"/></svg></td><td>{one["strength"]:.2f}</td></tr>'
        for one in pairs
    )
    about = "0 is none, 1 is a rule: rank correlation, correlation ratio or Cramér's V, by the kinds of the two"
    return (
        f'<h2>What goes together</h2><p class="soft small">{about}</p>'
        f'<table><thead class="small"><tr><th scope="col">column</th><th scope="col">with</th><th></th>'
        f'<th scope="col">strength</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _legend(facts: Mapping[str, Any]) -> str:
    parts = ["filled: this table"]
    if any(one.get("then") for one in facts["columns"]):
        parts.append("dashed: the reference")
    if any(one.get("time") for one in facts["columns"]):
        parts.append("over time: median and the middle 90 %, the share missing dotted (0 to 100 %)")
    sampled = facts.get("sampled")
    if sampled:
        every = "all rows" if sampled >= facts["rows"] else f"a sample of {sampled:,} rows"
        parts.append(f"time, target and what goes together: from {every}")
    return escape("; ".join(parts))


def _column(one: Mapping[str, Any], at: int, facts: Mapping[str, Any]) -> str:
    mine = [it for it in facts.get("findings") or [] if it.get("column") == one["name"]]
    kind = one["kind"] + (f", {one['role']}" if one.get("role") not in (None, "feature") else "")
    said = [f"{percent(one['missing'])} missing", f"{one['distinct']:,} distinct"]
    if one["min"] is not None:
        middle = f", median {number(one['median'])}, mean {number(one['mean'])}" if one["median"] is not None else ""
        said.append(f"{number(one['min'])} to {number(one['max'])}{middle}")
    then = one.get("then")
    if then:
        was = [f"{percent(then['missing'])} missing"] if then["missing"] != one["missing"] else []
        was += [f"mean {number(then['mean'])}"] if then["mean"] is not None and then["mean"] != one["mean"] else []
        said += [f"was: {', '.join(was)}"] if was else []
    unit = f' <span class="soft">in {escape(one["unit"])}</span>' if one.get("unit") else ""
    figures = [_figure("", _shape(one)), _time(one), _target(one)]
    words = "".join(
        f'<li class="{"f" if it["severity"] == "fail" else "w"}">{escape(it["message"])}</li>' for it in mine
    )
    return (
        f'<section class="col" id="c{at}"><h3>{escape(_cut(one["name"]))}{unit} '
        f'<span class="soft small">{escape(kind)}</span></h3>'
        f'<p class="soft small">{escape("; ".join(said))}</p>'
        + (f'<ul class="found small">{words}</ul>' if words else "")
        + f'<div class="three">{"".join(figures)}</div></section>'
    )


def _shape(one: Mapping[str, Any]) -> str:
    return histogram(one) if one.get("edges") else bars(one) if one.get("top") else ""


def _time(one: Mapping[str, Any]) -> str:
    time = one.get("time")
    if not time:
        return ""
    drawn = [*time["middle"], *(time.get("low") or ()), *(time.get("high") or ())]
    of = f" of {_cut(time['of'])}" if time.get("of") else ""
    return _figure(f"over time{': share' + of if of else ''}, {span(drawn, shares=bool(of))}", over_time(one))


def _target(one: Mapping[str, Any]) -> str:
    target = one.get("target")
    if not target:
        return ""
    reach = span(target["mean"], shares=not target["number"])
    return _figure(f"{target['of']} by value, {reach}", by_target(one))


def _figure(caption: str, drawing: str) -> str:
    if not drawing:
        return ""
    return f"<figure>{drawing}{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"


def _cut(name: str) -> str:
    return name if len(name) <= 60 else name[:59] + "…"
