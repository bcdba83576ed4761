// The few signs that the page draws itself: a font's would sit elsewhere in each font.

import type { ReactNode } from "react";

const PATHS = {
  close: "m5 5 10 10M15 5 5 15",
  left: "m12 4-6 6 6 6",
  right: "m8 4 6 6-6 6",
  up: "M3 9h3v8H3zM6 9l4-6c1.3 0 2.1 1 1.8 2.3L11.2 8H16a1.5 1.5 0 0 1 1.5 1.8l-1.1 5.7A1.8 1.8 0 0 1 14.6 17H6",
  down: "M3 11h3V3H3zM6 11l4 6c1.3 0 2.1-1 1.8-2.3L11.2 12H16a1.5 1.5 0 0 0 1.5-1.8l-1.1-5.7A1.8 1.8 0 0 0 14.6 3H6",
};

export function Icon({ name }: { name: keyof typeof PATHS }): ReactNode {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
