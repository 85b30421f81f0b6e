import { benchMapFaults } from "./map-faults.js";

console.log(benchMapFaults());
