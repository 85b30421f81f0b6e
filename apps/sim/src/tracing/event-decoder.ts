import {
  type EventRecord,
  type EventShape,
  type FieldValue,
  IRQS_OFF_FLAG,
  MAX_PREEMPT_DEPTH,
  RECORD_HEADER_BYTES,
  RECORD_KINDS,
  RECORD_OFFSETS,
  TAGS,
} from "./event-record.js";

const text = new TextDecoder();

/** Reads what `EventEncoder` wrote. One for each stream, from its beginning, because shapes are told once. */
export class EventDecoder {
  private readonly shapes: EventShape[] = [];
  private at = 0;

  /** Bytes of the record at the start of `bytes`; 0 if not even that is there. */
  static recordBytes(bytes: Uint8Array): number {
    if (bytes.length < RECORD_HEADER_BYTES) return 0;
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(RECORD_OFFSETS.bytes, true);
  }

  /** The event in `record`, which holds one whole record; null if that tells a shape. */
  decode(record: Uint8Array): EventRecord | null {
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    const shape = view.getUint16(RECORD_OFFSETS.shape, true);
    if (view.getUint8(RECORD_OFFSETS.kind) === RECORD_KINDS.shape) {
      // A copy: some decoders refuse views of shared memory.
      this.shapes[shape] = JSON.parse(text.decode(record.slice(RECORD_HEADER_BYTES))) as EventShape;
      return null;
    }
    const flags = view.getUint8(RECORD_OFFSETS.flags);
    const { name, fields: names } = this.shapes[shape]!;
    const fields: Record<string, FieldValue> = {};
    this.at = RECORD_HEADER_BYTES;
    for (const field of names) fields[field] = this.value(view, record);
    return {
      ns: view.getFloat64(RECORD_OFFSETS.ns, true),
      sequence: view.getInt32(RECORD_OFFSETS.sequence, true),
      preemptDepth: flags & MAX_PREEMPT_DEPTH,
      irqsOff: (flags & IRQS_OFF_FLAG) !== 0,
      name,
      fields,
    };
  }

  private value(view: DataView, record: Uint8Array): FieldValue {
    const at = this.at++;
    switch (view.getUint8(at)) {
      case TAGS.number:
        this.at += 8;
        return view.getFloat64(at + 1, true);
      case TAGS.bigint:
        this.at += 8;
        return view.getBigUint64(at + 1, true);
      case TAGS.string: {
        const bytes = view.getUint32(at + 1, true);
        this.at += 4 + bytes;
        return text.decode(record.slice(at + 5, at + 5 + bytes));
      }
      case TAGS.null:
        return null;
      default:
        return view.getUint8(at) === TAGS.true;
    }
  }
}
