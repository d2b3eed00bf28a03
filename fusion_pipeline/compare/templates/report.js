"use strict";
document.documentElement.classList.add("scripted");
// A click on a column's head sorts by it: as numbers where its cells begin with numbers, else as words.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("th")];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const scale = { k: 1e3, M: 1e6, G: 1e9, MB: 1e6, GB: 1e9, min: 60 };
    const value = (row) => {
      const text = row.cells[column].textContent.trim();
      const found = /^([+-]?[\d.,]+)(?:e([+-]?\d+))?\s*(k|MB|GB|M|G|min)?/.exec(text.replace("−", "-"));
      if (!found) return text;
      return Number(found[1].replaceAll(",", "")) * 10 ** Number(found[2] || 0) * (scale[found[3]] || 1);
    };
    const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
    if (down) rows.reverse();
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
}
