"""What every page must be, as scripts for a browser."""

import pytest

from helpers.browser import COMMAND

# [how many texts are seen, [text, contrast] of those that stand out too little]
CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const v = c[i] / 255; return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const ratio = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (node) => {
    if (node.ownerSVGElement) {
      const rect = node.parentElement.querySelector(':scope > rect');
      if (node.closest('.heat') && rect) return rgb(getComputedStyle(rect).fill);
    }
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('script, option, .unseen, .skip')) continue;
    const style = getComputedStyle(node);
    const found = ratio(rgb(node.ownerSVGElement ? style.fill : style.color), behind(node));
    seen += 1;
    if (found < 4.5) poor.push([walker.currentNode.data.trim().slice(0, 40), Math.round(100 * found) / 100]);
  }
  return [seen, poor];
})()
"""
# What has no name for who cannot see it.
UNNAMED = """[...document.querySelectorAll('svg, [role=img], [role=button], input, select, button, nav, [tabindex="0"]')]
  .filter((e) => !(e.getAttribute('aria-label') || '').trim() && !(e.labels && e.labels.length) && !e.textContent.trim())
  .map((e) => e.outerHTML.slice(0, 80))"""


def needs_chromium(test):
    absent = pytest.mark.skipif(COMMAND is None, reason="no Chromium is installed, so the page cannot be opened")
    return pytest.mark.processes(absent(test))
