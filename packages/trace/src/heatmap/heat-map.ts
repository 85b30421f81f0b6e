import type { HeatCell, HeatGrid } from "./heat-grid.js";

/** Guest frames that stand next to each other, over time. */
export interface HeatRow {
  /** First frame. */
  readonly gfn: number;
  readonly pages: number;
  /** By column: how many young answers there were, counted in frames; null where the host did not ask. */
  readonly cells: readonly (number | null)[];
}

/** How often guest frames were found young: guest frame × time. */
export interface HeatMap {
  /** Ascending by gfn. Frames that were never asked about have no row. */
  readonly rows: readonly HeatRow[];
  /** Start of the first column, in nanoseconds of the trace clock. */
  readonly fromNs: number;
  /** Width of every column. */
  readonly columnNs: number;
  readonly columns: number;
  /** Largest cell. */
  readonly max: number;
}

/** Size of a heat map, at most. */
export interface HeatMapSize {
  readonly rows: number;
  readonly columns: number;
}

interface Layout {
  readonly firstColumn: number;
  /** Columns of the grid in one column. */
  readonly columnsTogether: number;
  readonly columns: number;
  /** Blocks of the grid in one row. */
  readonly blocksTogether: number;
}

function distinct(blocks: ReadonlySet<number>, together: number): number {
  return new Set([...blocks].map((block) => Math.floor(block / together))).size;
}

function layoutOf(cells: readonly HeatCell[], size: HeatMapSize): Layout {
  const [first, last] = cells.reduce(
    ([low, high], { column }) => [Math.min(low, column), Math.max(high, column)],
    [Number.POSITIVE_INFINITY, 0],
  );
  const blocks = new Set(cells.map(({ block }) => block));
  let blocksTogether = 1;
  while (distinct(blocks, blocksTogether) > size.rows) blocksTogether *= 2;
  const used = last - first + 1;
  const columnsTogether = Math.ceil(used / size.columns);
  return {
    firstColumn: first,
    columnsTogether,
    columns: Math.ceil(used / columnsTogether),
    blocksTogether,
  };
}

function rowsOf(cells: readonly HeatCell[], layout: Layout): Map<number, (number | null)[]> {
  const rows = new Map<number, (number | null)[]>();
  for (const { block, column, young } of cells) {
    const number = Math.floor(block / layout.blocksTogether);
    const row = rows.get(number) ?? Array.from({ length: layout.columns }, () => null);
    rows.set(number, row);
    const place = Math.floor((column - layout.firstColumn) / layout.columnsTogether);
    row[place] = (row[place] ?? 0) + young;
  }
  return rows;
}

/** Draws a heat map out of a grid; without rows and columns if the grid is empty. */
export function heatMap(grid: HeatGrid, size: HeatMapSize): HeatMap {
  const cells = [...grid.cells()];
  if (cells.length === 0 || grid.firstNs === null) {
    return { rows: [], fromNs: 0, columnNs: 0, columns: 0, max: 0 };
  }
  const layout = layoutOf(cells, size);
  const pages = layout.blocksTogether * grid.blockPages;
  const rows = [...rowsOf(cells, layout)].sort(([a], [b]) => a - b);
  return {
    rows: rows.map(([number, row]) => ({ gfn: number * pages, pages, cells: row })),
    fromNs: grid.firstNs + layout.firstColumn * grid.columnNs,
    columnNs: grid.columnNs * layout.columnsTogether,
    columns: layout.columns,
    max: rows.flatMap(([, row]) => row).reduce<number>((most, cell) => Math.max(most, cell ?? 0), 0),
  };
}
