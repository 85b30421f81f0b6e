/**
 * Gives virtual pages dense indices, 0, 1, 2, ... in the order of their first touch, so that a sparse address
 * space becomes guest memory without holes.
 */
export class PageNumbering {
  private readonly indices = new Map<number, number>();

  /** Pages numbered so far. */
  get size(): number {
    return this.indices.size;
  }

  /** Index of a page, a new one when the page is new. */
  indexOf(page: number): number {
    const known = this.indices.get(page);
    if (known !== undefined) return known;
    this.indices.set(page, this.indices.size);
    return this.indices.size - 1;
  }

  /** Indices of all pages of a batch. */
  renumber(pages: Float64Array): Uint32Array {
    const indices = new Uint32Array(pages.length);
    for (let access = 0; access < pages.length; access++) indices[access] = this.indexOf(pages[access]!);
    return indices;
  }
}
