/** Resolve conditions of the packages' tests: workspace packages load from `src`, without a build. */
export const sourceConditions: string[] = ["@kvm-age/source", "module", "node", "development|production"];
