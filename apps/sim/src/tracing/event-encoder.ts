import type { TraceEvent } from "@kvm-age/machine";
import {
  type EventShape,
  type FieldValue,
  IRQS_OFF_FLAG,
  MAX_PREEMPT_DEPTH,
  MAX_SCALAR_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_KINDS,
  RECORD_OFFSETS,
  TAGS,
} from "./event-record.js";
import type { Moment } from "./recent-writes.js";

interface NumberedShape extends EventShape {
  readonly id: number;
}

/** Where a thread was when it emitted an event. */
export interface Context {
  readonly preemptDepth: number;
  readonly irqsOff: boolean;
}

const text = new TextEncoder();

/** Bytes that `event` needs at most, with its shape. */
export function encodedBytesAtMost({ name, fields }: TraceEvent): number {
  let bytes = 2 * RECORD_HEADER_BYTES + 64 + name.length;
  for (const field in fields) {
    const value = fields[field];
    bytes += field.length + 8 + MAX_SCALAR_BYTES + (typeof value === "string" ? 3 * value.length : 0);
  }
  return bytes;
}

/** Writes events into a buffer, in the layout of event-record.ts. */
export class EventEncoder {
  private readonly view: DataView;
  private readonly shapes = new Map<string, NumberedShape>();
  private shapeCount = 0;
  private at = 0;

  constructor(private readonly buffer: Uint8Array) {
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }

  /** Writes `event` from byte `start`, its shape first if it is new; returns the end. There must be room. */
  encode(start: number, event: TraceEvent, moment: Moment, context: Context): number {
    const shape = this.shapes.get(event.name);
    if (shape === undefined || !hasShape(event, shape)) {
      return this.encode(this.writeShape(start, event), event, moment, context);
    }
    const { view } = this;
    const depth = Math.min(context.preemptDepth, MAX_PREEMPT_DEPTH);
    this.at = start + RECORD_HEADER_BYTES;
    for (const field in event.fields) this.writeValue(event.fields[field]!);
    view.setUint32(start + RECORD_OFFSETS.bytes, this.at - start, true);
    view.setUint8(start + RECORD_OFFSETS.kind, RECORD_KINDS.event);
    view.setUint8(start + RECORD_OFFSETS.flags, depth | (context.irqsOff ? IRQS_OFF_FLAG : 0));
    view.setUint16(start + RECORD_OFFSETS.shape, shape.id, true);
    view.setInt32(start + RECORD_OFFSETS.sequence, moment.sequence, true);
    view.setFloat64(start + RECORD_OFFSETS.ns, moment.ns, true);
    return this.at;
  }

  private writeShape(start: number, { name, fields }: TraceEvent): number {
    const shape: NumberedShape = { id: this.shapeCount++, name, fields: Object.keys(fields) };
    this.shapes.set(name, shape);
    const json = text.encode(JSON.stringify({ name, fields: shape.fields } satisfies EventShape));
    const end = start + RECORD_HEADER_BYTES + json.length;
    this.buffer.fill(0, start, start + RECORD_HEADER_BYTES);
    this.buffer.set(json, start + RECORD_HEADER_BYTES);
    this.view.setUint32(start + RECORD_OFFSETS.bytes, end - start, true);
    this.view.setUint8(start + RECORD_OFFSETS.kind, RECORD_KINDS.shape);
    this.view.setUint16(start + RECORD_OFFSETS.shape, shape.id, true);
    return end;
  }

  private writeValue(value: FieldValue): void {
    switch (typeof value) {
      case "number":
        this.view.setUint8(this.at, TAGS.number);
        this.view.setFloat64(this.at + 1, value, true);
        this.at += MAX_SCALAR_BYTES;
        return;
      case "bigint":
        this.view.setUint8(this.at, TAGS.bigint);
        this.view.setBigUint64(this.at + 1, value, true);
        this.at += MAX_SCALAR_BYTES;
        return;
      case "string":
        this.writeString(value);
        return;
      default:
        this.view.setUint8(this.at++, value === null ? TAGS.null : value ? TAGS.true : TAGS.false);
    }
  }

  private writeString(value: string): void {
    const bytes = text.encode(value);
    this.view.setUint8(this.at, TAGS.string);
    this.view.setUint32(this.at + 1, bytes.length, true);
    this.buffer.set(bytes, this.at + 5);
    this.at += 5 + bytes.length;
  }
}

function hasShape({ fields }: TraceEvent, shape: EventShape): boolean {
  let index = 0;
  for (const field in fields) {
    if (shape.fields[index++] !== field) return false;
  }
  return index === shape.fields.length;
}
