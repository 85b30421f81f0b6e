;; 64-bit accesses to the arena as single instructions, and the one loop that is worth having native.
;; Every address is a byte offset, a multiple of 8. Atomic instructions are sequentially consistent.
(module
  (import "arena" "memory" (memory 1 65536 shared))

  (func (export "load") (param $a i32) (result i64)
    (i64.atomic.load (local.get $a)))
  (func (export "store") (param $a i32) (param $v i64)
    (i64.atomic.store (local.get $a) (local.get $v)))
  (func (export "xchg") (param $a i32) (param $v i64) (result i64)
    (i64.atomic.rmw.xchg (local.get $a) (local.get $v)))
  (func (export "cmpxchg") (param $a i32) (param $e i64) (param $r i64) (result i64)
    (i64.atomic.rmw.cmpxchg (local.get $a) (local.get $e) (local.get $r)))
  (func (export "fetchAnd") (param $a i32) (param $v i64) (result i64)
    (i64.atomic.rmw.and (local.get $a) (local.get $v)))
  (func (export "fetchOr") (param $a i32) (param $v i64) (result i64)
    (i64.atomic.rmw.or (local.get $a) (local.get $v)))
  (func (export "fetchAdd") (param $a i32) (param $v i64) (result i64)
    (i64.atomic.rmw.add (local.get $a) (local.get $v)))
  (func (export "fence") (atomic.fence))

  ;; For each of $n words from $a: if (word & $mask) == $value, compare-exchange it once to word & ~$clear.
  ;; Returns how many words matched when read, whether or not the exchange succeeded.
  (func (export "clearBitsWhereCmpxchg")
    (param $a i32) (param $n i32) (param $mask i64) (param $value i64) (param $clear i64) (result i32)
    (local $end i32) (local $word i64) (local $matched i32) (local $keep i64)
    (local.set $end (i32.add (local.get $a) (i32.shl (local.get $n) (i32.const 3))))
    (local.set $keep (i64.xor (local.get $clear) (i64.const -1)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $a) (local.get $end)))
        (local.set $word (i64.load (local.get $a)))
        (if (i64.eq (i64.and (local.get $word) (local.get $mask)) (local.get $value))
          (then
            (local.set $matched (i32.add (local.get $matched) (i32.const 1)))
            (drop (i64.atomic.rmw.cmpxchg (local.get $a) (local.get $word)
              (i64.and (local.get $word) (local.get $keep))))))
        (local.set $a (i32.add (local.get $a) (i32.const 8)))
        (br $next)))
    (local.get $matched))

  ;; The same with an unconditional atomic AND instead of the compare-exchange.
  (func (export "clearBitsWhereAnd")
    (param $a i32) (param $n i32) (param $mask i64) (param $value i64) (param $clear i64) (result i32)
    (local $end i32) (local $matched i32) (local $keep i64)
    (local.set $end (i32.add (local.get $a) (i32.shl (local.get $n) (i32.const 3))))
    (local.set $keep (i64.xor (local.get $clear) (i64.const -1)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $a) (local.get $end)))
        (if (i64.eq (i64.and (i64.load (local.get $a)) (local.get $mask)) (local.get $value))
          (then
            (local.set $matched (i32.add (local.get $matched) (i32.const 1)))
            (drop (i64.atomic.rmw.and (local.get $a) (local.get $keep)))))
        (local.set $a (i32.add (local.get $a) (i32.const 8)))
        (br $next)))
    (local.get $matched))
)
