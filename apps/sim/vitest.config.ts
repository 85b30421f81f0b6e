import { defineConfig } from "vitest/config";

// No source condition: scenarios start real threads, which load the built packages.
export default defineConfig({
  test: { name: "sim", include: ["test/**/*.test.ts"], testTimeout: 60_000 },
});
