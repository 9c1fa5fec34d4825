"use strict";
// Copies what stands before a button. Without this script the buttons stay hidden.
const said = document.getElementById("said");
for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const code = button.previousElementSibling;
  let copied = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // A page without a clipboard of its own, such as one of plain HTTP.
    getSelection().selectAllChildren(code);
    copied = document.execCommand("copy");
  }
  const label = button.firstChild;
  label.data = copied ? "Copied" : "Selected";
  said.textContent = copied ? "Copied" : "Selected, copy it with the keyboard";
  setTimeout(() => {
    label.data = "Copy";
    said.textContent = "";
  }, 2000);
});
