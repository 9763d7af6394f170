// The explorer of a study's page, and its tabs; page.js comes before it.
const languages = Object.keys(data.languages);
const state = { language: languages[0], place: 0, prompt: 0, slot: 0 };

// --- checkpoints ---------------------------------------------------------------------------------------------------------

const here = () => data.languages[state.language];
const runs = () => here().runs;
const accuracy = (run) => (runs()[run] || {}).accuracy;
const steps = () => (accuracy("continual") || Object.values(runs().continual)[0] || { steps: [0] }).steps;
const now = () => steps()[state.place];
// The last measured checkpoint up to the one chosen: not everything is measured at each.
const placeIn = (measured) => measured.reduce((best, step, i) => (step <= now() ? i : best), 0);

function drawTrace() {
  const all = steps();
  const width = widthOf("trace");
  const height = 92;
  const x = stepScale(all, 8, width - 8);
  const y = (value) => 66 - 56 * value;
  const parts = [];
  for (const [name, bounds] of Object.entries(here().stages || {})) {
    if (!bounds) continue;
    const colour = { translation: "new", transition: "primary", stabilisation: "knowledge" }[name];
    parts.push(svg("rect", { x: x(bounds[0]), y: 6, width: Math.max(0, x(bounds[1]) - x(bounds[0])), height: 62, style: `fill:var(--${colour});opacity:.09` }));
  }
  for (const [run, style] of [["control", "stroke:var(--control);stroke-dasharray:4 3;stroke-width:1.4"], ["continual", "stroke:var(--new);stroke-width:2.4"]]) {
    const curve = accuracy(run);
    if (curve) parts.push(svg("path", { d: path(curve.steps, curve.mean, x, y), style: `fill:none;${style}` }));
  }
  const value = accuracy("continual") ? accuracy("continual").mean[state.place] : null;
  parts.push(line(x(now()), 4, x(now()), 70, "stroke:var(--ink);stroke-width:1"));
  if (value != null) parts.push(svg("circle", { cx: x(now()), cy: y(value), r: 4.5, style: "fill:var(--new);stroke:var(--paper);stroke-width:1.5" }));
  parts.push(...stepTicks(all, x, 86));
  chart("trace", height, `Accuracy of ${here().title} over checkpoints; at step ${count(now())} ${percent(value)}.`, parts);
  at("step").setAttribute("aria-valuetext", `step ${now()}, accuracy ${percent(value)}`);
  at("step-shown").textContent = `step ${count(now())}`;
}

// --- the lens ------------------------------------------------------------------------------------------------------------

// The grid’s tokens are ids; a slot is a place where an identifier must come.
const nameOf = (grid, id) => grid.names[id] || `#${id}`;
const slotsOf = (grid, prompt) => grid.slots.filter((slot) => slot.problem === prompt.problem);

function colourOf(id, slot) {
  if (slot.new_id === slot.primary_id) return id === slot.new_id ? "knowledge" : "control";
  if (id === slot.new_id) return "new";
  return id === slot.primary_id ? "primary" : "control";
}

function titleOf(grid, prompt) {
  const start = prompt.tokens.slice(0, 5).map((id) => nameOf(grid, id)).join(" ").trim();
  return `${prompt.transfer ? `Needs ${data.primary}` : `Without ${data.primary}`}: ${start} …`;
}

function drawLens() {
  const grid = here().lens;
  at("lens-tool").hidden = !grid || !grid.slots.length;
  if (at("lens-tool").hidden) return;
  const prompt = grid.prompts[state.prompt];
  const slots = slotsOf(grid, prompt);
  state.slot = Math.min(state.slot, slots.length - 1);
  const chosen = slots[state.slot];
  const c = placeIn(grid.steps);
  const layers = Array.from({ length: grid.layers }, (_, l) => l);
  drawPrompt(grid, prompt, slots);
  legend("lens-legend", [["new", `${here().title}’s name`], ["primary", `${data.primary}’s name`], ["knowledge", "the same in both"], ["control", "another token"]]);

  const row = 34;
  const columns = slots.map((slot, p) => ({ title: nameOf(grid, slot.new_id), strong: p === state.slot }));
  heatMap("lens", `First-ranked token of every layer at step ${count(grid.steps[c])}.`, columns, grid.layers, row, (l, p, width) => {
    const slot = slots[p];
    const [id, probability] = [slot.top_CxLx5[c][l][0], slot.top_probability_CxLx5[c][l][0]];
    const token = nameOf(grid, id);
    return {
      label: `layer ${l + 1}, place of ${nameOf(grid, slot.new_id)}: ${token}, ${percent(probability)}`,
      style: `${tinted(colourOf(id, slot), probability)};${p === state.slot ? "stroke:var(--faint);stroke-width:1" : ""}`,
      shown: `${clip(token, width - 52)}  ${percent(probability)}`,
    };
  });

  drawDefaults(grid, chosen, c, layers, row);
  const last = layers.length - 1;
  const written = chosen.top_CxLx5[c][last].slice(0, 3).map((id, i) => `${nameOf(grid, id)} (${percent(chosen.top_probability_CxLx5[c][last][i])})`);
  at("lens-reading").textContent = `Step ${count(grid.steps[c])}, where ${nameOf(grid, chosen.new_id)} must come: the last layer writes ${written.join(", ")}.`;
}

