// What outlives a reload, in this tab only.

export function kept(key: string): string | null {
  try {
    return sessionStorage.getItem(`tandem.${key}`);
  } catch {
    return null; // storage is off: nothing outlives a reload
  }
}

export function keep(key: string, value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(`tandem.${key}`);
    else sessionStorage.setItem(`tandem.${key}`, value);
  } catch {
    // full or off: the chat goes on, a reload forgets it
  }
}
