// Sorts tables by the column whose heading is pressed. Without it, the tables are in the order of the page.
"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, place) => {
    const cell = row.cells[place];
    const exact = cell.dataset.value;
    return exact === undefined ? cell.textContent.trim() : exact === "" ? null : Number(exact);
  };
  const compare = (one, other) =>
    typeof one === "number" ? one - other : one.localeCompare(other, document.documentElement.lang, { numeric: true });
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = heading.title;
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const isNumber = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      // Of numbers the largest first, of names the first.
      const order = before === "none" ? (isNumber ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", order);
      const rows = [...body.rows].map((row) => [row, value(row, place)]);
      const sign = order === "ascending" ? 1 : -1;
      rows.sort(([, one], [, other]) =>
        one === null || other === null ? (one === null) - (other === null) : sign * compare(one, other));
      body.append(...rows.map(([row]) => row));
    });
  });
}
