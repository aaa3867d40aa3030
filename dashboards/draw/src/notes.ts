/* What went wrong while drawing; `draw.mjs` reads it from the window. */

type Notes = { faults: string[]; queries: string[]; empty: string[]; boards: string[] };

export const notes: Notes = { faults: [], queries: [], empty: [], boards: [] };
(window as unknown as { notes: Notes }).notes = notes;

export function note(fault: string): void {
  notes.faults.push(fault);
}

window.addEventListener('error', (event) => note(`page: ${event.message}`));
window.addEventListener('unhandledrejection', (event) => note(`page: ${event.reason}`));
