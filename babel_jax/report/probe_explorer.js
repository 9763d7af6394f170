// The map of a probe's lens: pairs of identifiers by layers, at the chosen checkpoint; page.js comes before it.
const state = { place: 0, layer: 0, column: 0 };
// As words.amount writes it.
function amount(value) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"]]) if (value >= size) return `${Number((value / size).toPrecision(3))}\u00a0${unit}`;
  return count(value, 0);
}

const maps = () => data.branches[at("run").value];
const shown = () => maps()[at("prompts").value];
const when = (map) => (data.unit === "tokens" ? `${amount(map.at[state.place])} tokens` : `step ${count(map.at[state.place], 0)}`);
const leads = (share) => (share >= 0.5 ? tinted("primary", 2 * share - 1) : tinted("new", 1 - 2 * share));
const named = (pair) => `${pair.primary.trim() || "␣"} / ${pair.new.trim() || "␣"}`;

function drawMap() {
  const map = shown();
  const [shares, layers] = [map.share[state.place], map.share[0].length];
  state.layer = Math.min(state.layer, layers - 1);
  state.column = Math.min(state.column, map.pairs.length - 1);
  const row = Math.max(9, Math.min(30, Math.floor(560 / layers)));
  const columns = map.pairs.map((pair, p) => ({ title: named(pair), strong: p === state.column }));
  const label = `${data.primary}’s share of both names’ probability, by layer and pair, at ${when(map)}.`;
  heatMap("map", label, columns, layers, row, (l, p, width) => {
    const chosen = l === state.layer && p === state.column;
    return {
      label: `layer ${l + 1}, ${named(map.pairs[p])}: ${percent(shares[l][p])}`,
      style: `${leads(shares[l][p])};${chosen ? "stroke:var(--ink);stroke-width:1.5" : ""}`,
      shown: width > 38 && row > 19 ? percent(shares[l][p]) : "",
      reached: chosen,
    };
  }, true);
  const pair = map.pairs[state.column];
  const covered = map.covered[state.place][state.layer][state.column];
  at("map-reading").textContent = `At ${when(map)}, layer ${state.layer + 1}, ${named(pair)} (${count(pair.prompts, 0)} prompts): ${data.primary}’s name has ${percent(shares[state.layer][state.column], 1)} of both names’ probability; one of the two is the most probable token at ${percent(covered, 1)} of the prompts.`;
  at("step-shown").textContent = when(map);
  at("step").setAttribute("aria-valuetext", when(map));
}

function showMap() {
  const map = shown();
  at("step").max = map.at.length - 1;
  state.place = map.at.length - 1;
  at("step").value = state.place;
  at("scrub").hidden = map.at.length < 2;
  state.layer = Math.floor(map.share[0].length / 2);
  drawMap();
}

function showRun() {
  fill(at("prompts"), Object.keys(maps()).map((language) => [language, data.titles[language]]));
  at("prompts-label").hidden = Object.keys(maps()).length < 2;
  showMap();
}

at("step").addEventListener("input", () => { state.place = Number(at("step").value); drawMap(); });
at("run").addEventListener("change", showRun);
at("prompts").addEventListener("change", showMap);
chooseIn("map", (column, layer) => { Object.assign(state, { column, layer }); drawMap(); });
at("map").addEventListener("keydown", (happened) => {
  const moved = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[happened.key];
  if (!moved || !happened.target.closest("[role=button]")) return;
  happened.preventDefault();
  const map = shown();
  state.column = Math.max(0, Math.min(map.pairs.length - 1, state.column + moved[0]));
  state.layer = Math.max(0, Math.min(map.share[0].length - 1, state.layer + moved[1]));
  drawMap();
  at("map").querySelector('[tabindex="0"]').focus();
});

let drawnWidth = 0;
new ResizeObserver(() => {
  if (at("explorer").clientWidth === drawnWidth) return;
  drawnWidth = at("explorer").clientWidth;
  drawMap();
}).observe(at("explorer"));

fill(at("run"), Object.keys(data.branches).map((name) => [name, name]));
at("run-label").hidden = Object.keys(data.branches).length < 2;
legend("map-legend", [["primary", `${data.primary}’s name leads`], ["new", "the other language’s name leads"]]);
showRun();
