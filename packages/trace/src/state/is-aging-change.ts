import {
  isAccessedSpte,
  isAccessTrackSpte,
  isLastSpte,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";

/**
 * Whether a change of an SPTE is what aging does: a leaf keeps its pfn and loses Accessed, or its permissions to access tracking. Every
 * other bit may differ; whether the change was legal is not judged.
 */
export function isAgingChange(format: SpteFormat, before: Spte, after: Spte, level: PgLevel): boolean {
  if (!isShadowPresentPte(before) || !isShadowPresentPte(after)) return false;
  if (!isLastSpte(before, level) || !isLastSpte(after, level)) return false;
  if (spteToPfn(format, before) !== spteToPfn(format, after)) return false;
  const lostAccessed = isAccessedSpte(format, before) && !isAccessedSpte(format, after);
  const becameTracked = !isAccessTrackSpte(format, before) && isAccessTrackSpte(format, after);
  return lostAccessed || becameTracked;
}