function drawPrompt(grid, prompt, slots) {
  const shown = prompt.tokens.flatMap((id, i) => {
    const index = slots.findIndex((slot) => slot.position + 1 === i);
    if (index < 0) return [`${nameOf(grid, id)} `];
    const mark = document.createElement("mark");
    mark.textContent = nameOf(grid, id);
    if (index === state.slot) mark.style.fontWeight = "700";
    return [mark, " "];
  });
  at("prompt-text").replaceChildren(...shown);
}

const TILTED = 58; // room to the right of its last column for the last one's

function drawDefaults(grid, slot, c, layers, row) {
  const width = widthOf("defaults");
  const column = Math.min(64, (width - TILTED) / slot.tokens.length);
  const parts = [];
  slot.tokens.forEach((id, d) => {
    const x = column * (d + 0.5) + 4;
    parts.push(text(x, HEAD - 6, clip(nameOf(grid, id), 84), { transform: `rotate(-48 ${x} ${HEAD - 6})`, class: colourOf(id, slot) === "control" ? "" : "title" }));
    layers.forEach((l) => {
      const y = HEAD + row * (layers.length - 1 - l);
      const probability = slot.probability_CxLxM[c][l][d];
      const box = { x: column * d + 1, y: y + 1, width: column - 2, height: row - 2, rx: 2 };
      parts.push(svg("rect", { ...box, style: `${tinted(colourOf(id, slot), probability)};stroke:var(--line);stroke-width:.5` }, svg("title", {}, `${nameOf(grid, id)}, layer ${l + 1}: ${percent(probability, 1)}`)));
      if (column > 26) parts.push(text(column * (d + 0.5), y + 21, probability >= 0.005 ? Math.round(100 * probability) : "·", { "text-anchor": "middle", class: "strong" }));
    });
  });
  chart("defaults", HEAD + row * layers.length + 4, `Probability, in per cent, of ${slot.tokens.length} tokens in every layer where ${nameOf(grid, slot.new_id)} must come.`, parts);
}

// --- neurons -------------------------------------------------------------------------------------------------------------

function drawDrift() {
  const sets = here().drift;
  at("drift-tool").hidden = !sets.length;
  if (at("drift-tool").hidden) return;
  fill(at("definition"), sets.map((set, i) => [i, set.title]));
  const set = sets[at("definition").value];
  const c = placeIn(set.steps);
  const births = set.births_CxL.map((layer) => known(layer).reduce((a, b) => a + b, 0));
  const deaths = set.deaths_CxL.map((layer) => known(layer).reduce((a, b) => a + b, 0));
  const most = Math.max(1, ...births, ...deaths);
  const width = widthOf("flow");
  const [middle, half] = [104, 80];
  const slot = width / set.steps.length;
  const parts = [];
  set.steps.forEach((step, i) => {
    const bar = { x: slot * i + slot * 0.16, width: slot * 0.68 };
    const faint = i === c ? 1 : 0.5;
    if (i === c) parts.push(svg("rect", { x: slot * i, y: 12, width: slot, height: 2 * half + 24, style: "fill:var(--raised)" }));
    parts.push(svg("rect", { ...bar, y: middle - (half * births[i]) / most, height: (half * births[i]) / most, style: `fill:var(--knowledge);opacity:${faint}` }, svg("title", {}, `step ${step}: ${count(births[i])} births`)));
    parts.push(svg("rect", { ...bar, y: middle + 1, height: (half * deaths[i]) / most, style: `fill:var(--proposal);opacity:${faint}` }, svg("title", {}, `step ${step}: ${count(deaths[i])} deaths`)));
    if (i % Math.ceil(44 / slot) === 0) parts.push(text(slot * (i + 0.5), 212, count(step), { "text-anchor": "middle" }));
  });
  parts.push(line(0, middle + 0.5, width, middle + 0.5, "stroke:var(--faint);stroke-width:1"), text(0, 10, "births", { class: "title" }), text(0, 194, "deaths", { class: "title" }));
  chart("flow", 220, "Births and deaths of neurons between checkpoints.", parts);

  const side = widthOf("layers");
  const largest = Math.max(1, ...set.size_CxL.flat().map((value) => value || 0));
  const row = Math.min(30, 190 / set.layers.length);
  const bars = set.layers.flatMap((layer, l) => {
    const value = set.size_CxL[c][l];
    const y = 14 + row * (set.layers.length - 1 - l);
    return [text(0, y + row * 0.66, `layer ${layer}`),
      svg("rect", { x: 60, y: y + 2, height: row - 4, width: Math.max(1, ((side - 120) * (value || 0)) / largest), rx: 2, style: "fill:var(--new)" }),
      text(68 + ((side - 120) * (value || 0)) / largest, y + row * 0.66, count(value), { class: "strong" })];
  });
  chart("layers", 24 + row * set.layers.length, `Neurons of the set in each layer at step ${count(set.steps[c])}.`, bars);
  at("drift-reading").textContent = `Neurons of the set at step ${count(set.steps[c])}: ${count(known(set.size_CxL[c]).reduce((a, b) => a + b, 0))}; since the checkpoint before, births: ${count(births[c])}, deaths: ${count(deaths[c])} (means over seeds).`;
}

