"""Physical programs written by hand, small and legal, for tests that break one rule at a time."""

from __future__ import annotations

VECTOR = """\
kernel vector(in x: f32[M, 64], in w: i32[8], out y: bf16[M, 64]; M)
    v1 = vec bf16[1, 64]
    load v1 <- y[0](1 x 64, pitch 64)
    store y[0](1 x 64, pitch 64) <- v1

physical vector on 910b3 (dav-2201)
    on AIV:
        buffer a: UB 256 B x 2 at 0
        buffer b: UB 256 B at 512
        buffer c: UB 2048 B at 768
        buffer bits: UB 32 B at 2816
        buffer n: UB 256 B at 2848
        buffer h: UB 128 B at 3104
        set  V -> MTE2 #0
        set  V -> MTE2 #1
        tasks t0 in M turn t0n:
            S    i = w[0]
            wait V -> MTE2 #t0n % 2
            MTE2 copy_in a.f32[0](1:64 64:1 turn t0n) <- x[t0 * 64](1 x 64, pitch 64) fill=0.0
            set  MTE2 -> V #t0n % 2
            wait MTE2 -> V #t0n % 2
            V    adds b.f32[0](64:1) <- a.f32[0](64:1 turn t0n) value=1.0
            set  V -> MTE2 #t0n % 2
            V    brcb c.f32[0](512:1) <- b.f32[0](64:1)
            V    mul c.f32[0](4:64 8:8 8:1) <- c.f32[0](4:64 8:8 8:1), b.f32[0](4:0 8:0 8:1)
            V    whole_sum b.f32[8](4:1) <- c.f32[0](4:64 64:1)
            V    compares bits.i8[0](8:1) <- c.f32[0](64:1) cmp="<" value=0.5
            V    select b.f32[0](64:1) <- bits.i8[0](8:1), c.f32[0](64:1), c.f32[64](64:1)
            V    iota n.i32[0](64:1) start=i
            V    gather c.f32[128](64:1) <- b.f32[0](64:1), n.i32[0](64:1)
            if i < 3:
                V    compress c.f32[192](64:1) <- b.f32[0](64:1), bits.i8[0](8:1)
            for j in 3:
                V    add c.f32[j * 64](64:1) <- c.f32[j * 64](64:1), b.f32[0](64:1)
            V    cast h.bf16[0](64:1) <- c.f32[0](64:1) mode=RINT
            set  V -> MTE3 #0
            wait V -> MTE3 #0
            MTE3 copy_out y[t0 * 64](1 x 64, pitch 64) <- h.bf16[0](1:64 64:1)
            set  MTE3 -> V #0
            wait MTE3 -> V #0
        wait V -> MTE2 #0
        wait V -> MTE2 #1
"""

CUBE = """\
kernel cube(in x: bf16[M, 64], in w: bf16[32, 64], out y: f32[M, 32]; M)
    v1 = vec f32[1, 32]
    load v1 <- y[0](1 x 32, pitch 32)
    store y[0](1 x 32, pitch 32) <- v1

physical cube on 910b3 (dav-2201)
    ring down: 2 x 512 f32 at 0
    ring up: 2 x 512 bf16 at 4096
    on AIC:
        buffer l0a: L0A 1024 B x 2 at 0
        buffer l0b: L0B 2048 B x 2 at 0
        buffer acc: L0C 2048 B at 0
        buffer a: L1 2048 B at 0
        buffer b: L1 4096 B at 2048
        cross set MTE2 #3
        cross set MTE2 #3
        tasks t0 in (M + 15) // 16 turn t0n:
            if min(16, M - t0 * 16) < 16:
                MTE2 clear a.bf16[0](1024:1)
            barrier MTE2
            MTE2 nd2nz a.bf16[0](1024:1) <- x[t0 * 1024](min(16, M - t0 * 16) x 64, pitch 64) rows=16 single=0
            MTE2 nd2nz b.bf16[0](2048:1) <- w[0](32 x 64, pitch 64) rows=32 single=0
            set  MTE2 -> MTE1 #0
            wait MTE2 -> MTE1 #0
            for c1 in 2:
                MTE1 load_a l0a.bf16[0](512:1 turn c1) <- a.bf16[c1 * 512](512:1) rows=16 depth=32
                MTE1 load_b l0b.bf16[0](1024:1 turn c1) <- b.bf16[c1 * 1024](1024:1) rows=32 depth=32
                set  MTE1 -> M #0
                wait MTE1 -> M #0
                M    mmad acc.f32[0](512:1) <- l0a.bf16[0](512:1 turn c1), l0b.bf16[0](1024:1 turn c1), acc.f32[0](512:1) m=16 n=32 k=32 first=c1 == 0 left=Zz
                barrier ALL
            cross wait S #1
            FIX  fixpipe down[down_turn % 2 * 512](16 x 32, pitch 32) <- acc.f32[0](512:1) rows=16
            cross set FIX #0
            tick down_turn
            cross wait S #2
            MTE2 nd2nz a.bf16[0](512:1) <- up[up_turn % 2 * 512](16 x 32, pitch 32) rows=16 single=0
            cross set MTE2 #3
            tick up_turn
            barrier ALL
        cross wait S #1
        cross wait S #1
    on AIV:
        buffer v: UB 2048 B at 0
        buffer o: UB 1024 B at 2048
        cross set MTE2 #1
        cross set MTE2 #1
        tasks t0 in (M + 15) // 16 turn t0n:
            cross wait S #0
            MTE2 copy_in v.f32[0](16:32 32:1) <- down[down_turn % 2 * 512](16 x 32, pitch 32) fill=0.0
            cross set MTE2 #1
            tick down_turn
            barrier ALL
            V    cast o.bf16[0](512:1) <- v.f32[0](512:1) mode=RINT
            cross wait S #3
            barrier ALL
            MTE3 copy_out up[up_turn % 2 * 512](16 x 32, pitch 32) <- o.bf16[0](16:32 32:1)
            cross set MTE3 #2
            tick up_turn
            MTE3 copy_out y[t0 * 512](min(16, M - t0 * 16) x 32, pitch 32) <- v.f32[0](16:32 32:1)
            barrier ALL
        cross wait S #3
        cross wait S #3
"""  # noqa: E501

