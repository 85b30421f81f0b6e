// Members cache which table is current, as a TLB does, and use it without looking again while they are "in the guest"; or
// walk to it as a lockless walker does. The flusher makes another table current, flushes, and retires the old one: from
// then on, no member may use it.
import {
  EXITING_GUEST_MODE,
  IN_GUEST_MODE,
  memberModeWord,
  memberRequestsWord,
  OUTSIDE_GUEST_MODE,
  READING_SHADOW_PAGE_TABLES,
} from "../../dist/index.js";
import { check, torture } from "./worker.mjs";

torture(({ cpu, random, domain, role, member, current, retired, done, flushes }) => {
  if (role === "flusher") {
    for (let version = 1; version <= flushes; version++) {
      cpu.writeOnce32(current, version);
      cpu.flushRemoteTlbs(domain, null);
      cpu.storeRelease32(retired, version - 1);
    }
    cpu.storeRelease32(done, 1);
    return { flushes };
  }

  const mode = memberModeWord(domain, member);
  const requests = memberRequestsWord(domain, member);
  const use = (version, how) => {
    const old = cpu.loadAcquire32(retired);
    check(version > old, `${how} used version ${version} after ${old} was retired`);
  };
  let cached = null;
  let uses = 0;
  let exits = 0;

  const runGuest = () => {
    cpu.storeRelease32(mode, IN_GUEST_MODE);
    cpu.smpMb();
    if (cpu.loadAcquire32(requests) !== 0) {
      cpu.storeRelease32(mode, OUTSIDE_GUEST_MODE);
      cpu.fetchAnd32(requests, 0, "full");
      cached = null;
      return;
    }
    for (let step = random(60); step >= 0 && cpu.loadAcquire32(mode) === IN_GUEST_MODE; step--) {
      cached ??= cpu.loadAcquire32(current);
      use(cached, "a guest");
      uses++;
    }
    if (cpu.loadAcquire32(mode) === EXITING_GUEST_MODE) exits++;
    cpu.storeRelease32(mode, OUTSIDE_GUEST_MODE);
  };
  const walk = () => {
    cpu.storeRelease32(mode, READING_SHADOW_PAGE_TABLES);
    cpu.smpMb();
    const version = cpu.loadAcquire32(current);
    for (let look = random(20); look >= 0; look--) use(version, "a walker");
    cpu.storeRelease32(mode, OUTSIDE_GUEST_MODE);
  };

  while (cpu.loadAcquire32(done) === 0) {
    if (random(4) === 0) walk();
    else runGuest();
  }
  return { uses, exits };
});
