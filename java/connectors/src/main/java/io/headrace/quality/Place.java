package io.headrace.quality;

import java.util.Arrays;

/** Where a player is: room, region, ISP (never null) and CDN (null when unknown), as UTF-8. */
final class Place {

    static final byte[] EMPTY = new byte[0];

    final byte[] cid;
    final byte[] region;
    final byte[] isp;
    final byte[] cdn;

    Place(byte[] cid, byte[] region, byte[] isp, byte[] cdn) {
        this.cid = cid;
        this.region = region;
        this.isp = isp;
        this.cdn = cdn;
    }

    static Place read(ByteReader in) {
        return new Place(in.string(), in.string(), in.string(), in.string());
    }

    void write(ByteWriter out) {
        out.string(cid);
        out.string(region);
        out.string(isp);
        out.string(cdn);
    }

    /** The greatest of each; a place equal to this one gives this one. */
    Place max(Place other) {
        if (other == this || equals(other)) {
            return this;
        }
        return new Place(max(cid, other.cid), max(region, other.region), max(isp, other.isp), max(cdn, other.cdn));
    }

    /** The greater by code points, which is the order of UTF-8 bytes; null is the least. */
    static byte[] max(byte[] left, byte[] right) {
        if (left == null || right == null) {
            return left == null ? right : left;
        }
        return Arrays.compareUnsigned(left, right) >= 0 ? left : right;
    }

    /** Whether this is the same but for the CDN. */
    boolean isAround(Place other) {
        return other == this
                || Arrays.equals(cid, other.cid) && Arrays.equals(region, other.region) && Arrays.equals(isp, other.isp);
    }

    @Override
    public boolean equals(Object object) {
        if (!(object instanceof Place)) {
            return false;
        }
        Place other = (Place) object;
        return Arrays.equals(cid, other.cid)
                && Arrays.equals(region, other.region)
                && Arrays.equals(isp, other.isp)
                && Arrays.equals(cdn, other.cdn);
    }

    @Override
    public int hashCode() {
        return 31 * Arrays.hashCode(cid) + Arrays.hashCode(cdn);
    }
}
