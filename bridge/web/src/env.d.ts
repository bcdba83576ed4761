interface ImportMetaEnv {
  /** Where the daemon answers, for a page served elsewhere; the page's own origin without it. */
  readonly VITE_API_URL?: string;
}
