const PAGE_BYTES = 4096;

/**
 * Which page-table page of the kernel is which of the model: they have other addresses. A pair is learned at its first sight and holds
 * until the model frees its page.
 */
export class TablePages {
  private readonly kernelOf = new Map<number, number>();
  private readonly modelOf = new Map<number, number>();

  /** Whether the two addresses are the same place: of one pair of pages, and at the same offset. Pages without a partner become a pair. */
  same(model: number, kernel: number): boolean {
    const offset = model % PAGE_BYTES;
    if (offset !== kernel % PAGE_BYTES) return false;
    const modelPage = model - offset;
    const kernelPage = kernel - offset;
    if (this.kernelOf.get(modelPage) === kernelPage) return true;
    if (this.kernelOf.has(modelPage) || this.modelOf.has(kernelPage)) return false;
    this.kernelOf.set(modelPage, kernelPage);
    this.modelOf.set(kernelPage, modelPage);
    return true;
  }

  /** The model's page for the kernel's, null if there is none. */
  modelPage(kernelPage: number): number | null {
    return this.modelOf.get(kernelPage) ?? null;
  }

  /** The model has freed its page. */
  release(modelPage: number): void {
    const kernelPage = this.kernelOf.get(modelPage);
    if (kernelPage === undefined) return;
    this.kernelOf.delete(modelPage);
    this.modelOf.delete(kernelPage);
  }
}