// --- mixes ---------------------------------------------------------------------------------------------------------------

function saying(mix, score) {
  const seeds = mix.scores[score].map((each) => percent(each)).join(", ");
  return `${mix.title}, with ${percent(mix.share, 1)} of the tokens in new languages: ${percent(mean(known(mix.scores[score])), 1)} (seeds: ${seeds})`;
}

// What is proposed, its names on as many lines as they need.
function layMarks(x, left, right) {
  const ends = [];
  return [...data.marks].sort((a, b) => a.share - b.share).map((mark) => {
    const half = mark.title.length * 3.4;
    const middle = Math.max(Math.min(x(mark.share), right - half), left + half);
    let level = ends.findIndex((end) => middle - half > end);
    if (level < 0) level = ends.length;
    ends[level] = middle + half + 8;
    return { ...mark, middle, level };
  });
}

function drawSweep() {
  const shown = data.mixes.filter((mix) => mix.ranked);
  at("sweep-tool").hidden = shown.length < 2;
  if (at("sweep-tool").hidden) return;
  const score = at("score").value;
  const width = widthOf("sweep");
  const [left, right] = [46, width - 12];
  const x = (share) => left + (right - left) * share;
  const marks = layMarks(x, left, right);
  const top = 26 + 15 * Math.max(0, ...marks.map((mark) => mark.level + 1));
  const bottom = top + 250;
  const all = shown.flatMap((mix) => known(mix.scores[score] || []));
  const [least, most] = [Math.max(0, Math.floor(10 * Math.min(...all) - 0.5) / 10), Math.min(1, Math.ceil(10 * Math.max(...all) + 0.2) / 10)];
  const y = (value) => bottom - ((bottom - top) * (value - least)) / (most - least || 1);
  const parts = [];
  for (let tick = least; tick <= most + 1e-9; tick += most - least > 0.5 ? 0.2 : 0.1) {
    parts.push(line(left, y(tick), right, y(tick), "stroke:var(--line)"), text(left - 8, y(tick) + 4, percent(tick), { "text-anchor": "end" }));
  }
  for (let share = 0; share <= 1.001; share += 0.2) parts.push(text(x(share), bottom + 20, percent(share), { "text-anchor": share > 0.99 ? "end" : "middle" }));
  parts.push(text((left + right) / 2, bottom + 40, "token share of new languages", { "text-anchor": "middle" }));
  for (const mark of marks) {
    const colour = mark.original ? "faint" : "proposal";
    if (mark.low != null && mark.high != null) parts.push(svg("rect", { x: x(mark.low), y: top, width: Math.max(0, x(mark.high) - x(mark.low)), height: bottom - top, style: `fill:var(--${colour});opacity:.07` }));
    parts.push(line(x(mark.share), top - 6 - 15 * mark.level, x(mark.share), bottom, `stroke:var(--${colour});${mark.original ? "stroke-dasharray:5 4" : ""}`));
  }
  for (const mark of marks) parts.push(text(mark.middle, top - 10 - 15 * mark.level, mark.title, { "text-anchor": "middle", class: "strong halo" }));
  const mixes = shown.filter((mix) => known(mix.scores[score] || []).length).sort((a, b) => a.share - b.share);
  const plain = mixes.filter((mix) => !mix.staged && !isNaN(parseFloat(mix.run.slice(4))));
  parts.push(svg("path", { d: path(plain.map((mix) => mix.share), plain.map((mix) => mean(known(mix.scores[score]))), x, y), style: "fill:none;stroke:var(--new);stroke-width:1.6;opacity:.6" }));
  for (const mix of mixes) {
    const value = mean(known(mix.scores[score]));
    const said = `${saying(mix, score)}.`;
    const [cx, cy] = [x(mix.share), y(value)];
    const mark = mix.staged
      ? svg("path", { d: `M${cx} ${cy - 8}L${cx + 8} ${cy}L${cx} ${cy + 8}L${cx - 8} ${cy}Z`, style: "fill:var(--knowledge);stroke:var(--paper);stroke-width:1.5" })
      : svg("circle", { cx, cy, r: 6, style: `fill:var(--${plain.includes(mix) ? "new" : "control"});stroke:var(--paper);stroke-width:1.5` });
    const dots = known(mix.scores[score]).map((each) => svg("circle", { cx, cy: y(each), r: 2.4, style: "fill:var(--new);opacity:.45" }));
    const group = svg("g", { tabindex: 0, role: "img", "aria-label": said }, ...dots, svg("circle", { cx, cy, r: 14, style: "fill:transparent" }), mark);
    group.addEventListener("pointerenter", () => { at("sweep-reading").textContent = said; });
    group.addEventListener("focus", () => { at("sweep-reading").textContent = said; });
    parts.push(group);
  }
  chart("sweep", bottom + 48, "Score of every mix by its share of new languages, with what is proposed.", parts);
  at("sweep").firstChild.setAttribute("role", "group");
  const best = mixes.reduce((a, b) => (mean(known(b.scores[score])) > mean(known(a.scores[score])) ? b : a));
  at("sweep-reading").textContent = `The highest mean: ${saying(best, score)}.`;
}