DIRECT = """\
kernel direct(in x: bf16[M, 32], in w: bf16[16, 32], out y: bf16[M, 16]; M)
    v1 = vec bf16[1, 16]
    load v1 <- y[0](1 x 16, pitch 16)
    store y[0](1 x 16, pitch 16) <- v1

physical direct on 950pr (dav-3510)
    on AIC:
        buffer l0a: L0A 1024 B at 0
        buffer l0b: L0B 1024 B at 0
        buffer acc: L0C 1024 B at 0
        buffer up: L1 512 B at 0 shared
        buffer a: L1 1024 B at 512
        buffer down: UB 1024 B at 0 shared
        cross set MTE1 #3 mode 4
        tasks t0 in M turn t0n:
            MTE2 nd2nz a.bf16[0](512:1) <- x[t0 * 512](16 x 32, pitch 32) rows=16 single=0
            barrier ALL
            MTE1 load_nz l0a.bf16[0](512:1) <- a.bf16[0](512:1) rows=16 depth=32
            MTE1 load_nz l0b.bf16[0](512:1) <- a.bf16[0](512:1) rows=16 depth=32
            barrier ALL
            M    mmad acc.f32[0](256:1) <- l0a.bf16[0](512:1), l0b.bf16[0](512:1), acc.f32[0](256:1) m=16 n=16 k=32 first=1 left=Nz
            barrier ALL
            cross wait FIX #1 mode 4
            FIX  fixpipe_ub down.f32[0](16:16 16:1) <- acc.f32[0](256:1) rows=16
            cross set FIX #0 mode 4
            cross wait MTE1 #2 mode 4
            MTE1 load_nz_turned l0b.bf16[0](256:1) <- up.bf16[0](1:256 256:1) rows=16 depth=16 n=16
            cross set MTE1 #3 mode 4
        cross wait FIX #1 mode 4
    on AIV:
        buffer up: L1 512 B at 0 shared
        buffer down: UB 1024 B at 0 shared
        buffer o: UB 512 B at 1024
        cross set V #1 mode 4
        tasks t0 in M turn t0n:
            cross wait V #0 mode 4
            V    cast o.bf16[0](256:1) <- down.f32[0](256:1) mode=RINT
            cross set V #1 mode 4
            barrier ALL
            V    add o.bf16[0](256:1) <- o.bf16[0](256:1), o.bf16[0](256:1)
            cross wait MTE3 #3 mode 4
            MTE3 copy_nz up.bf16[0](256:1) <- o.bf16[0](16:16 16:1) rows=16
            cross set MTE3 #2 mode 4
            MTE3 copy_out y[t0 * 256](16 x 16, pitch 16) <- o.bf16[0](16:16 16:1)
            barrier ALL
        cross wait MTE3 #3 mode 4
"""  # noqa: E501
TEXTS = {"vector": VECTOR, "cube": CUBE, "direct": DIRECT}
LOGICAL = """\
kernel logical(in x: bf16[M, 64], in w: i32[8], in k: bf16[32, 64], out y: bf16[M, 64], out z: f32[M, 32]; M)
    wide = vec f32[8, 64]
    wide = copy(0.0)
    tasks t0 in (M + 7) // 8:
        n = read w[t0 % 8]
        x1 = vec bf16[8, 64] stages=2
        load x1 <- x[t0 * 512](min(8, M - t0 * 8) x 64, pitch 64) fill=0.0
        f1 = vec f32[8, 64]
        f1 = cast f32 x1
        col = vec f32[8, 1]
        col = sum(f1, axis=1)
        row = vec f32[1, 64]
        row = max(f1, axis=0)
        f2 = vec f32[8, 64]
        f2 = mul(f1, col)
        f2 = add(f2, row)
        f2 = f1 where f2 < 1.0 else n
        half = vec f32[8, 32]
        half = even(f2)
        f2 = interleave(half, half)
        back = vec f32[64, 8]
        back = transpose(f2)
        some = vec f32[1, 20]
        some = from(row, start=3)
        ids = vec i32[1, 64]
        ids = iota(start=t0)
        ids = shift_right(ids, 1.0)
        kept = vec i32[1, 64]
        compress kept <- ids where row > 0.5
        p = peek kept at 3
        if p < 9:
            wide[2, 0](1 x 64) = copy(row)
        for i in 4:
            wide[i * 2, 0](2 x 64) = exp(wide[i * 2, 0](2 x 64))
        x1 = cast bf16 f2
        store y[t0 * 512](min(8, M - t0 * 8) x 64, pitch 64) <- x1
        a = mat bf16[16, 64]
        a = copy(0.0)
        b = mat bf16[32, 64]
        load b <- k[0](32 x 64, pitch 64) fill=0.0
        acc = acc f32[16, 32]
        for c in 2:
            mma acc <- a b first=c == 0 rows=16
        got = vec f32[16, 32]
        chan down depth=2: got <- acc
        sent = vec bf16[16, 32]
        sent = cast bf16 got
        m = mat bf16[16, 32]
        chan up depth=2: m <- sent
        acc2 = acc f32[16, 16]
        mma acc2 <- m b[:, 16 : +16]^T first=1 rows=16
        store z[t0 * 512](16 x 16, pitch 32) <- acc2
"""
