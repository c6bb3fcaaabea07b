const form = document.querySelector("form");
const cards = [...document.querySelectorAll(".card")];

function show() {
  const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (card) =>
    ["way", "kind"].every((name) => !form[name].value || card.dataset[name] === form[name].value) &&
    words.every((word) => card.dataset.words.includes(word));
  for (const card of cards) card.hidden = !fits(card);
  const shown = cards.filter((card) => !card.hidden).length;
  form.querySelector("output").textContent = `${shown} of ${cards.length} shown`;
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
}
