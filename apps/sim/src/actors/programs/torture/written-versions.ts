/** For each test page the number of writes its owner has completed, shared by all actors of a torture run. */
export class WrittenVersions {
  private readonly versions: Uint32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.versions = new Uint32Array(buffer);
  }

  get(page: number): number {
    return Atomics.load(this.versions, page);
  }

  /** Published after the write is in the page, so that whoever sees the number may demand the data. */
  publish(page: number, version: number): void {
    Atomics.store(this.versions, page, version);
  }

  snapshot(firstPage: number, pages: number): Uint32Array {
    return Uint32Array.from({ length: pages }, (_, index) => this.get(firstPage + index));
  }
}
