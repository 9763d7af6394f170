"""Figures on a page with a light and a dark theme: every colour becomes a variable of both.

The dark theme is the light one with its lightness turned over (in OKLab, so that hues stay what they are); text is
moved further from its background until it can be read. So no figure needs to know of themes.
"""

import html
import re

import numpy as np

PAPER, NIGHT = "#fdfdfc", "#15181c"  # the page's backgrounds
READABLE = 5.0  # contrast of a figure's text with the page; 4.5 (WCAG AA) is left on the stages' tints
# OKLab: how far from the background's lightness a colour stands in the light theme -> in the dark one, 1 being black and
# nearly white. Grids and tints stay near it; lines and text are lifted, because light on dark looks thinner.
BRIGHTEST = 0.95
DISTANCE = ((0, 0.04, 0.08, 0.2, 0.27, 0.47, 0.73, 1), (0, 0.05, 0.12, 0.3, 0.45, 0.66, 0.84, 1))
# Linear sRGB -> LMS and LMS' -> Lab (B. Ottosson, "A perceptual color space for image processing", 2020).
LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def _linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _oklab(colour: str) -> np.ndarray:
    return LAB @ np.cbrt(LMS @ _linear(colour))


def _hex(lab) -> str:
    linear = np.clip(np.linalg.solve(LMS, np.linalg.solve(LAB, lab) ** 3), 0, 1)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2)."""
    return float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def dark(colour: str) -> str:
    """The colour's place in the dark theme: white becomes the background, black nearly white."""
    lightness, *hue = _oklab(colour)
    night = _oklab(NIGHT)[0]
    turned = night + (BRIGHTEST - night) * np.interp(1 - lightness, *DISTANCE)
    return _hex([turned, *hue])


def readable(colour: str, background: str) -> str:
    """The colour, moved away from the background's lightness just as far as text needs."""
    lightness, *hue = _oklab(colour)
    step = -0.01 if luminance(background) > 0.2 else 0.01
    while contrast(colour, background) < READABLE:
        lightness += step
        colour = _hex([lightness, *hue])
    return colour


def inline(svg: str, label: str, colours: set[str]) -> str:
    """Matplotlib's SVG as part of a page: labelled, without what only a file needs, its colours as variables.

    Args:
      svg: as `figures.svg` makes it, text kept as text.
      label: what a screen reader says instead of the picture.
      colours: the variables used are added to it; `variables` makes their style sheet.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"-?\d+\.\d{3,}", lambda number: _short(float(number[0])), svg)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(
        r"font-family: [^;\"]+(?:; )?|font: ([\d.]+px)[^;\"]*", lambda f: f"font-size: {f[1]}" if f[1] else "", svg
    )

    def coloured(tag) -> str:
        kind = "t" if tag[0].startswith("<text") or tag[0].startswith("<tspan") else "c"

        def variable(match) -> str:
            name = f"{kind}{match[1].lower()}"
            colours.add(name)
            return f"var(--{name})"

        return re.sub(r"#([0-9a-fA-F]{6})\b", variable, tag[0])

    svg = re.sub(r"<[^>]*style=\"[^>]*>", coloured, svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").replace("xlink:href", "href")
    box, inside = re.search(r'viewBox="[^"]+"', svg)[0], svg[svg.index(">") + 1 :]
    return f'<svg {box} role="img" aria-label="{html.escape(label)}">{inside}'


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".") if abs(number) >= 1 else f"{number:.3g}"


def variables(colours: set[str]) -> str:
    """The style sheet of the variables that `inline` used: c for marks, t for text, then the figure's own colour."""
    return ":root{" + "".join(f"--{name}:{both(name)};" for name in sorted(colours)) + "}"


def both(name: str) -> str:
    light = f"#{name[1:]}"
    if light == "#ffffff":
        return f"light-dark({PAPER},{NIGHT})"
    night = dark(light)
    if name[0] == "t":
        light, night = readable(light, PAPER), readable(night, NIGHT)
    return f"light-dark({light},{night})"
