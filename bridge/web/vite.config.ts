import { defineConfig } from "vite";

// Built into the package: users need no Node. The same source gives the same bytes, which `make page-check` holds it to.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    // A font or picture as data: URL would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
    license: { fileName: "assets/licenses.md" },
  },
  server: {
    // `npm run dev` beside a daemon at its usual place.
    proxy: Object.fromEntries(
      ["/build-context", "/search", "/status", "/answers", "/ratings", "/documents", "/health"].map((path) => [
        path,
        "http://127.0.0.1:8000",
      ]),
    ),
  },
});
