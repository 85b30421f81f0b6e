import { defineConfig } from "vitest/config";
import { sourceConditions } from "../../vitest.base.ts";

export default defineConfig({
  resolve: { conditions: sourceConditions },
  ssr: { resolve: { conditions: sourceConditions } },
  test: { name: "trace", include: ["test/**/*.test.ts"] },
});
