// Sorts tables by the column whose heading is pressed, and shows one account. Without it, the page has all accounts, in its own order.
"use strict";
const pick = document.getElementById("pick");
if (pick) {
  pick.closest("p").hidden = false;
  const show = () => {
    const account = pick.value;
    const views = [...document.querySelectorAll("[data-view]")];
    views.forEach((view) => { view.hidden = view.dataset.view !== account; });
    document.querySelectorAll("[data-account]").forEach((part) => { part.hidden = account !== "" && part.dataset.account !== account; });
  };
  pick.addEventListener("change", show);
  show();
}
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
