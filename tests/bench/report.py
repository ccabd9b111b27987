"""What a run found, as text, JSON, and one self-contained HTML page with plots."""
import html
import json
import statistics

COLOURS = {"native": "#8a8f98", "green": "#2a9d4a", "epoll loop": "#1f6fb5", "libev": "#7aa6d8",
           "io_uring": "#3fb5b0", "State Threads": "#c98a1b", "gevent": "#b0509a", "eventlet": "#d97a8a"}


def figure(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "runs": len(values)}


def judged(cell, results):
    """(text, met) for every goal of a cell whose figures are there."""
    for goal in cell.goals:
        ours = results.get(goal.system)
        base = results.get(goal.against) if goal.against else None
        if not ours or (goal.against and not base):
            continue
        if goal.more:
            value = ours["median"] - base["median"]
            what, unit = f"{goal.system} - {goal.against}", f" {cell.unit}"
        elif base:
            value = ours["median"] / base["median"]
            what, unit = f"{goal.system} / {goal.against}", ""
        else:
            value = ours["median"]
            what, unit = goal.system, f" {cell.unit}"
        yield f"{what}: {figure(value)}{unit}, goal at most {figure(goal.most)}{unit}", value <= goal.most


def text(title, cells):
    """The table of one benchmark; cells: (cell, results by system, errors by system)."""
    systems = list(dict.fromkeys(s for _, results, errors in cells for s in [*results, *errors]))
    lines = [title, ""]
    width = max(len(c.case) + len(c.unit) + 3 for c, _, _ in cells)
    lines.append(" " * width + "".join(f"{s:>24}" for s in systems))
    for cell, results, errors in cells:
        line = f"{cell.case} [{cell.unit}]".ljust(width)
        for system in systems:
            r = results.get(system)
            if r is None:
                line += f"{'failed' if system in errors else '-':>24}"
            elif r["runs"] == 1:
                line += f"{figure(r['median']):>24}"
            else:
                line += f"{figure(r['median']) + ' (' + figure(r['least']) + '-' + figure(r['most']) + ')':>24}"
        lines.append(line)
    lines.append("")
    for cell, results, errors in cells:
        for said, met in judged(cell, results):
            lines.append(f"  {'met   ' if met else 'MISSED'} {cell.case}: {said}")
        for system, error in errors.items():
            lines.append(f"  failed {cell.case}, {system}: {error}")
    return "\n".join(lines).rstrip() + "\n"


def write_json(path, machine, benches):
    found = {"machine": machine, "benches": {
        name: {"title": title, "cells": [
            {"case": c.case, "unit": c.unit, "systems": results, "errors": errors,
             "goals": [{"text": t, "met": m} for t, m in judged(c, results)]}
            for c, results, errors in cells]}
        for name, (title, cells) in benches.items()}}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(found, f, indent=1)


def bars(cells):
    """Horizontal bars, one group to a case, with the spread as a whisker; each group has its own scale."""
    y, parts = 6, []
    for cell, results, _ in cells:
        top = max((r["most"] for r in results.values()), default=0) or 1
        parts.append(f'<text x="0" y="{y + 12}" class="case">{html.escape(cell.case)} '
                     f'<tspan class="unit">{html.escape(cell.unit)}</tspan></text>')
        y += 20
        for system, r in results.items():
            w, a, b = (430 * r[k] / top for k in ("median", "least", "most"))
            parts.append(
                f'<text x="108" y="{y + 12}" class="who">{html.escape(system)}</text>'
                f'<rect x="116" y="{y + 2}" width="{max(w, 1):.1f}" height="13" rx="2" '
                f'fill="{COLOURS.get(system, "#555")}"><title>{html.escape(system)}: {figure(r["median"])} '
                f'({figure(r["least"])} to {figure(r["most"])}, {r["runs"]} runs)</title></rect>'
                f'<path d="M{116 + a:.1f} {y + 8.5}H{116 + b:.1f}M{116 + a:.1f} {y + 5}v7M{116 + b:.1f} {y + 5}v7" '
                f'class="whisker"/>'
                f'<text x="{126 + max(w, b):.1f}" y="{y + 12}" class="value">{figure(r["median"])}</text>')
            y += 19
        y += 12
    return f'<svg viewBox="0 0 640 {y}" role="img">{"".join(parts)}</svg>'


