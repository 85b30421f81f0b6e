import { benchAgingScan } from "./aging-scan.js";

for (const row of benchAgingScan()) console.log(`${row.name}  ${row.figure}  ${row.baseline}  ${row.ratio}  ${row.aim}`);
