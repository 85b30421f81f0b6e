import { CircularDependencyError } from "./errors.js";

/** "`to` was waited for while `from` was held": one edge of the order graph, with its first occurrence. */
export interface LockEdge {
  /** Name of the class held. */
  readonly from: string;
  /** Name of the class wanted. */
  readonly to: string;
  /** Everything held then, oldest first, with modes. */
  readonly heldThen: readonly string[];
  /** Place in the code: `function (file:line:column)`. */
  readonly at: string;
  readonly cpu: number;
}

/** A graph as plain data: JSON, or a message to another thread. */
export type LockGraphData = readonly LockEdge[];

/**
 * In which order lock classes were taken, ever. Shared by the processors of one JavaScript realm; graphs of several threads
 * are brought together with `toJSON` and `merge`. A cycle means that processors can wait for each other in a ring, even if
 * this run did not.
 */
export class LockGraph {
  private readonly edges = new Map<string, Map<string, LockEdge>>();

  has(from: string, to: string): boolean {
    return this.edges.get(from)?.has(to) ?? false;
  }

  /**
   * Adds an order that was not seen before.
   *
   * @throws CircularDependencyError if it closes a cycle; the graph is then unchanged.
   */
  add(edge: LockEdge): void {
    const existing = this.findPath(edge.to, edge.from);
    if (existing !== undefined) {
      throw new CircularDependencyError(describeCycle(edge, existing), edge, existing);
    }
    const targets = this.edges.get(edge.from) ?? new Map<string, LockEdge>();
    this.edges.set(edge.from, targets.set(edge.to, edge));
  }

  /** A shortest chain of orders that leads from one class to another, or undefined. */
  findPath(from: string, to: string): LockEdge[] | undefined {
    const cameBy = new Map<string, LockEdge>();
    const queue = [from];
    for (const name of queue) {
      for (const edge of this.edges.get(name)?.values() ?? []) {
        if (edge.to === from || cameBy.has(edge.to)) continue;
        cameBy.set(edge.to, edge);
        if (edge.to === to) return pathBack(cameBy, from, to);
        queue.push(edge.to);
      }
    }
    return undefined;
  }

  toJSON(): LockGraphData {
    return [...this.edges.values()].flatMap((targets) => [...targets.values()]);
  }

  /**
   * Adds the orders that another graph has seen.
   *
   * @throws CircularDependencyError if the two together have a cycle that neither has alone.
   */
  merge(data: LockGraphData): void {
    for (const edge of data) {
      if (!this.has(edge.from, edge.to)) this.add(edge);
    }
  }
}

function pathBack(cameBy: ReadonlyMap<string, LockEdge>, from: string, to: string): LockEdge[] {
  const path: LockEdge[] = [];
  for (let name = to; name !== from; ) {
    const edge = cameBy.get(name)!;
    path.unshift(edge);
    name = edge.from;
  }
  return path;
}

function describeEdge(edge: LockEdge, index: number, verb: string): string {
  return [
    `-> #${index} "${edge.to}", ${verb} while "${edge.from}" was held`,
    `     by cpu ${edge.cpu} at ${edge.at}`,
    `     holding ${edge.heldThen.join(" -> ")}`,
  ].join("\n");
}

function describeCycle(edge: LockEdge, existing: readonly LockEdge[]): string {
  const ring = [edge, ...existing];
  return [
    "WARNING: possible circular locking dependency detected",
    `cpu ${edge.cpu} is about to take "${edge.to}" at ${edge.at}`,
    `but already holds "${edge.from}", and the new order depends on itself.`,
    "",
    "the existing dependency chain, in reverse order:",
    ...existing.map((step, index) => describeEdge(step, index + 1, "taken")).reverse(),
    describeEdge(edge, 0, "about to be taken"),
    "",
    "possible deadlock:",
    ...ring.map((step, index) => ` processor ${index} holds "${step.from}" and waits for "${step.to}"`),
  ].join("\n");
}
