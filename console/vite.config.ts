import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/headrace/console/static",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    modulePreload: { polyfill: false },
  },
  // A machine-wide stack may listen anywhere: `HEADRACE_URL=http://127.0.0.1:8088 npm run dev`.
  server: { proxy: { "/v1": process.env["HEADRACE_URL"] ?? "http://127.0.0.1:8088" } },
});
