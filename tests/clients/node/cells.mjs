// How a client's script says what works: each use is a cell, and becomes one JSON line.

const cells = [];
export const MODEL = process.env.CLIENTS_MODEL;
export const EMBEDDER = process.env.CLIENTS_EMBEDDER;
export const BASE = process.env.CLIENTS_BASE;
export const BASE_URL = process.env.OPENAI_BASE_URL;
export const KEY = process.env.OPENAI_API_KEY;
export const WEATHER = "What is the weather in Oslo?";
export const PERSON = "Ann is 30 years old.";
export const ANN = { name: "Ann", age: 30 };

/** Add a use; it throws where its user does not get what they wanted. */
export function cell(what, use) {
  cells.push([what, use]);
}

/** Try every cell, and tell each as soon as it is known; the whole error is on stderr. */
export async function main() {
  const wanted = new RegExp(process.argv[2] ?? "");
  for (const [what, use] of cells) {
    if (!wanted.test(what)) continue;
    let why = null;
    try {
      await use();
    } catch (error) {
      console.error(`--- ${what}`, error);
      why = `${error?.name}: ${error?.message}`;
    }
    console.log(JSON.stringify({ what, why }));
  }
  process.exit(0);
}
