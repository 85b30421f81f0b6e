import { defineConfig } from "vitest/config";
import { sourceConditions } from "../../vitest.base.ts";

export default defineConfig({
  resolve: { conditions: sourceConditions },
  ssr: { resolve: { conditions: sourceConditions } },
  test: { name: "test-kit", include: ["test/**/*.test.ts"] },
});
