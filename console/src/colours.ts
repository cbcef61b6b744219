// One CDN, one colour, on every chart. The palette (style.css, --cdn-0…) is told apart with the common kinds of colour blindness.
export const CDN_COLOURS = 6;

/** Slot of `cdn` in the palette: single letters by alphabet, other names by their place among `all`. */
export function cdnSlot(cdn: string, all: readonly string[]): number {
  const letter = /^[A-Za-z]$/.test(cdn) ? cdn.toUpperCase().charCodeAt(0) - 65 : [...all].sort().indexOf(cdn);
  return Math.max(0, letter) % CDN_COLOURS;
}

/** The custom property that holds the colour of `cdn`. */
export function cdnVar(cdn: string, all: readonly string[]): string {
  return `--cdn-${cdnSlot(cdn, all)}`;
}

/** A custom property's value now, for canvas drawing. */
export function cssColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
