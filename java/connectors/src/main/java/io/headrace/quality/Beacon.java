package io.headrace.quality;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * `BEACON(ts_ms, sn, e, sta, cid, region, isp, cdn, br, ltc)`: one beacon as `PLAY_SLOT` takes it, in one value.
 *
 * <p>Flink copies each argument of an aggregate function, and each column of a row that waits for its window, one by one: one short value instead of ten
 * columns is a third of the source's work (docs/decisions/backlog-throughput.md).
 */
public final class Beacon extends ScalarFunction {

    private static final long serialVersionUID = 1L;

    private transient ByteWriter out;

    /** Pack one beacon: the length of its place (two bytes), its place, its head. */
    public byte[] eval(
            Long tsMs,
            Long sn,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData event,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData state,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData cid,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData region,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData isp,
            @DataTypeHint(value = "STRING", bridgedTo = StringData.class) StringData cdn,
            Integer br,
            Integer ltc) {
        if (out == null) {
            out = new ByteWriter(256);
        }
        out.clear();
        out.put(0);
        out.put(0);
        new Place(bytes(cid), bytes(region), bytes(isp), cdn == null ? null : cdn.toBytes()).write(out);
        int placeLength = out.length() - 2;
        if (placeLength > 0xFFFF) {
            throw new IllegalArgumentException("a beacon's room, region, ISP and CDN are longer than 64 KiB");
        }
        byte[] kind = event.toBytes();
        if (kind.length == 2 && kind[0] == 'r' && kind[1] == 'r') {
            out.put(PlaySlot.RESPONSE);
            out.number(sn);
        } else {
            report(tsMs, sn, kind, state == null ? null : state.toBytes(), br, ltc);
        }
        byte[] packed = out.toBytes();
        packed[0] = (byte) placeLength;
        packed[1] = (byte) (placeLength >> 8);
        return packed;
    }

    private void report(long tsMs, long sn, byte[] kind, byte[] state, Integer br, Integer ltc) {
        int flags = kind.length == 1 && kind[0] == 'e' ? PlaySlot.ERROR : 0;
        if (state != null) {
            flags |= PlaySlot.STATED | (state.length == 1 ? PlaySlot.EXACT : 0);
        }
        out.put(flags | (br != null ? PlaySlot.HAS_BR : 0) | (ltc != null ? PlaySlot.HAS_LTC : 0));
        out.number(sn);
        out.number(tsMs);
        if (state != null) {
            out.put(Beat.codeOf(state));
        }
        if (br != null) {
            out.number(br);
        }
        if (ltc != null) {
            out.number(ltc);
        }
    }

    private static byte[] bytes(StringData text) {
        return text == null ? Place.EMPTY : text.toBytes();
    }
}
