export { TRACE_KERNELS, type TraceKernel } from "./schema/kernel-layout.js";
export type { KvmEventFields, KvmEventName, KvmMmuPageFields } from "./schema/kvm-event-fields.js";
export {
  type KvmEvent,
  type NoteRecord,
  type OtherRecord,
  type ProbeRecord,
  type RecordOrigin,
  TRACE_SCHEMA_VERSION,
  type TraceRecord,
} from "./schema/trace-record.js";