// --- two runs ------------------------------------------------------------------------------------------------------------

function series(metric) {
  const found = {};
  for (const [language, each] of Object.entries(data.languages)) {
    for (const [run, curves] of Object.entries(each.runs)) {
      if (curves[metric]) found[`${run} ${language}`] = { title: `${each.title}, ${run}`, curve: curves[metric] };
    }
    if (metric !== "accuracy") continue;
    for (const mix of data.mixes) {
      const values = known(mix.scores[language] || []);
      if (values.length) found[`${mix.run} ${language}`] = { title: `${each.title}, ${mix.title} (from scratch)`, level: mean(values) };
    }
  }
  return found;
}

function drawCompare() {
  const metric = at("metric").value;
  const found = series(metric);
  const entries = Object.entries(found).map(([key, each]) => [key, each.title]);
  at("compare-tool").hidden = entries.length < 1;
  if (at("compare-tool").hidden) return;
  for (const [select, i] of [[at("first"), 0], [at("second"), Math.min(1, entries.length - 1)]]) {
    const before = select.value;
    fill(select, entries);
    if (!found[before]) select.value = entries[i][0];
  }
  const chosen = [[found[at("first").value], "new"], [found[at("second").value], "primary"]];
  const share = data.metrics[metric][1] === "%";
  const say = share ? percent : (value) => count(value, 2);
  const width = widthOf("compare");
  const [left, right, top, bottom] = [50, width - 12, 26, 268];
  const all = [...new Set(chosen.flatMap(([each]) => (each.curve ? each.curve.steps : [])).concat(steps()))].sort((a, b) => a - b);
  const x = stepScale(all, left, right);
  const values = chosen.flatMap(([each]) => (each.curve ? known([...each.curve.mean, ...each.curve.high]) : [each.level]));
  const most = share ? 1 : Math.max(...values) * 1.05 || 1;
  const y = (value) => bottom - ((bottom - top) * value) / most;
  const parts = [];
  for (let i = 0; i <= 4; i++) parts.push(line(left, y((most * i) / 4), right, y((most * i) / 4), "stroke:var(--line)"), text(left - 8, y((most * i) / 4) + 4, say((most * i) / 4), { "text-anchor": "end" }));
  parts.push(...stepTicks(all, x, bottom + 20), text((left + right) / 2, bottom + 40, "optimiser steps", { "text-anchor": "middle" }));
  const shown = chosen.map(([each, colour], i) => {
    if (each.level != null) {
      parts.push(line(left, y(each.level), right, y(each.level), `stroke:var(--${colour});stroke-width:2;stroke-dasharray:7 4`));
      return each.level;
    }
    parts.push(svg("path", { d: band(each.curve, x, y), style: `fill:var(--${colour});opacity:.13` }));
    parts.push(svg("path", { d: path(each.curve.steps, each.curve.mean, x, y), style: `fill:none;stroke:var(--${colour});stroke-width:${i ? 2 : 2.6}` }));
    const value = each.curve.mean[placeIn(each.curve.steps)];
    if (value != null) parts.push(svg("circle", { cx: x(Math.min(now(), each.curve.steps[each.curve.steps.length - 1])), cy: y(value), r: 4.5, style: `fill:var(--${colour});stroke:var(--paper);stroke-width:1.5` }));
    return value;
  });
  parts.push(line(x(now()), top - 6, x(now()), bottom, "stroke:var(--faint);stroke-width:1"));
  let place = left;
  chosen.forEach(([each, colour]) => {
    parts.push(svg("rect", { x: place, y: 4, width: 10, height: 10, rx: 2, style: `fill:var(--${colour})` }), text(place + 16, 13, each.title, { class: "strong" }));
    place += 40 + each.title.length * 6.6;
  });
  chart("compare", bottom + 48, `${data.metrics[metric][0]}: ${chosen.map(([each]) => each.title).join(" and ")}.`, parts);
  const difference = shown[0] == null || shown[1] == null ? "" : `: a difference of ${share ? `${signed(100 * (shown[0] - shown[1]), 1)} points` : `${shown[0] < shown[1] ? "−" : "+"}${say(Math.abs(shown[0] - shown[1]))}`}`;
  at("compare-reading").textContent = `At step ${count(now())}: ${chosen[0][0].title} ${say(shown[0])}, ${chosen[1][0].title} ${say(shown[1])}${difference}.`;
}

