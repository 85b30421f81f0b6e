import { availableParallelism, cpus } from "node:os";
import { renderTable } from "../terminal/render-table.js";
import { styleFor } from "../terminal/style.js";
import { benchAgingScan } from "./aging-scan.js";
import type { BenchRow } from "./bench-row.js";
import { benchGuestAccess } from "./guest-access.js";
import { benchMapFaults } from "./map-faults.js";
import { benchMemory } from "./memory.js";
import { benchSpteRates } from "./spte-rates.js";

// `npm run bench`: figures of this machine, now, each beside a baseline measured in the same run.

const rows: BenchRow[] = [
  ...benchAgingScan(),
  ...benchMapFaults(),
  ...benchGuestAccess(),
  ...(await benchSpteRates()),
  ...benchMemory(),
];
console.log(
  `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}\n`,
);
console.log(
  renderTable(
    {
      head: ["what", "figure", "baseline", "ratio", "aim"],
      rows: rows.map(({ name, figure, baseline, ratio, aim }) => [name, figure, baseline, ratio, aim]),
      leftColumns: [0, 2],
    },
    styleFor(process.stdout, process.env),
  ),
);
