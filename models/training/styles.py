"""What machines are made to play: sixteen steps a bar by role.

X is an accent, x a normal hit, g a ghost note, . a rest.
"""

from __future__ import annotations

from dataclasses import dataclass

Steps = dict[str, tuple[str, ...]]
BACKBEAT = ("....X.......X...", "....x.......x...", "....x.......x..g")
EIGHTHS = ("x.x.x.x.x.x.x.x.", "X.x.X.x.X.x.X.x.", "x.g.x.g.x.g.x.g.")
SIXTEENTHS = ("xxxxxxxxxxxxxxxx", "XgxgXgxgXgxgXgxg", "Xgggxgggxgggxggg")
OFFBEATS = ("..x...x...x...x.", "..X...X...X...X.")


@dataclass(frozen=True, slots=True)
class Style:
    """A style's tempos in beats per minute, the longest swing, and bars for each role."""

    tempo: tuple[float, float]
    swing: float  # where the second sixteenth lies between two eighths, at most; 0.5 is straight
    steps: Steps


STYLES = {
    "house": Style(
        (116, 130),
        0.58,
        {
            "kick": ("X...X...X...X...", "X...X...X...X..x"),
            "snare": BACKBEAT,
            "rim": ("....x.......x...", "................", "...x......x....."),
            "closed": (*EIGHTHS, *SIXTEENTHS, "x.xxx.xxx.xxx.xx"),
            "open": OFFBEATS,
            "side": ("................", "..x..x....x..x..", "...x..x...x..x.."),
        },
    ),
    "techno": Style(
        (124, 150),
        0.54,
        {
            "kick": ("X...X...X...X...", "X...X...X...X.x.", "X..xX..xX..xX..x"),
            "snare": ("................", "....x.......x...", "............x..."),
            "rim": ("................", "...x..x...x..x..", "x..x..x..x..x..x"),
            "closed": (*SIXTEENTHS, *OFFBEATS, "x.xxx.xxx.xxx.xx"),
            "open": (*OFFBEATS, "................"),
            "ride": ("................", "x.x.x.x.x.x.x.x.", "..x...x...x...x."),
        },
    ),
    "trap": Style(
        (65, 82),
        0.5,
        {
            "kick": ("X.....x...X.....", "X..x......X..x..", "X......x..x....."),
            "snare": ("........X.......",),
            "rim": ("........x.......", "................", "........x......g"),
            "closed": ("xxxxxxxxxxxxxxxx", "x.x.x.x.x.x.x.x.", "x.xxx.x.x.xxx.xx"),
            "open": ("................", "..............x.", "......x........."),
            "side": ("................", "...x......x....."),
        },
    ),
    "hiphop": Style(
        (78, 102),
        0.66,
        {
            "kick": (
                "X..x......X.....",
                "X.......x.X.....",
                "X..x..x...X..x..",
                "X......x..X.....",
            ),
            "snare": (*BACKBEAT, "....X..g.g..X..g", "....X..g....X.g."),
            "rim": ("................", "....x.......x..."),
            "closed": (*EIGHTHS, "x.xxx.x.x.xxx.x.", *SIXTEENTHS),
            "open": ("................", "......x.........", "..............x."),
        },
    ),
    "break": Style(
        (95, 178),
        0.58,
        {
            "kick": (
                "X.X.......XX....",
                "X.X.......X.....",
                "X.........X.....",
                "X..x..x...X.....",
            ),
            "snare": (
                "....X..g.g..X..g",
                "....X..g.g....X.",
                "....X.....g.X...",
                "....X..X.g..X..X",
            ),
            "closed": (*EIGHTHS, "..x...x...x...x."),
            "ride": ("................", "................", "x.x.x.x.x.x.x.x."),
            "open": ("................", "..........x.....", "......x........."),
        },
    ),
    "two-step": Style(
        (128, 176),
        0.62,
        {
            "kick": ("X.........X.....", "X......x..X.....", "X.....x...x....."),
            "snare": (*BACKBEAT, "....X..g....X..g", "....X..x.g..X..."),
            "closed": (*EIGHTHS, *SIXTEENTHS, "..x.x.x...x.x.xx"),
            "open": ("................", *OFFBEATS),
            "side": ("................", "...x..x..x......"),
        },
    ),
    "electro": Style(
        (100, 135),
        0.54,
        {
            "kick": ("X.....X...X.....", "X..x..x.....x...", "X......X..x....."),
            "snare": BACKBEAT,
            "rim": ("................", "....x.......x...", ".......x..x..x.."),
            "closed": (*SIXTEENTHS, *EIGHTHS),
            "open": ("................", "..............x.", *OFFBEATS),
            "bell": ("................", "x..x..x...x.x...", "..x..x..x..x...."),
        },
    ),
    "disco": Style(
        (108, 126),
        0.54,
        {
            "kick": ("X...X...X...X...",),
            "snare": BACKBEAT,
            "closed": ("x.x.x.x.x.x.x.x.", "xx.xxx.xxx.xxx.x", "x...x...x...x..."),
            "open": OFFBEATS,
            "rim": ("................", "....x.......x..."),
        },
    ),
    "dembow": Style(
        (84, 112),
        0.52,
        {
            "kick": ("X...X...X...X...", "X.......X......."),
            "snare": ("...x..x....x..x.", "...X..x....X..x.", "...x..X....x..X."),
            "closed": (*EIGHTHS, "................", *SIXTEENTHS),
            "side": ("................", "...x..x....x..x."),
            "open": ("................", "..............x."),
        },
    ),
    "footwork": Style(
        (150, 166),
        0.5,
        {
            "kick": ("X..X..X..X..X..X", "X..x..X...x..x..", "X.xX..x.X.xX..x."),
            "snare": ("............X...", "....x.......x...", "......x.....X..."),
            "rim": ("................", "............x...", "..x..x..x..x..x."),
            "closed": (*OFFBEATS, "x..x..x..x..x..x", "................", *SIXTEENTHS),
            "side": ("................", "x..x..x.x..x..x."),
            "open": ("................", "..x.......x....."),
        },
    ),
    "rock": Style(
        (72, 150),
        0.56,
        {
            "kick": (
                "X.......X.......",
                "X.....x.X.......",
                "X.......X.x.....",
                "X..x....X.x.....",
            ),
            "snare": (*BACKBEAT, "....X.......X...", "....X..g....X..g"),
            "closed": (*EIGHTHS, "x...x...x...x..."),
            "open": ("................", "..............x."),
            "pedal": ("................", "....x.......x...", "..x...x...x...x."),
        },
    ),
}
# Bars for toms, played as percussion all the time or now and then.
PERCUSSION: Steps = {
    "tom1": ("..x..x....x..x..", "x.....x...x.....", "......x.......xx", "...x...x...x...x"),
    "tom2": ("...x......x..x..", "......x.x.......", "..x...x...x.....", "............x.x."),
    "tom3": ("X.....x...X.....", "..........x..x..", "X..........x....", "...x..x........."),
}
