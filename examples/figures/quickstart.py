"""Draws what the quickstart prints, as an animation: a frame for each of its tables.

    cargo run --release --features http --example quickstart > day.txt
    python3 examples/figures/quickstart.py < day.txt > examples/figures/quickstart.svg
"""

import html
import re
import sys

WIDTH, LINE, LEFT, TOP = 860, 19, 18, 30
SECONDS_A_FRAME = 1.6
COLOURS = [
    (r"SIGKILL|slows down|with an error|is drained|is removed", "#f0883e"),
    (r"is back|as fast as|works again|joins", "#3fb950"),
    (r"circuit open|half-open", "#f85149"),
    (r"draining", "#d29922"),
    (r"endpoint  share", "#8b949e"),
]


def frames(lines):
    """The lines of each table, with the events before it; the totals stand below the last one."""
    frame, done = [], []
    for line in lines:
        frame.append(line)
        if "calls so far" in line:
            done.append(frame)
            frame = []
    done[-1] += [line for line in frame if line.strip()]
    return done


def text(line, row):
    colour = next((colour for of, colour in COLOURS if re.search(of, line)), "#e6edf3")
    y = TOP + row * LINE
    return f'<text x="{LEFT}" y="{y}" fill="{colour}" xml:space="preserve">{html.escape(line)}</text>'


def main():
    all_frames = frames(sys.stdin.read().splitlines())
    height = TOP + max(map(len, all_frames)) * LINE
    length = len(all_frames) * SECONDS_A_FRAME
    part = 100 / len(all_frames)
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">'
    )
    print("<title>The quickstart: endpoints fail, and no call does</title>")
    # Where nothing moves, the last frame is shown.
    print(
        "<style>@media (prefers-reduced-motion: no-preference) {"
        f"g {{ opacity: 0; animation: frame {length}s step-end infinite }}"
        f"@keyframes frame {{ 0% {{ opacity: 1 }} {part:.3f}% {{ opacity: 0 }} }} }}</style>"
    )
    print(f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#0d1117"/>')
    for number, frame in enumerate(all_frames):
        delay = number * SECONDS_A_FRAME
        still = "" if number + 1 == len(all_frames) else ' class="early"'
        print(f'<g style="animation-delay: {delay:.1f}s"{still}>')
        print(*(text(line, row) for row, line in enumerate(frame)), sep="\n")
        print("</g>")
    print("<style>@media (prefers-reduced-motion: reduce) { .early { display: none } }</style>")
    print("</svg>")


main()