// --- everything together -------------------------------------------------------------------------------------------------

function draw() {
  drawTrace();
  drawLens();
  drawDrift();
  drawSweep();
  drawCompare();
}

function show(language) {
  state.language = language;
  document.querySelectorAll(".panel").forEach((panel) => { panel.hidden = panel.dataset.language !== language; });
  document.querySelectorAll("[data-show]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.show === language)));
  const measured = Object.keys(data.metrics).filter((metric) => Object.keys(series(metric)).length);
  at("explorer").querySelector(".scrub").hidden = !measured.length;
  fill(at("metric"), measured.map((metric) => [metric, data.metrics[metric][0]]));
  const titles = Object.entries(data.score_titles).filter(([name]) => data.mixes.some((mix) => known(mix.scores[name] || []).length));
  fill(at("score"), titles.sort(([a], [b]) => (b === language) - (a === language)));
  at("score").value = titles.some(([name]) => name === language) ? language : at("score").value;
  const grid = here().lens;
  if (grid) fill(at("prompt"), grid.prompts.map((prompt, i) => [i, titleOf(grid, prompt)]));
  state.prompt = state.slot = 0;
  at("step").max = steps().length - 1;
  const curve = accuracy("continual");
  const peak = curve ? curve.mean.reduce((best, value, i) => (value > curve.mean[best] ? i : best), 0) : 0;
  state.place = peak;
  at("step").value = peak;
  const compared = series(at("metric").value);
  for (const [id, run] of [["first", "continual"], ["second", "control"]]) {
    fill(at(id), Object.entries(compared).map(([key, each]) => [key, each.title]));
    if (compared[`${run} ${language}`]) at(id).value = `${run} ${language}`;
  }
  draw();
}

at("step").addEventListener("input", () => { state.place = Number(at("step").value); draw(); });
at("prompt").addEventListener("change", () => { state.prompt = Number(at("prompt").value); drawLens(); });
for (const [id, drawn] of [["definition", drawDrift], ["score", drawSweep], ["metric", drawCompare], ["first", drawCompare], ["second", drawCompare]]) at(id).addEventListener("change", drawn);
chooseIn("lens", (column) => { state.slot = column; drawLens(); });
document.querySelectorAll("[data-show]").forEach((button) => button.addEventListener("click", () => show(button.dataset.show)));

let drawnWidth = 0;
new ResizeObserver(() => {
  if (at("explorer").clientWidth === drawnWidth) return;
  drawnWidth = at("explorer").clientWidth;
  draw();
}).observe(at("explorer"));

show(state.language);
