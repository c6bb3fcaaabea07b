// Filters above the table of models. Without this script the table is a plain one.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("table.models");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const text = (row, column) => row.cells[column].textContent.trim();
  const bar = document.createElement("div");
  bar.className = "model-filters";

  const words = document.createElement("input");
  words.type = "search";
  words.placeholder = "part of a name";
  words.setAttribute("aria-label", "part of a name");
  bar.append(words);

  const choices = ["method", "data set", "words", "regions", "status"].map((head) => {
    const column = heads.indexOf(head);
    const choice = document.createElement("select");
    choice.setAttribute("aria-label", head);
    choice.append(new Option(`any ${head}`, ""));
    new Set(rows.map((row) => text(row, column))).forEach((value) => choice.append(new Option(value, value)));
    bar.append(choice);
    return { choice, column };
  });

  const count = document.createElement("output");
  bar.append(count);
  const show = () => {
    let shown = 0;
    for (const row of rows) {
      const fits = text(row, 0).includes(words.value.trim().toLowerCase())
        && choices.every(({ choice, column }) => !choice.value || text(row, column) === choice.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };
  bar.addEventListener("input", show);
  (table.closest(".table-wrapper") || table).before(bar);
  show();
});