def lines(cells):
    """Medians over the cases (numbers of connections), one line to a system."""
    left, right, top, bottom = 50, 500, 12, 250
    most = max(r["median"] for _, results, _ in cells for r in results.values()) * 1.08
    xs = [left + (right - left) * i / max(1, len(cells) - 1) for i in range(len(cells))]

    def at(value):
        return bottom - (bottom - top) * value / most

    parts = []
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if most / s <= 8)
    for i in range(int(most / step) + 1):
        y = at(i * step)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" class="grid"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" class="who">{figure(i * step) if i else "0"}</text>')
    for x, (cell, _, _) in zip(xs, cells):
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="middle">{html.escape(cell.case)}</text>')
    ends = []
    for system in dict.fromkeys(s for _, results, _ in cells for s in results):
        points = [(x, results[system]) for x, (_, results, _) in zip(xs, cells) if system in results]
        colour = COLOURS.get(system, "#555")
        path = "L".join(f"{x:.1f} {at(r['median']):.1f}" for x, r in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, r in points:
            parts.append(f'<path d="M{x:.1f} {at(r["least"]):.1f}V{at(min(r["most"], most)):.1f}" stroke="{colour}"/>'
                         f'<circle cx="{x:.1f}" cy="{at(r["median"]):.1f}" r="3.5" fill="{colour}">'
                         f'<title>{html.escape(system)}: {figure(r["median"])}</title></circle>')
        ends.append([at(points[-1][1]["median"]), points[-1][0], system, colour])
    ends.sort()
    for i in range(1, len(ends)):  # labels keep their distance
        ends[i][0] = max(ends[i][0], ends[i - 1][0] + 14)
    for y, _, system, colour in ends:
        parts.append(f'<text x="{right + 10}" y="{y + 4:.1f}" style="fill: {colour}" class="key">{html.escape(system)}</text>')
    return f'<svg viewBox="0 0 640 {bottom + 30}" role="img">{"".join(parts)}</svg>'


STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #6b7077; --line: #d9dce0; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa0a6; --line: #3a3e43; --page: #17191c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
       max-width: 46rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p.machine { color: var(--soft); font-size: .9rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg text.who { text-anchor: end; fill: var(--soft); } svg text.middle { text-anchor: middle; fill: var(--soft); }
svg .case { font-weight: 600; } svg .unit { font-weight: 400; fill: var(--soft); } svg .key { font-weight: 600; }
.grid { stroke: var(--line); } .whisker { stroke: var(--ink); stroke-opacity: .7; fill: none; }
ul { list-style: none; padding: 0; font-size: .9rem; } li.met::before { content: "met "; color: #2a9d4a; font-weight: 600; }
li.missed::before { content: "missed "; color: #c0392b; font-weight: 600; }
li.failed::before { content: "failed "; color: #c0392b; font-weight: 600; }
"""


def write_html(path, machine, benches):
    out = [f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
           f"<title>libgreen: measurements</title><style>{STYLE}</style><h1>libgreen: measurements</h1>"
           f"<p>Each figure is a median; the whisker runs from the least to the most of the runs. Programs under test "
           f"are ordinary pthread programs. Lower is better.</p><p class=machine>{html.escape(machine)}</p>"]
    for name, (title, cells) in benches.items():
        out.append(f"<h2 id={name}>{html.escape(title)}</h2>")
        shown = [c for c in cells if c[1]]
        if name == "echo" and len(shown) > 1:
            out.append(lines(shown))
        if shown:
            out.append(bars(shown))
        items = [f"<li class={'met' if met else 'missed'}>{html.escape(c.case)}: {html.escape(said)}</li>"
                 for c, results, _ in cells for said, met in judged(c, results)]
        items += [f"<li class=failed>{html.escape(c.case)}, {html.escape(s)}: {html.escape(e)}</li>"
                  for c, _, errors in cells for s, e in errors.items()]
        out.append(f"<ul>{''.join(items)}</ul>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
