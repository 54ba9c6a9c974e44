"use strict";

// It stands at /form/, or at the root itself.
const root = new URL(location.pathname.endsWith("/form/") ? "../" : "./", location.href);
const part = (name) => document.getElementById(name);

// Without a token there is no header, which a server that asks for none takes.
const headers = () => (part("token").value ? { Authorization: `Bearer ${part("token").value}` } : {});

async function ask(path, options) {
  const response = await fetch(new URL(path, root), { ...options, headers: { ...headers(), ...options?.headers } });
  if (response.status === 401) part("token-row").hidden = false;
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.error ?? answer[0]?.error ?? `The server answered ${response.status}.`);
  }
  return response;
}

async function showModels() {
  const { models } = await (await ask("v1/models")).json();
  part("model").replaceChildren(...models.map(({ name }) => new Option(name)));
}

function showFound(found) {
  part("found").replaceChildren(
    ...found.map(({ label, score, share }) => {
      const line = document.createElement("li");
      const number = document.createElement("b");
      // A segmenter's classes have their share of the picture instead of a score.
      const percent = 100 * (score ?? share);
      number.textContent = `${percent.toFixed(1)} %`;
      line.style.backgroundSize = `${percent}% 100%`;
      line.append(number, label);
      return line;
    }),
  );
}

async function answer() {
  if (!part("model").value) await showModels();
  const path = `v1/predict?model=${encodeURIComponent(part("model").value)}`;
  const post = (accept) =>
    ask(path, { method: "POST", body: part("picture").files[0], headers: { Accept: accept, "Content-Type": "image/*" } });
  const [result] = await (await post("application/json")).json();
  const found = result.predictions ?? result.classes;
  showFound(found);
  const drawn = await (await post("image/png")).blob();
  URL.revokeObjectURL(part("shown").src);
  part("shown").src = URL.createObjectURL(drawn);
  part("shown").alt = found.map(({ label }) => label).slice(0, 3).join(", ");
  part("shown").hidden = false;
  return [found.length ? "" : "Nothing was found.", result.note ?? ""].join(" ").trim();
}

part("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  part("status").textContent = "…";
  part("status").textContent = await answer().catch((error) => error.message);
});

part("interface").href = new URL("openapi.json", root);
showModels().catch((error) => (part("status").textContent = error.message));
