// The few signs that the page draws itself: a font's would sit elsewhere in each font.

import type { ReactNode } from "react";

const PATHS = { close: "m5 5 10 10M15 5 5 15", left: "m12 4-6 6 6 6", right: "m8 4 6 6-6 6" };

export function Icon({ name }: { name: keyof typeof PATHS }): ReactNode {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
