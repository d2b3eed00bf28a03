"use strict";
// Everything from data is written with textContent: it never becomes markup.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("sentences");
  if (!box) return;
  const MEAN = "mean over sites";
  const sites = [MEAN, ...new Set(data.sentences.flatMap((s) => Object.keys(s.weights)))];
  const asked = new URLSearchParams(location.hash.slice(1));
  const state = { site: sites.includes(asked.get("site")) ? asked.get("site") : MEAN, groups: asked.has("groups") };
  const groupNames = Object.keys(data.groups);

  function add(parent, tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    parent.append(made);
    return made;
  }

  // What is coloured: adapters, or groups of them (an adapter in no group stands for itself).
  function entries() {
    if (!state.groups) return data.adapters.map((a) => ({ ...a, members: [a.name] }));
    const grouped = groupNames.map((g) => ({ name: g, members: data.groups[g] }));
    const inside = new Set(grouped.flatMap((g) => g.members));
    const single = data.adapters.filter((a) => !inside.has(a.name)).map((a) => ({ name: a.name, members: [a.name] }));
    return [...grouped, ...single].map((e, i) => ({ ...data.adapters[i], ...e }));
  }

  // The weight of each adapter for one token; 0 at sites that it has not.
  function weightsOf(sentence, token, site) {
    const found = {};
    for (const adapter of data.adapters) found[adapter.name] = 0;
    const used = site === MEAN ? Object.keys(sentence.weights) : site in sentence.weights ? [site] : [];
    for (const key of used)
      sentence.names[key].forEach((name, n) => { found[name] += sentence.weights[key][token][n] / used.length; });
    return found;
  }

  function summed(weights, shown) {
    return shown.map((e) => ({ ...e, weight: e.members.reduce((sum, name) => sum + weights[name], 0) }));
  }

  function paint(element, found) {
    const total = found.reduce((sum, e) => sum + Math.abs(e.weight), 0);
    const best = found.reduce((one, other) => (Math.abs(other.weight) > Math.abs(one.weight) ? other : one));
    const share = total > 0 ? Math.abs(best.weight) / total : 0;
    const alpha = Math.round(255 * 0.85 * share).toString(16).padStart(2, "0");
    element.style.backgroundColor = best.colour + alpha;
    element.style.borderBottom = `3px ${best.style} ${total > 0 ? best.colour : "transparent"}`;
    element.dataset.best = best.name;
    const listed = found.map((e) => `${e.name} ${e.weight.toFixed(3)}`).join(", ");
    element.setAttribute("aria-label", `${element.textContent}: ${listed}`);
    element.title = listed;
  }

  const tip = document.getElementById("tip");
  function showTip(element, found) {
    tip.replaceChildren();
    const most = Math.max(...found.map((e) => Math.abs(e.weight)), 1e-9);
    for (const e of [...found].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))) {
      const row = add(tip, "div");
      add(row, "span", e.name);
      add(row, "b", e.weight.toFixed(3));
      const bar = add(row, "i");
      bar.style.width = `${(90 * Math.abs(e.weight)) / most}px`;
      bar.style.backgroundColor = e.colour;
    }
    tip.hidden = false;
    const place = element.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(place.left, innerWidth - tip.offsetWidth - 4))}px`;
    const below = place.bottom + 6;
    tip.style.top = `${below + tip.offsetHeight < innerHeight ? below : place.top - tip.offsetHeight - 6}px`;
  }
  const hideTip = () => { tip.hidden = true; };

  function drawLegend(shown) {
    const legend = document.getElementById("legend");
    legend.replaceChildren();
    for (const e of shown) {
      const swatch = add(legend, "span", undefined, "swatch");
      const mark = add(swatch, "i");
      mark.style.backgroundColor = e.colour + "b0";
      mark.style.borderBottom = `3px ${e.style} ${e.colour}`;
      swatch.append(e.name);
    }
  }

  function draw() {
    const shown = entries();
    drawLegend(shown);
    box.replaceChildren();
    for (const sentence of data.sentences) {
      const part = add(box, "div", undefined, "sentence");
      add(part, "p", `${sentence.title} → ${sentence.said}`, "about");
      const line = add(part, "p", undefined, "line");
      sentence.tokens.forEach((text, t) => {
        const element = add(line, "span", text === "" ? "␣" : text, "token");
        const found = summed(weightsOf(sentence, t, state.site), shown);
        element.tabIndex = 0;
        paint(element, found);
        for (const event of ["mouseenter", "focus"]) element.addEventListener(event, () => showTip(element, found));
        for (const event of ["mouseleave", "blur"]) element.addEventListener(event, hideTip);
        line.append(" ");
      });
    }
    const hash = new URLSearchParams({ site: state.site });
    if (state.groups) hash.set("groups", "1");
    history.replaceState(null, "", "#" + hash);
  }

  const select = document.getElementById("site");
  for (const site of sites) add(select, "option", site).value = site;
  select.value = state.site;
  select.addEventListener("change", () => { state.site = select.value; draw(); });
  if (groupNames.length) {
    const label = add(document.getElementById("colouring"), "label");
    const check = add(label, "input");
    check.type = "checkbox";
    check.checked = state.groups;
    label.append(" groups of adapters");
    check.addEventListener("change", () => { state.groups = check.checked; draw(); });
  }
  draw();
})();
